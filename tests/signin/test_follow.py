from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from mtls_gateway.clock import SystemClock
from mtls_gateway.model import CertificateId, Method, PeerCertificate
from mtls_gateway.signin.follow import Follower
from mtls_gateway.signin.identity import Identities
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.users import NewUser
from mtls_gateway.wire.gate import Forward, Page, Redirect, Refuse
from tests.signin.rows import HANAKO, ISSUER, START, TARO, give_back, sign_in, take_away
from tests.signin.world import Connection, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, {})
    await world.open()
    yield world
    await world.store.close()


async def admitted(
    world: World, user: str, certificate: CertificateId | None, shown: PeerCertificate | None
) -> tuple[Connection, bytes]:
    """Somebody in the middle of a download."""
    token, _ = await sign_in(world.store, world.clock, user, certificate)
    cookie = b"__Host-ib-session=" + token.value
    visitor = world.connect_public() if shown is None else world.connect(shown)
    answer = await world.ask(visitor, b"/download", cookie=cookie)
    assert isinstance(answer, Forward)
    connection = world.hold(answer.bound)
    # As long as the connection is open, so is its side of the gate.
    connection.visitor = visitor  # type: ignore[attr-defined]
    return connection, cookie


async def revoke_certificate(world: World) -> None:
    await world.store.certificates.revoke(TARO, actor="test")


async def stop_user(world: World) -> None:
    await world.store.users.stop("taro", actor="test")


async def suspend_for_wrong_passwords(world: World) -> None:
    for _ in range(5):
        await world.store.attempts.begin_attempt("taro", limit=5, suspension=1_800, suspensions=3)


async def suspend_company(world: World) -> None:
    await world.store.companies.suspend("acme", actor="test")


async def end_sessions(world: World) -> None:
    await world.store.sessions.end_all_of("taro", actor="test")


async def publish_crl(world: World) -> None:
    await world.publish_crl(2, [TARO.serial])


async def publish_crl_in_time(world: World) -> None:
    """The same while the feed no longer has what this worker has not read yet."""
    await world.publish_crl(2, [TARO.serial])
    await revoke_certificate(world)
    world.clock.advance(5)
    await world.store.changes.prune(world.clock.now())


@pytest.mark.parametrize(
    ("do", "cause", "page"),
    [
        (revoke_certificate, "certificate_revoked", b"certificate_revoked"),
        (stop_user, "user_stopped", b"user_stopped"),
        (suspend_for_wrong_passwords, "user_suspended", b"user_suspended"),
        (suspend_company, "company_suspended", b"company_suspended"),
        (publish_crl, "certificate_revoked", b"certificate_revoked"),
        (publish_crl_in_time, "certificate_revoked", b"certificate_revoked"),
        (end_sessions, "session_ended", None),
    ],
)
async def test_one_poll_after_it_was_decided_transfers_are_cut_and_requests_refused(
    world: World, do: Callable[[World], Awaitable[None]], cause: str, page: bytes | None
) -> None:
    shown = world.ca.issue(TARO.serial)
    connection, cookie = await admitted(world, "taro", TARO, shown)
    other, other_cookie = await admitted(world, "hanako", HANAKO, world.ca.issue(HANAKO.serial))
    await world.follower.poll()
    assert connection.causes == other.causes == []
    await do(world)
    await world.follower.poll()
    assert cause in connection.causes
    answer = await world.ask(world.connect(shown), b"/download", cookie=cookie)
    if page is None:
        assert isinstance(answer, Redirect)
    else:
        assert isinstance(answer, Page)
        assert answer.target == b"/gateway/refused/" + page
    if do is not suspend_company:
        assert other.causes == []
        hanako = world.connect(world.ca.issue(HANAKO.serial))
        assert isinstance(await world.ask(hanako, b"/download", cookie=other_cookie), Forward)


async def test_a_password_that_is_on_its_way_when_a_crl_revokes_its_certificate_never_arrives(world: World) -> None:
    visitor = world.connect(world.ca.issue(TARO.serial))
    answer = await world.ask(visitor, b"/gateway/password", method=b"POST")
    assert isinstance(answer, Forward)
    connection = world.hold(answer.bound)
    connection.visitor = visitor  # type: ignore[attr-defined]
    # The last wrong password must still be answered.
    await suspend_for_wrong_passwords(world)
    await world.follower.poll()
    assert connection.causes == []
    await publish_crl(world)
    await world.follower.poll()
    assert connection.causes == ["certificate_revoked"]


