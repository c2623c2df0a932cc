"""A password attempt from start to session, on a real store with a local password."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Lockout, Sessions
from mtls_gateway.errors import LegacyUnavailable, LegacyUnreachable, StateError, StoreUnavailable
from mtls_gateway.model import CertificateId, Code, Method, NewSession, SessionState, Site
from mtls_gateway.signin.jar import LegacyJar
from mtls_gateway.signin.leftovers import Leftovers
from mtls_gateway.signin.password_proof import Refused, Throttled, Undecided, WrongPassword
from mtls_gateway.signin.ports import Caller, LegacyCookie, LegacySession
from mtls_gateway.signin.sign_in import Opened, SignIn, SignInStores
from mtls_gateway.signin.token import Tokens
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.users import NewUser

NOW = 1_780_282_800.0
SECRET = b"s" * 32
CERTIFICATE = CertificateId("CN=Bank CA", 1)
UNKNOWN = CertificateId("CN=Other CA", 1)
CALLER = Caller("192.0.2.7", "Chrome")


class Bank:
    """A password checker of its own: one password, and a switch for each way to fail."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.signed_out: list[LegacySession] = []
        self.down = False

    async def check(self, user_id: str, password: str, caller: Caller) -> LegacySession | None:
        self.asked.append(user_id)
        if self.down:
            raise LegacyUnavailable("down")
        cookie = LegacyCookie("sid", str(len(self.asked)), "Path=/")
        return LegacySession((cookie,), caller.user_agent) if password == "right" else None

    async def sign_out(self, session: LegacySession) -> None:
        if self.down:
            raise LegacyUnavailable("down")
        self.signed_out.append(session)


@dataclass
class Desk:
    """What a test needs."""

    sign_in: SignIn
    bank: Bank
    store: Store
    clock: ManualClock

    async def with_certificate(self, password: str, certificate: CertificateId = CERTIFICATE) -> object:
        return await self.sign_in.with_certificate(certificate, password, CALLER, None)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = ManualClock(NOW)
    url = f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    await migrate(url, clock)
    store = await open_store(url, clock)
    await store.companies.create("c1", "株式会社みほん", actor="test")
    await store.users.add([NewUser("tanaka", "c1")], actor="test")
    await store.certificates.register([NewCertificate(CERTIFICATE, "tanaka", NOW + 86_400)], actor="test")
    await store.companies.set_method("c1", Method.CERTIFICATE, actor="test")
    bank = Bank()
    stores = SignInStores(store.attempts, store.sessions, store.identities)
    sign_in = SignIn(
        stores, dict.fromkeys(Site, bank), Tokens(SECRET), LegacyJar(SECRET), (Sessions(), Lockout()), clock
    )
    yield Desk(sign_in, bank, store, clock)
    await store.close()


async def test_every_way_to_end_is_a_value(desk: Desk) -> None:
    assert isinstance(await desk.with_certificate("right"), Opened)
    assert await desk.with_certificate("wrong") == WrongPassword()
    assert await desk.with_certificate("right", UNKNOWN) == Refused(Code.CERTIFICATE_NOT_REGISTERED)
    desk.bank.down = True
    assert await desk.with_certificate("right") == Undecided()
    for _ in range(60):
        last = await desk.with_certificate("right", UNKNOWN)
    assert last == Throttled(60.0)


async def test_three_suspensions_stop_the_user_until_the_bank_releases_it(desk: Desk) -> None:
    for _ in range(3):
        for _ in range(5):
            last = await desk.with_certificate("wrong")
        desk.clock.advance(1_801)
    assert last == Refused(Code.USER_STOPPED)
    desk.clock.advance(30 * 86_400)
    desk.clock.set(NOW)
    assert await desk.with_certificate("right") == Refused(Code.USER_STOPPED)
    await desk.store.users.release("tanaka", actor="test")
    assert isinstance(await desk.with_certificate("right"), Opened)


async def test_the_fifth_attempt_may_still_be_right(desk: Desk) -> None:
    for _ in range(4):
        await desk.with_certificate("wrong")
    assert isinstance(await desk.with_certificate("right"), Opened)
    assert await desk.with_certificate("wrong") == WrongPassword()


async def test_an_undecided_fifth_attempt_suspends_nobody(desk: Desk) -> None:
    for _ in range(4):
        await desk.with_certificate("wrong")
    desk.bank.down = True
    assert await desk.with_certificate("right") == Undecided()
    desk.bank.down = False
    assert isinstance(await desk.with_certificate("right"), Opened)


async def test_an_expired_registration_is_refused_at_its_last_second(desk: Desk) -> None:
    desk.clock.set(NOW + 86_400.9)
    assert isinstance(await desk.with_certificate("right"), Opened)
    desk.clock.set(NOW + 86_401)
    assert await desk.with_certificate("right") == Refused(Code.CERTIFICATE_EXPIRED)


