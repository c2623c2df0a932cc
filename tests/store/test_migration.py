from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError, StoreUnavailable
from mtls_gateway.store import migration
from mtls_gateway.store.engine import Database
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.schema import REVISION, metadata


def _objects(path: Path) -> dict[str, str]:
    """Every table and index as it was made, words compared without their spacing and order of columns' constraints."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%' "
            "AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    connection.close()
    return {name: " ".join(sorted(sql.replace(",", " ").split())) for name, sql in rows}


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_migrations_from_nothing_make_the_tables_of_the_schema(empty: Store, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'metadata.sqlite3'}")
    metadata.create_all(engine)
    engine.dispose()
    # Also the partial indexes' conditions, which Alembic's own comparison does not look at.
    assert _objects(tmp_path / "gateway.sqlite3") == _objects(tmp_path / "metadata.sqlite3")


async def test_alembic_finds_no_difference_between_migrations_and_schema(empty: Store) -> None:
    def differences(connection: sa.Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    async with empty._database.reading("compare the tables") as connection:
        assert await connection.run_sync(differences) == []


def test_the_schema_names_the_newest_migration() -> None:
    configuration = Config()
    configuration.set_main_option("script_location", "mtls_gateway.store:migrations")
    assert ScriptDirectory.from_config(configuration).get_heads() == [REVISION]


async def test_migrating_again_changes_nothing_and_keeps_the_rows(store: Store, url: str, clock: ManualClock) -> None:
    await migrate(url, clock)
    assert [one.user.user_id for one in await store.users.all()] == ["hanako", "taro"]


async def test_two_migrations_at_once_are_one_after_the_other(url: str, clock: ManualClock) -> None:
    await asyncio.gather(*(asyncio.to_thread(asyncio.run, migrate(url, clock)) for _ in range(3)))
    store = await open_store(url, clock)
    assert await store.users.all() == []
    await store.close()


async def test_a_new_file_that_somebody_is_writing_to_is_waited_for(
    url: str, clock: ManualClock, tmp_path: Path
) -> None:
    """Here SQLite does not wait by itself: a new file can be switched to the write-ahead log by one at a time."""
    with contextlib.closing(sqlite3.connect(tmp_path / "gateway.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.2, other.execute, "ROLLBACK")
        await migrate(url, clock)
    store = await open_store(url, clock)
    assert await store.users.all() == []
    await store.close()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_new_file_that_somebody_never_lets_go_of_is_an_error(
    url: str, clock: ManualClock, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "gateway.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="database is locked"):
            await migrate(url, clock, busy_timeout=0.1)


async def test_a_migration_that_fails_leaves_nothing_behind(
    url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = migration._upgrade

    def fail_at_the_end(connection: sa.Connection) -> None:
        upgrade(connection)
        raise StateError("the lights went out")

    monkeypatch.setattr(migration, "_upgrade", fail_at_the_end)
    with pytest.raises(StateError):
        await migrate(url, clock)
    database = Database(url, clock)
    async with database.reading("look for tables") as connection:
        assert await connection.run_sync(lambda there: sa.inspect(there).get_table_names()) == []
    await database.close()
    monkeypatch.undo()
    await migrate(url, clock)


async def test_an_empty_database_says_how_to_make_the_tables(url: str, clock: ManualClock, tmp_path: Path) -> None:
    (tmp_path / "gateway.sqlite3").touch(0o600)
    with pytest.raises(StateError, match="no tables yet; make them with: mtls-gateway store migrate"):
        await open_store(url, clock)


@pytest.mark.parametrize("version", ["0000", "9999"])
async def test_tables_of_another_version_are_refused(version: str, empty: Store, url: str, clock: ManualClock) -> None:
    async with empty._database.writing("meddle") as connection:
        await connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{version}'"))
    with pytest.raises(StateError, match=f"version {version}, this program needs {REVISION}"):
        await open_store(url, clock)
