"""After a reissue, what the rules name is refused until the next business day, to the second, in every spelling."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import update

from mtls_gateway.config import CoolingOffRule
from mtls_gateway.model import ChangeKind, PeerCertificate
from mtls_gateway.signin.cooling_off import CoolingOff
from mtls_gateway.store.changes import publish
from mtls_gateway.store.schema import users
from mtls_gateway.wire.gate import Forward, Page, Refuse
from tests.signin.rows import HANAKO, START, TARO, sign_in
from tests.signin.world import World

RULES = [{"methods": ["POST", "DELETE"], "paths": ["/transfer/**"]}, {"paths": ["**/limits.do"]}]
UNTIL = START + 3_600.0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, {"cooling_off.rules": RULES})
    await made.open()
    yield made
    await made.store.close()


@pytest.fixture
def taro(world: World) -> PeerCertificate:
    return world.ca.issue(TARO.serial)


async def cool_off(world: World, until: float | None = UNTIL) -> None:
    """What is written when a reissued certificate is stored."""
    async with world.store._database.writing("cool off") as connection:
        await connection.execute(update(users).where(users.c.id == "taro").values(cooling_off_until=until))
        await publish(connection, world.clock.now(), [(ChangeKind.USER, "taro")])
    await world.follower.poll()


async def cookie(world: World, user: str = "taro") -> bytes:
    token, _ = await sign_in(world.store, world.clock, user, TARO if user == "taro" else HANAKO)
    return b"__Host-ib-session=" + token.value


async def test_what_a_rule_names_is_refused_and_everything_else_passes(world: World, taro: PeerCertificate) -> None:
    await cool_off(world)
    visitor, session = world.connect(taro), await cookie(world)
    refused = await world.ask(visitor, b"/transfer/confirm?amount=1", method=b"POST", cookie=session)
    assert isinstance(refused, Page)
    assert (refused.target, refused.verdict) == (b"/gateway/refused/cooling_off", "cooling_off")
    machine = await world.ask(visitor, b"/transfer", method=b"POST", cookie=session, html=False)
    assert machine == Refuse(403, "cooling_off")
    for method, target in ((b"GET", b"/transfer"), (b"POST", b"/statements"), (b"GET", b"/balance")):
        assert isinstance(await world.ask(visitor, target, method=method, cookie=session), Forward)
    for method in (b"GET", b"HEAD", b"POST", b"PUT"):
        assert isinstance(await world.ask(visitor, b"/menu/limits.do", method=method, cookie=session), Page)


async def test_it_opens_at_the_very_moment_and_not_before(world: World, taro: PeerCertificate) -> None:
    visitor, session = world.connect(taro), await cookie(world)
    await cool_off(world)
    moments = [*[(600.0, False)] * 5, (599.75, False), (0.25, True)]
    for later, opened in moments:
        world.clock.advance(later)
        await world.follower.poll()
        assert isinstance(await world.ask(visitor, b"/balance", cookie=session), Forward)
        answer = await world.ask(visitor, b"/transfer", method=b"POST", cookie=session)
        assert isinstance(answer, Forward if opened else Page), world.clock.now() - START


async def test_whoever_is_not_cooling_off_is_held_against_no_rule(world: World) -> None:
    await cool_off(world)
    hanako = world.connect(world.ca.issue(HANAKO.serial))
    session = await cookie(world, "hanako")
    assert isinstance(await world.ask(hanako, b"/transfer", method=b"POST", cookie=session), Forward)


async def test_a_path_that_was_forwarded_a_moment_ago_is_no_way_round(world: World, taro: PeerCertificate) -> None:
    """The steady state knows nothing of methods: nobody who is cooling off gets there."""
    await cool_off(world)
    visitor, session = world.connect(taro), await cookie(world)
    for _ in range(3):
        assert isinstance(await world.ask(visitor, b"/transfer", cookie=session), Forward)
        assert isinstance(await world.ask(visitor, b"/transfer", method=b"POST", cookie=session), Page)


async def test_a_cooling_off_that_begins_reaches_who_is_signed_in(world: World, taro: PeerCertificate) -> None:
    visitor, session = world.connect(taro), await cookie(world)
    assert isinstance(await world.ask(visitor, b"/transfer", method=b"POST", cookie=session), Forward)
    await cool_off(world)
    assert isinstance(await world.ask(visitor, b"/transfer", method=b"POST", cookie=session), Page)
    await cool_off(world, None)
    assert isinstance(await world.ask(visitor, b"/transfer", method=b"POST", cookie=session), Forward)


async def test_after_it_the_steady_state_is_as_fast_as_anybodys(world: World, taro: PeerCertificate) -> None:
    await cool_off(world)
    visitor, session = world.connect(taro), await cookie(world)
    during = await world.ask(visitor, b"/balance", cookie=session)
    assert visitor.admit(world.head(b"/balance", cookie=session)) is not during
    world.clock.advance(3_600)
    await world.follower.poll()
    token, _ = await sign_in(world.store, world.clock, "taro", TARO)
    session = b"__Host-ib-session=" + token.value
    await world.follower.poll()
    after = await world.ask(visitor, b"/balance", cookie=session)
    assert visitor.admit(world.head(b"/balance", cookie=session)) is after


#: The path of a rule, as somebody writes it who wants past it.
@pytest.mark.parametrize(
    "target",
    [
        b"/transfer", b"/transfer/", b"/TRANSFER", b"//transfer", b"/transfer;x=1", b"/transfer;/confirm",
        b"/%74ransfer", b"/%2574ransfer", b"/transfer%20", b"/transfer.", b"/transfer::$DATA", b"/transfer/x/y",
        quote("/ｔｒａｎｓｆｅｒ").encode(), b"/x/limits.do/extra", b"/LIMITS.DO;jsessionid=1",
    ],
)  # fmt: skip
async def test_every_spelling_of_a_named_path_is_refused(target: bytes, world: World, taro: PeerCertificate) -> None:
    await cool_off(world)
    visitor, session = world.connect(taro), await cookie(world)
    answer = await world.ask(visitor, target, method=b"POST", cookie=session)
    assert isinstance(answer, Page | Refuse), answer


def test_a_head_is_a_get_that_is_cut_short(tmp_path: Path) -> None:
    world = World(tmp_path, {})
    for methods, named in ((("GET",), True), (("HEAD",), True), (("POST",), False)):
        rules = CoolingOff([CoolingOffRule(methods=methods, paths=("/x",))])
        assert rules.names(world.head(b"/x", method=b"HEAD")) is named


def test_without_rules_nothing_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, {})
    assert not CoolingOff(()).names(world.head(b"/transfer", method=b"POST"))
