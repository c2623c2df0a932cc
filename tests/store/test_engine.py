"""What every database does for the store, whichever it is."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert, text

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import ConfigurationError, StateError, StoreUnavailable
from mtls_gateway.model import CertificateId
from mtls_gateway.store.engine import Database
from mtls_gateway.store.opening import Store
from mtls_gateway.store.schema import feed


async def test_a_reader_cannot_write(empty: Store) -> None:
    with pytest.raises(StoreUnavailable, match=r"read-?only"):
        async with empty._database.reading("misuse") as connection:
            await connection.execute(insert(feed).values(id=2, newest=0))


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("sqlite://", "no absolute path"),
        ("sqlite:///relative.sqlite3", "no absolute path"),
        ("mysql://localhost/x", "'mysql' is not supported"),
        ("postgresql://localhost/x", "names no user or no database"),
        ("postgresql://gateway@localhost", "names no user or no database"),
        ("::", "is not a database's address"),
    ],
)
def test_an_address_that_cannot_be_opened_says_which_can(url: str, cause: str, clock: ManualClock) -> None:
    with pytest.raises(ConfigurationError, match=cause):
        Database(url, clock)


async def test_a_cancelled_writer_leaves_neither_a_lock_nor_half_a_change(store: Store, url: str) -> None:
    entered = asyncio.Event()

    async def write() -> None:
        async with store._database.writing("be cancelled") as connection:
            await connection.execute(text("UPDATE users SET stopped = 'operator'"))
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [one.user.stopped for one in await store.users.all()] == [False, False]
    await store.users.stop("taro", actor="test")


async def test_fifty_cancelled_look_ups_leave_the_readers_usable(store: Store, certificate: CertificateId) -> None:
    tasks = [asyncio.create_task(store.worker.registration(certificate)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await store.worker.registration(certificate) is not None


async def test_what_a_newer_program_wrote_is_not_taken_for_something_else(
    store: Store, certificate: CertificateId
) -> None:
    async with store._database.writing("meddle") as connection:
        await connection.execute(text("UPDATE certificates SET state = 'valid_on_mondays'"))
    with pytest.raises(StoreUnavailable, match="valid_on_mondays"):
        await store.worker.registration(certificate)


async def test_a_violated_constraint_without_a_meaning_is_a_failure(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match=r"UNIQUE|unique"):
        async with store._database.writing("collide") as connection:
            await connection.execute(insert(feed).values(id=1, newest=0))


async def test_a_violated_constraint_with_a_meaning_says_it(store: Store) -> None:
    with pytest.raises(StateError, match="one feed is enough"):
        async with store._database.writing("collide", conflict="one feed is enough") as connection:
            await connection.execute(insert(feed).values(id=1, newest=0))
