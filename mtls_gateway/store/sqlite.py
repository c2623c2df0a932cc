"""SQLite, for one machine: a file, nothing to install.

One connection writes, so that writers of one process queue up fairly; those of other processes meet at the
file's lock, which a transaction has from its first word (``BEGIN IMMEDIATE``).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import await_only

from mtls_gateway.errors import ConfigurationError, FellBehind, StoreUnavailable

#: Seconds between two tries to switch a new file to the write-ahead log.
_BETWEEN_TRIES = 0.02


class SqliteEngine:
    """Satisfies ``engine.Engine``."""

    begin_snapshot = "BEGIN"

    def __init__(self, address: URL, *, busy_timeout: float, create: bool) -> None:
        """Nothing is connected yet.

        Raises:
            ConfigurationError: ``address`` has no absolute path.
            StoreUnavailable: the file is not there and ``create`` is false, or it cannot be made.
        """
        if address.drivername not in ("sqlite", "sqlite+aiosqlite") or not address.database:
            raise _no_path(address)
        self.path = Path(address.database)
        if not self.path.is_absolute():
            raise _no_path(address)
        self.place = str(self.path)
        try:
            self._file = _prepare_file(self.path, create)
        except OSError as error:
            raise StoreUnavailable(
                f"database {self.place}: {self.explain(error)} (while it was asked to open)"
            ) from error
        driver = address.set(drivername="sqlite+aiosqlite")
        self.readers = _make_engine(driver, busy_timeout, writes=False)
        self.writers = _make_engine(driver, busy_timeout, writes=True)
        #: The file was replaced, and who polls has not been told.
        self._replaced = False
        self._poller: AsyncConnection | None = None
        self._polls: dict[Select[Any], SQLCompiler] = {}

    async def look(self) -> None:
        """Open connections would go on with an old file, and never hear of what is written to the new one."""
        status = self.path.stat()
        file = (status.st_dev, status.st_ino)
        if file == self._file:
            return
        self._file = file
        self._replaced = True
        await self.close()

    async def poll(self, statement: Select[Any], parameters: Mapping[str, int]) -> Sequence[tuple[Any, ...]]:
        """See ``engine.Engine``: rows as the driver gives them, types unread.

        In one visit to the driver's thread: 0.1 ms of CPU time, where the same statement through a pool's connection
        takes four visits and 0.6 ms.
        """
        if self._replaced:
            self._replaced = False
            raise FellBehind(f"database {self.place} was replaced by another file")
        try:
            if self._poller is None:
                self._poller = await self.readers.connect()
            driver: Any = (await self._poller.get_raw_connection()).driver_connection
            compiled = self._polls.get(statement)
            if compiled is None:
                compiled = self._polls[statement] = _compile(statement, self.readers)
            values = compiled.construct_params(dict(parameters))
            rows: Sequence[tuple[Any, ...]] = await driver.execute_fetchall(
                compiled.string, [values[name] for name in compiled.positiontup or ()]
            )
        except Exception:
            await self._close_poller()
            raise
        return rows

    async def wait(self, seconds: float) -> None:
        """Nobody tells: polling is cheap."""
        await asyncio.sleep(seconds)

    def explain(self, error: BaseException) -> str:
        """See ``engine.Engine``."""
        if isinstance(error, FileNotFoundError):
            return "is not there; create it with: mtls-gateway store migrate"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        return str(getattr(error, "orig", None) or error).partition("\n")[0]

    async def close(self) -> None:
        """Give every connection back."""
        await self._close_poller()
        await self.readers.dispose()
        await self.writers.dispose()

    async def _close_poller(self) -> None:
        poller, self._poller = self._poller, None
        if poller is not None:
            try:
                await poller.invalidate()
                await poller.close()
            except SQLAlchemyError:
                # It is gone either way.
                return


def _no_path(address: URL) -> ConfigurationError:
    cause = f"{address.render_as_string()!r} has no absolute path; write sqlite:////path"
    return ConfigurationError("configuration", "store.url", cause)


def _make_engine(address: URL, busy_timeout: float, *, writes: bool) -> AsyncEngine:
    pool: dict[str, Any] = {"pool_size": 1 if writes else 4, "max_overflow": 0, "pool_timeout": busy_timeout}
    if not writes:
        # The driver then sends neither BEGIN nor ROLLBACK: a look-up is one statement and nothing else.
        pool |= {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
    engine = create_async_engine(address, connect_args={"timeout": busy_timeout}, **pool)
    if writes:
        event.listen(engine.sync_engine, "connect", partial(_set_up_writer, busy_timeout))
        event.listen(engine.sync_engine, "begin", _begin_immediate)
    else:
        event.listen(engine.sync_engine, "connect", _set_up_reader)
    return engine


def _compile(statement: Select[Any], engine: AsyncEngine) -> SQLCompiler:
    compiled = statement.compile(engine.sync_engine)
    if not isinstance(compiled, SQLCompiler):
        raise TypeError(f"a poll is a query, not a {type(compiled).__name__}")
    return compiled


def _prepare_file(path: Path, create: bool) -> tuple[int, int]:
    """See to it that the file is there and nobody else's: it holds password hashes and sealed cookies.

    Returns what tells it from a file that is put in its place: device and inode.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        if create:
            raise OSError(0, f"its directory {path.parent} is not there; create it") from None
        raise
    try:
        status = os.fstat(descriptor)
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        owner = path.parent.stat()
        if os.geteuid() == 0 and status.st_uid != owner.st_uid and status.st_size == 0:
            # An operator's command as root must not make a file that the service's own user cannot open.
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


def _set_up_writer(busy_timeout: float, connection: Any, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # BEGIN is ours, see _begin_immediate
    _switch_to_wal(connection, busy_timeout)
    _pragmas(connection, "synchronous = FULL", "foreign_keys = ON")


def _switch_to_wal(connection: Any, busy_timeout: float) -> None:
    """Two that switch a new file at once would have to wait for each other: SQLite refuses one without waiting."""
    for _ in range(int(busy_timeout / _BETWEEN_TRIES)):
        try:
            _pragmas(connection, "journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            await_only(asyncio.sleep(_BETWEEN_TRIES))
        else:
            return
    _pragmas(connection, "journal_mode = WAL")


def _set_up_reader(connection: Any, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    _pragmas(connection, "query_only = ON")


def _pragmas(connection: Any, *settings: str) -> None:
    cursor = connection.cursor()
    for setting in settings:
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