async def test_a_change_that_takes_nothing_away_cuts_nobody(world: World) -> None:
    connection, _ = await admitted(world, "taro", TARO, world.ca.issue(TARO.serial))
    await world.store.companies.set_method("acme", Method.MIGRATING, START + 9, actor="test")
    await world.store.attempts.begin_attempt("taro", limit=5, suspension=60, suspensions=3)
    await world.publish_crl(2, [HANAKO.serial])
    await world.follower.poll()
    await world.follower.poll()
    assert connection.causes == []


async def test_a_password_session_is_cut_when_its_company_switches(world: World) -> None:
    connection, cookie = await admitted(world, "jiro", None, None)
    await world.store.companies.set_method("old", Method.CERTIFICATE, actor="test")
    await world.follower.poll()
    assert connection.causes
    assert not isinstance(await world.ask(world.connect_public(), b"/download", cookie=cookie), Forward)


async def test_a_takeover_cuts_the_session_that_gave_way(world: World) -> None:
    connection, _ = await admitted(world, "taro", TARO, world.ca.issue(TARO.serial))
    token, _ = await sign_in(world.store, world.clock, "taro", TARO)
    await world.follower.poll()
    assert connection.causes == []
    await world.store.sessions.take_over(token.digest, not_before=START - 60)
    await world.follower.poll()
    assert connection.causes == ["session_ended"]


async def test_who_was_forgotten_for_want_of_room_is_cut_as_well(world: World) -> None:
    world.knowledge.identities = Identities(world.store.worker, capacity=1)
    taro, _ = await admitted(world, "taro", TARO, world.ca.issue(TARO.serial))
    hanako, _ = await admitted(world, "hanako", HANAKO, world.ca.issue(HANAKO.serial))
    assert world.knowledge.identities.get(TARO) is None
    await world.store.certificates.revoke(TARO, actor="test")
    await world.follower.poll()
    assert "certificate_revoked" in taro.causes
    assert hanako.causes == []
    await world.store.users.stop("hanako", actor="test")
    await world.ask(world.connect(world.ca.issue(TARO.serial)), b"/")
    await world.follower.poll()
    assert "user_stopped" in hanako.causes


async def test_after_pruned_changes_everything_is_judged_anew_and_nobody_is_cut_for_nothing(world: World) -> None:
    shown = world.ca.issue(TARO.serial)
    connection, cookie = await admitted(world, "taro", TARO, shown)
    await world.store.users.stop("hanako", actor="test")
    await world.store.users.release("hanako", actor="test")
    world.clock.advance(5)
    await world.store.changes.prune(world.clock.now())
    await world.follower.poll()
    assert connection.causes == []
    assert isinstance(await world.ask(world.connect(shown), b"/", cookie=cookie), Forward)
    await world.store.users.stop("taro", actor="test")
    await world.follower.poll()
    assert "user_stopped" in connection.causes


async def test_while_the_feed_is_silent_what_is_known_goes_on_for_a_while_and_then_nobody(world: World) -> None:
    shown = world.ca.issue(TARO.serial)
    connection, cookie = await admitted(world, "taro", TARO, shown)
    visitor = world.connect(shown)
    assert isinstance(await world.ask(visitor, b"/x", cookie=cookie), Forward)
    take_away(world.directory, "changes")
    world.clock.advance(9.9)
    await world.follower.poll()
    assert world.follower.failing_since is not None
    assert isinstance(await world.ask(visitor, b"/x", cookie=cookie), Forward)
    assert connection.causes == []
    world.clock.advance(0.1)
    # Even without another poll: a follower that hangs must not keep the gate open.
    assert await world.ask(visitor, b"/x", cookie=cookie) == Refuse(503, "unavailable")
    await world.follower.poll()
    assert connection.causes == ["store_silent"]
    give_back(world.directory, "changes")
    await world.follower.poll()
    assert isinstance(await world.ask(visitor, b"/x", cookie=cookie), Forward)


async def test_who_cannot_be_judged_again_is_cut(world: World) -> None:
    connection, _ = await admitted(world, "taro", TARO, world.ca.issue(TARO.serial))
    await world.store.companies.set_method("acme", Method.MIGRATING, START + 9, actor="test")
    take_away(world.directory, "certificates")
    await world.follower.poll()
    assert "unavailable" in connection.causes


async def test_revocation_lists_that_cannot_be_taken_are_tried_again_and_then_nobody_is_admitted(world: World) -> None:
    shown = world.ca.issue(TARO.serial)
    connection, cookie = await admitted(world, "taro", TARO, shown)
    await world.publish_crl(2, [TARO.serial])
    with world.lists.vanished():
        await world.follower.poll()
        assert connection.causes == []
        world.clock.advance(10)
        assert await world.ask(world.connect(shown), b"/", cookie=cookie) == Refuse(503, "unavailable")
        await world.follower.poll()
        assert connection.causes == ["store_silent"]
    await world.follower.poll()
    answer = await world.ask(world.connect(shown), b"/", cookie=cookie)
    assert isinstance(answer, Page)
    assert answer.target == b"/gateway/refused/certificate_revoked"


