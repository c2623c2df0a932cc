"""The password of a certificate's user, asked for again from somebody who is signed in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Lockout
from mtls_gateway.errors import LegacyUnavailable
from mtls_gateway.model import Code, Site
from mtls_gateway.signin.password_proof import Confirmed, PasswordProof, Refused, Throttled, Undecided, WrongPassword
from mtls_gateway.signin.ports import Caller, LegacyCookie, LegacySession
from mtls_gateway.store.opening import Store
from tests.signin.rows import NOBODY, START, TARO, give_back, open_rows, take_away

CALLER = Caller("192.0.2.7", "Chrome")


class Bank:
    """A password checker of its own, that knows how many of its sessions are open."""

    def __init__(self) -> None:
        self.open = 0
        self.asked = 0
        self.down = False

    async def check(self, user_id: str, password: str, caller: Caller) -> LegacySession | None:
        self.asked += 1
        if self.down:
            raise LegacyUnavailable("down")
        if password != "right":
            return None
        self.open += 1
        return LegacySession((LegacyCookie("sid", "1", "Path=/"),), caller.user_agent)

    async def sign_out(self, session: LegacySession) -> None:
        self.open -= 1


class Desk:
    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.bank = Bank()
        lockout = Lockout(attempts_per_address=20)
        checkers = dict.fromkeys(Site, self.bank)
        self.proof = PasswordProof(store.attempts, store.identities, checkers, lockout, clock)

    async def confirm(self, password: str) -> object:
        return await self.proof.confirm(TARO, password, CALLER)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = ManualClock(START)
    store = await open_rows(tmp_path, clock)
    yield Desk(store, clock)
    await store.close()


async def test_a_right_password_confirms_and_leaves_no_legacy_session(desk: Desk) -> None:
    outcome = await desk.confirm("right")
    assert isinstance(outcome, Confirmed) and outcome.user.user_id == "taro"
    assert (desk.bank.asked, desk.bank.open) == (1, 0)


async def test_wrong_passwords_count_as_at_sign_in(desk: Desk) -> None:
    outcomes = [await desk.confirm("wrong") for _ in range(5)]
    assert outcomes[:4] == [WrongPassword()] * 4
    assert outcomes[4] == Refused(Code.USER_SUSPENDED, START + 1_800)
    assert await desk.confirm("right") == Refused(Code.USER_SUSPENDED, START + 1_800)
    assert desk.bank.asked == 5


async def test_no_answer_does_not_count(desk: Desk) -> None:
    desk.bank.down = True
    assert [await desk.confirm("right") for _ in range(6)] == [Undecided()] * 6
    desk.bank.down = False
    assert isinstance(await desk.confirm("right"), Confirmed)


async def test_one_address_is_braked(desk: Desk) -> None:
    for _ in range(20):
        await desk.confirm("right")
    assert isinstance(await desk.confirm("right"), Throttled)
    assert desk.bank.asked == 20


async def test_a_certificate_that_admits_nobody_proves_nothing(desk: Desk) -> None:
    await desk.store.certificates.revoke(TARO, actor="test")
    assert await desk.confirm("right") == Refused(Code.CERTIFICATE_REVOKED)
    assert await desk.proof.confirm(NOBODY, "right", CALLER) == Refused(Code.CERTIFICATE_NOT_REGISTERED)
    assert desk.bank.asked == 0


async def test_what_cannot_be_written_down_is_not_confirmed(desk: Desk, tmp_path: Path) -> None:
    """The checker said yes, then the store went away: no session of the legacy backend is left open."""
    check = desk.bank.check

    async def check_and_lose_the_store(user_id: str, password: str, caller: Caller) -> LegacySession | None:
        session = await check(user_id, password, caller)
        take_away(tmp_path, "users")
        return session

    desk.bank.check = check_and_lose_the_store  # type: ignore[method-assign]
    with pytest.raises(Exception, match="users"):
        await desk.confirm("right")
    give_back(tmp_path, "users")
    assert desk.bank.open == 0
