"""One clerk leads, on either database; another takes over as soon as it has gone, however it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.store.leadership import FileLeadership, open_leadership
from mtls_gateway.store.opening import Store

_HOLD = """
import asyncio, sys
from mtls_gateway.store.leadership import open_leadership
async def hold():
    leadership = open_leadership(sys.argv[1])
    assert await leadership.take()
    print("leading", flush=True)
    await asyncio.sleep(600)
asyncio.run(hold())
"""


async def _at_last(look: Callable[[], Awaitable[bool]], wanted: bool) -> bool:
    """Whether it comes to that within a thousand looks."""
    for _ in range(1_000):
        if await look() is wanted:
            return True
    return False


async def test_one_at_a_time_and_the_next_when_it_is_given_back(empty: Store, url: str) -> None:
    first, second = open_leadership(url), open_leadership(url)
    assert await first.take()
    assert await first.still_ours()
    assert not await second.take()
    assert not await second.still_ours()
    await first.give_back()
    assert not await first.still_ours()
    assert await second.take()
    assert not await first.take()
    await second.give_back()
    await first.give_back()


async def test_a_leader_that_was_killed_leads_no_longer(empty: Store, url: str) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop
        [sys.executable, "-c", _HOLD, url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "leading\n"
        here = open_leadership(url)
        assert not await here.take()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert await _at_last(here.take, True)
        assert await here.still_ours()
        await here.give_back()
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_lock_whose_file_was_taken_away_is_no_longer_ours(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.sqlite3.clerk"
    first, second = FileLeadership(file), FileLeadership(file)
    assert await first.take()
    file.unlink()
    assert await second.take()
    assert not await first.still_ours()
    assert await second.still_ours()
    await first.give_back()
    await second.give_back()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_where_no_lock_can_be_made_nobody_leads(kind: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="while a clerk asked to lead"):
        await FileLeadership(tmp_path / "nowhere" / "lock").take()


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
@pytest.mark.needs("postgres")
async def test_a_session_that_the_server_has_ended_leads_no_longer(empty: Store, url: str) -> None:
    from sqlalchemy import text

    first, second = open_leadership(url), open_leadership(url)
    assert await first.take()
    async with empty.outbox._database.writing("end a session") as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        )
    # The server ends it a moment later.
    assert await _at_last(first.still_ours, False)
    assert await _at_last(second.take, True)
    await first.give_back()
    await second.give_back()