async def test_the_password_method_ends_with_a_certificate_while_the_company_migrates(desk: Desk) -> None:
    await desk.store.companies.set_method("c1", Method.MIGRATING, NOW + 86_400, actor="test")
    await desk.store.users.add([NewUser("sato", "c1")], actor="test")

    async def give(user: str) -> object:
        return await desk.sign_in.with_password(user, "right", CALLER, None)

    assert await give("tanaka") == Refused(Code.COMPANY_ON_CERTIFICATE_METHOD)
    assert isinstance(await give("sato"), Opened)
    desk.clock.advance(86_400)
    assert await give("sato") == Refused(Code.COMPANY_ON_CERTIFICATE_METHOD)
    assert desk.bank.asked == ["sato"]


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(desk: Desk) -> None:
    started = asyncio.get_running_loop().time()
    assert await desk.sign_in.with_password("nobody", "right", CALLER, None) == WrongPassword()
    assert asyncio.get_running_loop().time() - started >= 0.29
    assert desk.bank.asked == []


async def test_no_legacy_session_is_left_behind_when_the_session_cannot_be_opened(desk: Desk) -> None:
    class Broken:
        """The store goes away after the password was found right."""

        def __init__(self, store: Store) -> None:
            self.session = store.sessions.session
            self.take_over = store.sessions.take_over
            self.end_session = store.sessions.end_session

        async def open_session(self, new: NewSession, *, idle: float) -> SessionState:
            raise StoreUnavailable("away")

    stores = SignInStores(desk.store.attempts, Broken(desk.store), desk.store.identities)
    checkers = dict.fromkeys(Site, desk.bank)
    settings = (Sessions(), Lockout())
    sign_in = SignIn(stores, checkers, Tokens(SECRET), LegacyJar(SECRET), settings, desk.clock)
    with pytest.raises(StoreUnavailable):
        await sign_in.with_certificate(CERTIFICATE, "right", CALLER, None)
    assert len(desk.bank.signed_out) == 1


async def test_signing_out_replays_the_legacy_session_as_it_was(desk: Desk) -> None:
    opened = await desk.with_certificate("right")
    assert isinstance(opened, Opened)
    assert await desk.sign_in.sign_out(opened.token.digest)
    assert await desk.sign_in.sign_out(opened.token.digest)
    assert desk.bank.signed_out == [LegacySession((LegacyCookie("sid", "1", "Path=/"),), "Chrome")]


async def test_a_legacy_session_that_may_live_on_is_told(desk: Desk) -> None:
    opened = await desk.with_certificate("right")
    assert isinstance(opened, Opened)
    desk.bank.down = True
    assert not await desk.sign_in.sign_out(opened.token.digest)
    row = await desk.store.sessions.session(opened.token.digest)
    assert row is not None and row.state is SessionState.ENDED


async def test_only_the_certificate_that_opened_a_pending_session_takes_over(desk: Desk) -> None:
    await desk.with_certificate("right")
    pending = await desk.with_certificate("right")
    assert isinstance(pending, Opened) and pending.state is SessionState.PENDING
    for certificate in (UNKNOWN, None):
        with pytest.raises(StateError):
            await desk.sign_in.take_over(pending.token.digest, certificate)
    await desk.sign_in.take_over(pending.token.digest, CERTIFICATE)
    assert len(desk.bank.signed_out) == 1


async def test_legacy_sessions_left_behind_by_a_revocation_are_ended_once(desk: Desk) -> None:
    await desk.with_certificate("right")
    await desk.store.certificates.revoke(CERTIFICATE, actor="test")
    leftovers = Leftovers(desk.store.sessions, desk.bank, LegacyJar(SECRET))
    assert await leftovers.end_all() == 1
    assert await leftovers.end_all() == 0
    assert len(desk.bank.signed_out) == 1


async def test_a_leftover_that_cannot_be_signed_out_does_not_stop_the_others(desk: Desk) -> None:
    await desk.with_certificate("right")
    await desk.store.certificates.revoke(CERTIFICATE, actor="test")
    desk.bank.down = True
    assert await Leftovers(desk.store.sessions, desk.bank, LegacyJar(SECRET)).end_all() == 0


async def test_a_backend_that_takes_no_connections_is_tried_once_for_all_leftovers(desk: Desk) -> None:
    class Dead(Bank):
        async def sign_out(self, session: LegacySession) -> None:
            self.signed_out.append(session)
            raise LegacyUnreachable("refused")

    jar = LegacyJar(SECRET)
    for number, backend in enumerate(("http://a", "http://b", "http://a", "http://b")):
        digest = bytes([number]) * 32
        now = desk.clock.now()
        locked = jar.lock(digest, LegacySession((), "Chrome", backend))
        await desk.store.sessions.open_session(NewSession(digest, "tanaka", None, now, now + 9, locked), idle=900)
        await desk.store.sessions.end_all_of("tanaka", actor="test")
    bank = Dead()
    assert await Leftovers(desk.store.sessions, bank, jar).end_all() == 0
    assert sorted(session.backend for session in bank.signed_out) == ["http://a", "http://b"]


async def test_who_has_no_certificate_uses_up_nobodys_attempts(desk: Desk) -> None:
    for _ in range(61):
        outcome = await desk.sign_in.with_password("tanaka", "wrong", CALLER, None)
    assert isinstance(outcome, Throttled)
    assert isinstance(await desk.with_certificate("right"), Opened)
