from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Sessions as Settings
from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.model import CertificateId, ChangeKind, Code, Method, SessionRow, SessionState, Site
from mtls_gateway.signin.cookie_names import CookieNames
from mtls_gateway.signin.session import Session, Sessions, judge_session
from mtls_gateway.store.opening import Store
from tests.signin.rows import HANAKO, START, TARO, open_rows, sign_in

NAMES = CookieNames(["JSESSIONID"], "__Host-ib-session")
IDLE = 900.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    store = await open_rows(tmp_path, clock)
    yield store
    await store.close()


def worker(store: Store, capacity: int = 100) -> Sessions:
    """The sessions of one worker; several of them share the store."""
    return Sessions(store.worker, Settings(), NAMES, capacity=capacity)


async def opened(store: Store, clock: ManualClock, sessions: Sessions) -> Session:
    token, _ = await sign_in(store, clock, "taro", TARO)
    session = await sessions.look_up(token.digest)
    assert session is not None
    return session


async def test_a_session_is_good_with_the_certificate_that_opened_it_only(store: Store, clock: ManualClock) -> None:
    session = await opened(store, clock, worker(store))
    assert judge_session(session, Site.CERTIFICATE, TARO, START, IDLE) is None
    for other in (HANAKO, CertificateId("CN=Another CA", TARO.serial), None):
        assert judge_session(session, Site.CERTIFICATE, other, START, IDLE) is Code.SESSION_OTHER_CERTIFICATE
    assert judge_session(session, Site.PUBLIC, None, START, IDLE) is Code.SESSION_OTHER_CERTIFICATE
    assert judge_session(session, Site.PUBLIC, TARO, START, IDLE) is Code.SESSION_OTHER_CERTIFICATE


async def test_a_password_session_is_good_on_the_public_host_only(store: Store, clock: ManualClock) -> None:
    token, _ = await sign_in(store, clock, "jiro", None)
    session = await worker(store).look_up(token.digest)
    assert session is not None
    assert judge_session(session, Site.PUBLIC, None, START, IDLE) is None
    assert judge_session(session, Site.CERTIFICATE, None, START, IDLE) is Code.SESSION_OTHER_CERTIFICATE
    assert judge_session(session, Site.CERTIFICATE, TARO, START, IDLE) is Code.SESSION_OTHER_CERTIFICATE


async def test_a_password_session_ends_with_the_password_method(store: Store, clock: ManualClock) -> None:
    sessions = worker(store)
    await store.companies.set_method("old", Method.MIGRATING, START + 60, actor="test")
    token, _ = await sign_in(store, clock, "jiro", None)
    session = await sessions.look_up(token.digest)
    assert session is not None
    assert session.ends == START + 60
    assert judge_session(session, Site.PUBLIC, None, START + 59.9, IDLE) is None
    assert judge_session(session, Site.PUBLIC, None, START + 60, IDLE) is Code.SESSION_ENDED


async def test_the_idle_and_the_absolute_end_are_exact(store: Store, clock: ManualClock) -> None:
    sessions = worker(store)
    session = await opened(store, clock, sessions)
    assert judge_session(session, Site.CERTIFICATE, TARO, START + IDLE - 0.1, IDLE) is None
    assert judge_session(session, Site.CERTIFICATE, TARO, START + IDLE, IDLE) is Code.SESSION_ENDED
    sessions.use(session, START + IDLE - 1)
    assert judge_session(session, Site.CERTIFICATE, TARO, START + 2 * IDLE - 2, IDLE) is None
    sessions.use(session, START + 28_799)
    assert judge_session(session, Site.CERTIFICATE, TARO, START + 28_799.9, IDLE) is None
    assert judge_session(session, Site.CERTIFICATE, TARO, START + 28_800, IDLE) is Code.SESSION_ENDED


async def test_a_use_never_moves_the_last_use_back(store: Store, clock: ManualClock) -> None:
    sessions = worker(store)
    session = await opened(store, clock, sessions)
    sessions.use(session, START + 100)
    sessions.use(session, START + 50)
    assert session.last_used == START + 100


async def test_what_one_worker_noted_another_knows(store: Store, clock: ManualClock) -> None:
    here, there = worker(store), worker(store)
    session = await opened(store, clock, here)
    here.use(session, START + 600)
    await here.note_use(START + 600)
    other = await there.look_up(session.digest)
    assert other is not None
    assert other.last_used == START + 600


