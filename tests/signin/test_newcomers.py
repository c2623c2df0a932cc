from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mtls_gateway.signin.newcomers import Newcomers
from mtls_gateway.wire.gate import Forward
from tests.signin.rows import TARO, give_back, sign_in, take_away
from tests.signin.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, {})
    await world.open()
    yield world
    await world.store.close()


@contextlib.asynccontextmanager
async def following(world: World) -> AsyncIterator[None]:
    """A worker that follows the feed, as it does for as long as it lives."""
    follower = asyncio.create_task(world.follower.run())
    try:
        yield
    finally:
        follower.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await follower


async def test_a_session_opened_elsewhere_goes_on_when_the_database_goes_away(world: World, tmp_path: Path) -> None:
    async with following(world):
        token, _ = await sign_in(world.store, world.clock, "taro", TARO)
        async with asyncio.timeout(60):
            while token.digest not in world.knowledge.sessions or TARO not in world.knowledge.identities:
                await world.store.changes.wait_for_change(0.02)
    for table in ("sessions", "certificates"):
        take_away(tmp_path, table)
    try:
        visitor = world.connect(world.ca.issue(TARO.serial))
        answer = await world.ask(visitor, b"/balance", cookie=b"__Host-ib-session=" + token.value)
    finally:
        for table in ("sessions", "certificates"):
            give_back(tmp_path, table)
    assert isinstance(answer, Forward)


async def test_what_cannot_be_read_is_left_to_its_first_request(world: World, tmp_path: Path) -> None:
    token, _ = await sign_in(world.store, world.clock, "taro", TARO)
    newcomers = Newcomers(world.knowledge)
    newcomers.hear(token.digest)
    take_away(tmp_path, "sessions")
    try:
        await newcomers.read()
    finally:
        give_back(tmp_path, "sessions")
    assert token.digest not in world.knowledge.sessions
    visitor = world.connect(world.ca.issue(TARO.serial))
    answer = await world.ask(visitor, b"/balance", cookie=b"__Host-ib-session=" + token.value)
    assert isinstance(answer, Forward)


async def test_a_full_cache_keeps_what_is_in_use(world: World) -> None:
    world.knowledge.sessions._capacity = 1
    here, _ = await sign_in(world.store, world.clock, "taro", TARO)
    cookie = b"__Host-ib-session=" + here.value
    assert isinstance(await world.ask(world.connect(world.ca.issue(TARO.serial)), b"/balance", cookie=cookie), Forward)
    elsewhere, _ = await sign_in(world.store, world.clock, "hanako", None)
    newcomers = Newcomers(world.knowledge)
    newcomers.hear(elsewhere.digest)
    await newcomers.read()
    assert here.digest in world.knowledge.sessions
    assert elsewhere.digest not in world.knowledge.sessions
