"""What only PostgreSQL has: a network, a server that goes and comes back, a password, a notification."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.model import ChangeKind
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from tests.postgres_server import PostgresServer, postgres_server

pytestmark = [
    pytest.mark.parametrize("kind", [pytest.param("postgres", marks=pytest.mark.needs("postgres"))], indirect=True)
]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with postgres_server() as own:
        yield own


async def test_a_password_never_stands_in_an_error(url: str, clock: ManualClock) -> None:
    wrong = url.replace("test-only", "sesame-open")
    with pytest.raises(StoreUnavailable) as caught:
        await open_store(wrong, clock)
    assert "password authentication failed" in str(caught.value)
    assert "sesame-open" not in str(caught.value)


async def test_a_password_may_stand_in_a_file_of_its_own(
    tables: None, url: str, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "pgpass"
    file.touch(0o600)
    file.write_text("127.0.0.1:*:*:gateway:test-only\n")
    store = await open_store(url.replace(":test-only", "") + f"?passfile={file}", clock)
    assert await store.users.all() == []
    await store.close()


async def test_a_database_that_is_not_there_says_how_to_make_it(url: str, clock: ManualClock) -> None:
    with pytest.raises(StoreUnavailable, match=r"nowhere: is not there; create it with: createdb"):
        await open_store(url.rpartition("/")[0] + "/nowhere", clock)


async def test_a_server_that_cannot_be_reached_is_named(kind: str, clock: ManualClock, free_port: int) -> None:
    with pytest.raises(StoreUnavailable, match=rf"127.0.0.1:{free_port}/x: cannot be reached"):
        await open_store(f"postgresql://gateway@127.0.0.1:{free_port}/x", clock)


async def test_a_server_that_accepts_and_says_nothing_is_given_up_in_time(kind: str, clock: ManualClock) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://gateway@127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            await asyncio.wait_for(open_store(url, clock, busy_timeout=0.2), 5)


async def test_a_writer_that_does_not_get_its_turn_in_time_has_done_nothing(
    store: Store, url: str, clock: ManualClock
) -> None:
    impatient = await open_store(url, clock, busy_timeout=0.1)
    async with store._database.writing("hold the turn") as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await impatient.users.stop("taro", actor="test")
        taro = await impatient.identities.user("taro")  # readers are not in its way
        assert taro is not None
        assert not taro.stopped
    await impatient.users.stop("taro", actor="test")
    await impatient.close()


async def test_a_change_is_announced_and_not_waited_for(store: Store, url: str, clock: ManualClock) -> None:
    other = await open_store(url, clock)
    await store.worker.wait_for_change(5.0)  # It begins to listen: something may have been written before.
    waiting = asyncio.create_task(store.worker.wait_for_change(30.0))
    await asyncio.sleep(0)
    await other.changes.announce(ChangeKind.REVOCATION, "1")
    await asyncio.wait_for(waiting, 5.0)
    await other.close()


async def test_a_server_that_goes_and_comes_back_needs_no_restart_of_ours(
    kind: str, server: PostgresServer, clock: ManualClock
) -> None:
    url = server.url(server.new_database())
    await migrate(url, clock)
    store = await open_store(url, clock)
    await store.changes.announce(ChangeKind.REVOCATION, "1")
    assert len(await store.worker.changes_since(0)) == 1
    await store.worker.wait_for_change(0.1)
    server.stop(kind=signal.SIGQUIT)
    for question in (store.worker.changes_since(1), store.users.all(), store.changes.announce(ChangeKind.USER, "x")):
        with pytest.raises(StoreUnavailable):
            await question
    await asyncio.wait_for(store.worker.wait_for_change(0.1), 5.0)
    server.start()
    await store.changes.announce(ChangeKind.REVOCATION, "2")
    assert [change.subject for change in await store.worker.changes_since(1)] == ["2"]
    assert await store.users.all() == []
    await store.close()