class Unwriteable:
    """The real store on a disk that is full for a while."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.full = True

    async def session(self, digest: bytes) -> SessionRow | None:
        return await self._store.worker.session(digest)

    async def note_use(self, last_used: Mapping[bytes, float]) -> None:
        if self.full:
            raise StoreUnavailable("the disk is full")
        await self._store.worker.note_use(last_used)


async def test_a_use_that_could_not_be_written_down_is_owed_and_known_here(store: Store, clock: ManualClock) -> None:
    rows = Unwriteable(store)
    here = Sessions(rows, Settings(), NAMES)
    session = await opened(store, clock, here)
    here.use(session, START + 500)
    with pytest.raises(StoreUnavailable):
        await here.note_use(START + 500)
    # Another worker refuses early rather than late.
    other = await worker(store).look_up(session.digest)
    assert other is not None
    assert other.last_used == START
    # Here it is known, whatever was evicted meanwhile.
    here.evict_all()
    again = await here.look_up(session.digest)
    assert again is not None
    assert again.last_used == START + 500
    here.use(again, START + 700)
    rows.full = False
    await here.note_use(START + 700)
    row = await store.worker.session(session.digest)
    assert row is not None
    assert row.last_used == START + 700
    await here.note_use(START + 701)


async def test_a_use_is_known_while_it_waits_to_be_written_down(store: Store, clock: ManualClock) -> None:
    sessions = worker(store)
    session = await opened(store, clock, sessions)
    sessions.use(session, START + 10)
    sessions.evict(ChangeKind.USER, "taro")
    assert not session.current
    again = await sessions.look_up(session.digest)
    assert again is not None
    assert again is not session
    assert again.last_used == START + 10


async def test_an_ended_session_is_refused_and_a_foreign_token_is_nothing(store: Store, clock: ManualClock) -> None:
    sessions = worker(store)
    session = await opened(store, clock, sessions)
    await store.sessions.end_session(session.digest, "sign_out")
    assert sessions.evict(ChangeKind.SESSION, session.digest.hex()) == [session.digest]
    ended = await sessions.look_up(session.digest)
    assert ended is not None
    assert judge_session(ended, Site.CERTIFICATE, TARO, START, IDLE) is Code.SESSION_ENDED
    assert await sessions.look_up(bytes(32)) is None


async def test_a_pending_session_is_refused_and_not_kept(store: Store, clock: ManualClock) -> None:
    sessions = worker(store)
    await sign_in(store, clock, "taro", TARO)
    token, state = await sign_in(store, clock, "taro", TARO)
    assert state is SessionState.PENDING
    pending = await sessions.look_up(token.digest)
    assert pending is not None
    assert judge_session(pending, Site.CERTIFICATE, TARO, START, IDLE) is Code.SESSION_ENDED
    assert sessions.get(token.digest) is None
    await store.sessions.take_over(token.digest, not_before=START - 120)
    live = await sessions.look_up(token.digest)
    assert live is not None
    assert judge_session(live, Site.CERTIFICATE, TARO, START, IDLE) is None


async def test_changes_of_user_and_company_evict_their_sessions(store: Store, clock: ManualClock) -> None:
    sessions = worker(store)
    taro, hanako = [
        await sessions.look_up((await sign_in(store, clock, user, certificate))[0].digest)
        for user, certificate in (("taro", TARO), ("hanako", HANAKO))
    ]
    assert taro is not None
    assert hanako is not None
    assert sessions.evict(ChangeKind.USER, "taro") == [taro.digest]
    assert not taro.current
    assert hanako.current
    assert sessions.evict(ChangeKind.COMPANY, "acme") == [hanako.digest]


async def test_only_so_many_sessions_are_kept(store: Store, clock: ManualClock) -> None:
    sessions = worker(store, capacity=1)
    first = await opened(store, clock, sessions)
    sessions.use(first, START + 5)
    token, _ = await sign_in(store, clock, "hanako", HANAKO)
    await sessions.look_up(token.digest)
    assert len(sessions) == 1
    assert not first.current
    # Not kept, but its use is not lost.
    await sessions.note_use(START + 5)
    row = await store.worker.session(first.digest)
    assert row is not None
    assert row.last_used == START + 5


async def test_a_session_that_was_used_under_a_clock_since_set_back_has_ended(store: Store, clock: ManualClock) -> None:
    """It would not become idle until the clock has caught up with its last use."""
    sessions = worker(store)
    session = await opened(store, clock, sessions)
    sessions.use(session, START + 7_200)
    assert judge_session(session, Site.CERTIFICATE, TARO, START + 7_200 - IDLE, IDLE) is Code.SESSION_ENDED
    # Clocks of two nodes differ a little.
    assert judge_session(session, Site.CERTIFICATE, TARO, START + 7_199, IDLE) is None
    # What is being transferred is in use, whatever the clock says.
    assert judge_session(session, Site.CERTIFICATE, TARO, START, float("inf")) is None
