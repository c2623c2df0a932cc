"""While the service is closed nobody is admitted, on any host, whoever it is; then all goes on (clause E.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mtls_gateway.model import Closure
from mtls_gateway.web.context import read_context
from mtls_gateway.wire.gate import Forward, Page, Refuse, Route
from tests.signin.rows import TARO, sign_in, take_away
from tests.signin.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, {})
    await made.open()
    yield made
    await made.store.close()


async def _cookie(world: World) -> bytes:
    token, _ = await sign_in(world.store, world.clock, "taro", TARO)
    return b"__Host-ib-session=" + token.value


async def _stop(world: World) -> Closure:
    closure = await world.store.closures.stop(actor="test", note_ja="障害対応中です。")
    await world.follower.poll()
    return closure


async def test_an_emergency_stop_refuses_every_host_and_path_and_says_so(world: World) -> None:
    cookie, shown = await _cookie(world), world.ca.issue(TARO.serial)
    visitor, public = world.connect(shown), world.connect_public()
    assert isinstance(await world.ask(visitor, b"/balance", cookie=cookie), Forward)
    await _stop(world)
    for each, target in (
        (visitor, b"/balance"),
        (visitor, b"/gateway/password"),
        (public, b"/"),
        (public, b"/static/x"),
    ):
        answer = await world.ask(each, target, cookie=cookie)
        assert isinstance(answer, Page)
        assert answer.target == b"/gateway/refused/emergency_stop"
        ((_, told),) = answer.headers
        closure = read_context([told.decode()]).closure
        assert closure is not None
        assert (closure.ends, closure.note_ja, closure.note_en) == (None, "障害対応中です。", None)
    refused = await world.ask(visitor, b"/transfer", cookie=cookie, method=b"POST", html=False)
    assert refused == Refuse(503, "emergency_stop")
    style = await world.ask(public, b"/gateway/static/portal.css")
    assert isinstance(style, Forward) and style.route is Route.PORTAL
    # Programs that ask for certificates are told in their own words.
    for each in (visitor, public):
        est = await world.ask(each, b"/.well-known/est/cacerts", method=b"POST", html=False)
        assert isinstance(est, Forward) and (est.route, est.verdict) == (Route.PORTAL, "emergency_stop")


async def test_what_is_under_way_is_cut_once_and_sessions_go_on_when_it_is_over(world: World) -> None:
    cookie, shown = await _cookie(world), world.ca.issue(TARO.serial)
    visitor = world.connect(shown)
    admission = await world.ask(visitor, b"/download", cookie=cookie)
    assert isinstance(admission, Forward)
    connection = world.hold(admission.bound)
    closure = await _stop(world)
    await world.follower.poll()
    assert connection.causes == ["emergency_stop"]
    await world.store.closures.lift(closure.closure_id, actor="test")
    await world.follower.poll()
    assert isinstance(await world.ask(visitor, b"/balance", cookie=cookie), Forward)


async def test_a_window_begins_and_ends_at_the_very_second_without_another_poll(world: World) -> None:
    cookie, shown = await _cookie(world), world.ca.issue(TARO.serial)
    visitor = world.connect(shown)
    now = world.clock.now()
    await world.store.closures.plan(now + 5, now + 8, actor="test")
    await world.follower.poll()
    assert isinstance(await world.ask(visitor, b"/x", cookie=cookie), Forward)
    world.clock.advance(4.9)
    assert isinstance(await world.ask(visitor, b"/x", cookie=cookie), Forward)
    world.clock.advance(0.1)
    answer = await world.ask(visitor, b"/x", cookie=cookie)
    assert isinstance(answer, Page)
    assert answer.target == b"/gateway/refused/maintenance"
    world.clock.advance(2.9)
    assert isinstance(await world.ask(visitor, b"/x", cookie=cookie), Page)
    world.clock.advance(0.1)
    assert isinstance(await world.ask(visitor, b"/x", cookie=cookie), Forward)


async def test_a_clock_that_is_set_across_a_windows_beginning_is_followed_at_the_next_poll(world: World) -> None:
    cookie, shown = await _cookie(world), world.ca.issue(TARO.serial)
    visitor = world.connect(shown)
    now = world.clock.now()
    await world.store.closures.plan(now + 60, now + 120, actor="test")
    await world.follower.poll()
    assert isinstance(await world.ask(visitor, b"/x", cookie=cookie), Forward)
    world.clock.set(now + 61)
    await world.follower.poll()
    assert isinstance(await world.ask(visitor, b"/x", cookie=cookie), Page)


async def test_an_emergency_stop_is_what_is_said_within_a_window(world: World) -> None:
    now = world.clock.now()
    await world.store.closures.plan(now, now + 60, actor="test")
    await _stop(world)
    answer = await world.ask(world.connect_public(), b"/")
    assert isinstance(answer, Page)
    assert answer.target == b"/gateway/refused/emergency_stop"


async def test_a_worker_that_starts_while_it_is_stopped_admits_nobody(world: World) -> None:
    cookie, shown = await _cookie(world), world.ca.issue(TARO.serial)
    await world.store.closures.stop(actor="test")
    world.make_worker()
    await world.follower.start()
    assert isinstance(await world.ask(world.connect(shown), b"/x", cookie=cookie), Page)


async def test_a_stop_that_cannot_be_read_lets_nobody_in_for_longer_than_silence_does(world: World) -> None:
    cookie, shown = await _cookie(world), world.ca.issue(TARO.serial)
    visitor = world.connect(shown)
    assert isinstance(await world.ask(visitor, b"/x", cookie=cookie), Forward)
    await world.store.closures.stop(actor="test")
    take_away(world.directory, "closures")
    await world.follower.poll()
    world.clock.advance(world.configuration.store.silence)
    await world.follower.poll()
    assert await world.ask(visitor, b"/x", cookie=cookie) == Refuse(503, "unavailable")
