from __future__ import annotations

import asyncio
from pathlib import Path

from mtls_gateway.clock import SystemClock
from mtls_gateway.model import NewSession
from mtls_gateway.store.opening import open_store

from .conftest import Command


def _open(home: Path) -> None:
    async def work() -> None:
        clock = SystemClock()
        store = await open_store(f"sqlite:///{home / 'state' / 'gateway.sqlite3'}", clock)
        now = clock.now()
        await store.sessions.open_session(NewSession(b"\x01" * 32, "taro", None, now, now + 60, b""), idle=900)
        await store.close()

    asyncio.run(work())


def test_sessions_are_listed_and_ended(acme: Command, home: Path) -> None:
    assert acme("session", "list").out == "there are no such sessions\n"
    _open(home)
    (listed,) = acme("session", "list", "--json").json
    assert (listed["user"], listed["company"], listed["state"], listed["serial"]) == ("taro", "acme", "live", None)
    assert acme("session", "end", "taro").out == "1 session of user taro ended\n"
    assert acme("session", "list", "--user", "taro").out == "there are no such sessions\n"
    assert acme("session", "list", "--all", "--json").json[0]["state"] == "ended"
    assert acme("session", "end", "nobody").status == 1


def test_no_token_and_no_digest_is_ever_printed(acme: Command, home: Path) -> None:
    _open(home)
    assert "0101" not in acme("session", "list", "--all", "--json").out