async def test_every_worker_learns_who_asked_for_another_certificate(world: World) -> None:
    shown = world.ca.issue(TARO.serial)
    await world.store.identities.ask_again(shown.fingerprint, "127.0.0.1")
    assert not world.gate.must_ask_again("127.0.0.1")
    await world.follower.poll()
    assert world.gate.must_ask_again("127.0.0.1")
    assert world.gate.is_unwanted("127.0.0.1", shown)
    assert not world.gate.is_unwanted("127.0.0.1", world.ca.issue(HANAKO.serial))


async def test_a_failed_note_of_uses_is_no_end(world: World) -> None:
    _, cookie = await admitted(world, "taro", TARO, world.ca.issue(TARO.serial))
    world.clock.advance(5)
    await world.ask(world.connect(world.ca.issue(TARO.serial)), b"/", cookie=cookie)
    take_away(world.directory, "sessions")
    await world.follower.note_use()
    give_back(world.directory, "sessions")
    await world.follower.note_use()
    (row,) = await world.store.sessions.all(user_id="taro")
    assert row.last_used == START + 5


async def a_crowd(world: World, count: int) -> list[Connection]:
    """Many people of one company, each in the middle of a download."""
    await world.store.users.add([NewUser(f"u{number}", "acme") for number in range(count)], actor="test")
    registered = [NewCertificate(CertificateId(ISSUER, 1_000 + n), f"u{n}") for n in range(count)]
    await world.store.certificates.register(registered, actor="test")
    connections = []
    for number in range(count):
        certificate = CertificateId(ISSUER, 1_000 + number)
        await world.knowledge.identities.look_up(certificate)
        bound: tuple[tuple[str, object], ...] = (
            ("certificate", certificate),
            ("user", f"u{number}"),
            ("company", "acme"),
        )
        if number % 20 == 0:
            # A sign-in waits for the disk; these are enough.
            token, _ = await sign_in(world.store, world.clock, f"u{number}", certificate)
            await world.knowledge.sessions.look_up(token.digest)
            bound = (*bound, ("session", token.digest))
        connections.append(world.hold(bound))
    await world.follower.poll()
    assert not any(connection.causes for connection in connections)
    return connections


async def test_a_thousand_people_of_a_suspended_company_are_cut_within_a_second(world: World) -> None:
    connections = await a_crowd(world, 1_000)
    clock = SystemClock()
    begun = clock.monotonic()
    await world.store.companies.suspend("acme", actor="test")
    await world.follower.poll()
    seconds = clock.monotonic() - begun
    assert all(connection.causes for connection in connections)
    print(f"{len(connections)} connections of a suspended company cut in {seconds:.3f} s")
    assert seconds < 1.0


async def test_while_many_are_judged_again_newer_changes_do_not_wait(world: World) -> None:
    connections = await a_crowd(world, 300)
    clock = SystemClock()
    follower = Follower(world.configuration, world.store.worker, world.gate, world.live, world.lists.take, clock)
    # Started anew, nothing is known, and everything open must be judged again.
    await follower.start()
    await world.store.companies.set_method("acme", Method.PASSWORD, actor="test")
    polls = 0
    longest = 0.0
    while not all(connection.causes for connection in connections):
        begun = clock.monotonic()
        await follower.poll()
        longest = max(longest, clock.monotonic() - begun)
        polls += 1
    print(f"{len(connections)} connections judged again in {polls} polls, the longest of {longest:.3f} s")
    assert longest < 0.9


async def test_the_loop_follows_by_itself_and_ends_when_cancelled(world: World) -> None:
    connection, _ = await admitted(world, "taro", TARO, world.ca.issue(TARO.serial))
    cut = asyncio.Event()

    class Noticed(Connection):
        def cut(self, cause: str) -> None:
            super().cut(cause)
            cut.set()

    Noticed(world.live, (("certificate", TARO),))
    running = asyncio.ensure_future(world.follower.run())
    await asyncio.sleep(0)
    clock = SystemClock()
    begun = clock.monotonic()
    await world.store.certificates.revoke(TARO, actor="test")
    await asyncio.wait_for(cut.wait(), 1.0)
    print(f"from the operator's command to the cut: {clock.monotonic() - begun:.3f} s")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert connection.causes
