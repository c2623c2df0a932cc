"""Move to another database, e.g. from one machine's SQLite to PostgreSQL for many (clause E.5).

Everything is copied in one transaction of the target, either while nobody can write to the source or as the source
was at one moment; every table is counted on both sides before it is committed, so that a copy is whole or was never
made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import StateError
from mtls_gateway.store.engine import Database
from mtls_gateway.store.migration import require_current_schema
from mtls_gateway.store.schema import audit_head, feed, metadata

_PORTION = 500
#: Tables that migrations give their one row, and what is 0 in it until something happens.
_ONE_ROW = {feed: feed.c.newest, audit_head: audit_head.c.sequence}


async def copy_store(source: Database, target: Database) -> Mapping[str, int]:
    """Copy every row; returns how many each table has.

    The gateway must be stopped, or what it writes afterwards to the source is missed.

    Raises:
        StateError: the tables of either are not of this version, the target has rows already, or the counts differ.
        StoreUnavailable: one of them does not answer; the target is as it was.
    """
    await _require_current(source, target)
    # The source's turn as well: nobody writes to it meanwhile.
    async with source.writing("copy the tables") as old:
        return await _copy_all(old, target)


async def snapshot_store(source: Database, target: Database) -> Mapping[str, int]:
    """The same of the source as it is at one moment, while others go on writing to it."""
    await _require_current(source, target)
    async with source.at_one_moment("copy the tables") as old:
        return await _copy_all(old, target)


async def _require_current(*databases: Database) -> None:
    for database in databases:
        await require_current_schema(database)


async def _copy_all(old: AsyncConnection, target: Database) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    async with target.writing("copy the tables") as new:
        for table in metadata.sorted_tables:
            await _require_empty(new, table)
        for table in metadata.sorted_tables:
            await new.execute(delete(table))
            counts[table.name] = await _copy(old, new, table)
            found = (await new.execute(select(func.count()).select_from(table))).scalar_one()
            there = (await old.execute(select(func.count()).select_from(table))).scalar_one()
            if not found == there == counts[table.name]:
                raise StateError(
                    f"table {table.name}: {there} rows in the old database, {found} in the new one; nothing was copied"
                )
            await _continue_numbers(new, table)
    return counts


async def _require_empty(connection: AsyncConnection, table: Table) -> None:
    if table in _ONE_ROW:
        rows = (await connection.execute(select(_ONE_ROW[table]))).scalar_one()
    else:
        rows = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
    if rows:
        raise StateError(f"the new database has rows in {table.name} already; give one that was only just migrated")


async def _copy(old: AsyncConnection, new: AsyncConnection, table: Table) -> int:
    copied = 0
    portion: list[dict[str, Any]] = []
    async with old.stream(select(table).order_by(*table.primary_key.columns)) as rows:
        async for row in rows:
            portion.append(dict(row._mapping))
            if len(portion) == _PORTION:
                await new.execute(insert(table), portion)
                copied += len(portion)
                portion = []
    if portion:
        await new.execute(insert(table), portion)
    return copied + len(portion)


async def _continue_numbers(connection: AsyncConnection, table: Table) -> None:
    """PostgreSQL counts automatic keys by itself: on from the last."""
    (first, *_) = table.primary_key.columns
    if connection.dialect.name != "postgresql" or first.autoincrement is not True:
        return
    newest = (await connection.execute(select(func.max(first)))).scalar_one()
    sequence = func.pg_get_serial_sequence(table.name, first.name)
    await connection.execute(select(func.setval(sequence, newest or 1, newest is not None)))
