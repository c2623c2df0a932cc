"""What only SQLite has: a file, who may read it, and what may be put in its place."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from mtls_gateway import metrics
from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import FellBehind, StoreUnavailable
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.sqlite import SqliteEngine

pytestmark = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)


def _failures(operation: str) -> float:
    return float(metrics.STORE_FAILURES.labels(operation)._value.get())


def _files(directory: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in directory.iterdir()}


async def test_the_file_and_its_journal_are_nobody_elses(store: Store, tmp_path: Path) -> None:
    files = _files(tmp_path)
    assert set(files) >= {"gateway.sqlite3", "gateway.sqlite3-wal"}
    assert set(files.values()) == {0o600}


async def test_a_file_that_others_may_read_is_closed_to_them_when_it_is_opened(
    empty: Store, url: str, clock: ManualClock, tmp_path: Path
) -> None:
    (tmp_path / "gateway.sqlite3").chmod(0o644)
    await (await open_store(url, clock)).close()
    assert (tmp_path / "gateway.sqlite3").stat().st_mode & 0o777 == 0o600


async def test_writers_wait_for_the_disk_and_keep_foreign_keys(empty: Store) -> None:
    async with empty._database.writing("look") as connection:
        found = [
            (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]


async def test_a_missing_file_is_named_and_not_made(url: str, clock: ManualClock, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"gateway\.sqlite3: is not there; create it with: mtls-gateway store"):
        await open_store(url, clock)
    assert _files(tmp_path) == {}


async def test_a_missing_directory_is_named(kind: str, clock: ManualClock, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"its directory /.*/nowhere is not there"):
        await migrate(f"sqlite:///{tmp_path}/nowhere/gateway.sqlite3", clock)


async def test_a_file_that_is_no_database_is_unavailable_and_counted(
    kind: str, clock: ManualClock, tmp_path: Path
) -> None:
    (tmp_path / "gateway.sqlite3").write_bytes(b"not a database" * 100)
    before = _failures("check_the_schema_of")
    with pytest.raises(StoreUnavailable, match="not a database"):
        await open_store(f"sqlite:///{tmp_path / 'gateway.sqlite3'}", clock)
    assert _failures("check_the_schema_of") == before + 1


async def test_a_writer_that_gets_no_lock_in_time_has_done_nothing(
    store: Store, url: str, clock: ManualClock, tmp_path: Path
) -> None:
    impatient = await open_store(url, clock, busy_timeout=0.05)
    other = sqlite3.connect(tmp_path / "gateway.sqlite3", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await impatient.users.stop("taro", actor="test")
        taro = await impatient.identities.user("taro")  # readers are not in its way
        assert taro is not None
        assert not taro.stopped
    finally:
        other.close()
        await impatient.close()


async def test_a_poll_that_failed_is_followed_by_one_on_a_new_connection(store: Store) -> None:
    latest = await store.worker.latest_change()
    assert await store.worker.changes_since(latest) == []
    engine = store._database._engine
    assert isinstance(engine, SqliteEngine)
    poller = engine._poller
    assert poller is not None
    driver = (await poller.get_raw_connection()).driver_connection
    assert driver is not None
    await driver.close()
    with pytest.raises(StoreUnavailable):
        await store.worker.changes_since(latest)
    assert await store.worker.changes_since(latest) == []


async def test_another_file_in_the_databases_place_is_what_is_read_from_then_on(
    store: Store, url: str, clock: ManualClock, tmp_path: Path
) -> None:
    latest = await store.worker.latest_change()
    assert await store.worker.changes_since(latest) == []
    file = tmp_path / "gateway.sqlite3"
    await _copy(file, tmp_path / "backup")
    (tmp_path / "backup").replace(file)
    operator = await open_store(url, clock)
    await operator.users.stop("taro", actor="test")
    await operator.close()
    # Not even where the old file's feed ended at the same line: other changes may have led there.
    with pytest.raises(FellBehind, match="replaced"):
        await store.worker.changes_since(latest)
    assert [change.subject for change in await store.worker.changes_since(latest)] == ["taro"]
    user = await store.identities.user("taro")
    assert user is not None
    assert user.stopped


async def test_a_database_that_was_removed_is_unavailable_and_not_made_anew(store: Store, tmp_path: Path) -> None:
    (tmp_path / "gateway.sqlite3").unlink()
    with pytest.raises(StoreUnavailable, match="is not there"):
        await store.worker.changes_since(0)
    with pytest.raises(StoreUnavailable, match="is not there"):
        await store.identities.user("taro")
    with pytest.raises(StoreUnavailable, match="is not there"):
        await store.users.stop("taro", actor="test")
    assert not (tmp_path / "gateway.sqlite3").exists()


async def _copy(file: Path, backup: Path) -> None:
    def copy() -> None:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)

    await asyncio.to_thread(copy)
