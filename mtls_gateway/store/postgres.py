"""PostgreSQL, for many machines, under the same tables and queries (clause E.5).

Writers take one advisory lock for the length of their transaction: they come one after another on all machines, as
they do on SQLite, and nothing in the queries has to be thought through twice. That bounds writes to some hundreds a
second for all nodes together; requests write nothing, sign-ins a few rows each.

What was written is announced by ``NOTIFY`` (a trigger on ``feed``), so that nodes need not ask ten times a second;
they ask twice a second all the same, because a notification can be lost with the connection that listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from sqlalchemy import Connection, Select, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mtls_gateway.errors import ConfigurationError

_LOG = logging.getLogger(__name__)

#: What the trigger on ``feed`` notifies, see the migrations.
CHANNEL = "mtls_gateway_changes"
#: The key of the writers' advisory lock: "mtlsgate" as a number.
_WRITERS = 0x6D746C7367617465
#: How long a node that listens waits before it asks all the same.
_LISTENING_SECONDS = 0.5
#: Seconds more than a writer may wait for its turn, after which a statement that has no answer has failed.
_ANSWER_SECONDS = 10.0


class PostgresEngine:
    """Satisfies ``engine.Engine``."""

    begin_snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __init__(self, address: URL, *, busy_timeout: float, patient: bool = False) -> None:
        """Nothing is connected yet; ``patient``: statements may take as long as they need (migrations).

        Raises:
            ConfigurationError: ``address`` names no user or no database.
        """
        if not address.database or not address.username:
            raise ConfigurationError(
                "configuration",
                "store.url",
                f"{address.render_as_string()!r} names no user or no database; give postgresql://USER@HOST:PORT/NAME",
            )
        self.place = address.set(drivername="postgresql", query={}).render_as_string()
        self._dsn = address.set(drivername="postgresql").render_as_string(hide_password=False)
        self._busy_timeout = busy_timeout
        self._answer_timeout = None if patient else busy_timeout + _ANSWER_SECONDS
        self.readers = self._make_engine(writes=False)
        self.writers = self._make_engine(writes=True)
        self._poller: AsyncConnection | None = None
        self._listener: asyncpg.Connection[Any] | None = None
        self._told = asyncio.Event()

    async def look(self) -> None:
        """The server itself breaks its connections when it goes."""

    async def poll(self, statement: Select[Any], parameters: Mapping[str, int]) -> Sequence[tuple[Any, ...]]:
        """See ``engine.Engine``."""
        try:
            if self._poller is None:
                self._poller = await self.readers.connect()
            return [tuple(row) for row in await self._poller.execute(statement, dict(parameters))]
        except BaseException:
            await self._close_poller()
            raise

    async def wait(self, seconds: float) -> None:
        """Until the next notification; see ``engine.Engine``."""
        if not await self._listen():
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, _LISTENING_SECONDS)):
                await self._told.wait()
        self._told.clear()

    def explain(self, error: BaseException) -> str:
        """See ``engine.Engine``."""
        cause: BaseException = error
        while not isinstance(cause, TimeoutError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, TimeoutError):
            return "no answer in time; is it there, and does the network reach it?"
        if isinstance(cause, OSError):
            return f"cannot be reached: {cause.strerror or cause}"
        if isinstance(cause, asyncpg.InvalidCatalogNameError):
            return "is not there; create it with: createdb"
        # The adapter puts the driver's class before its words.
        return str(cause).partition("\n")[0].rpartition(">: ")[2]

    async def close(self) -> None:
        """Give every connection back."""
        await self._close_poller()
        listener, self._listener = self._listener, None
        if listener is not None and not listener.is_closed():
            listener.terminate()
        await self.readers.dispose()
        await self.writers.dispose()

    async def _close_poller(self) -> None:
        poller, self._poller = self._poller, None
        if poller is not None:
            with contextlib.suppress(SQLAlchemyError, OSError):
                await poller.invalidate()
                await poller.close()

    # --- listening ----------------------------------------------------------------------------------

    async def _listen(self) -> bool:
        """Whether somebody tells of what is written."""
        if self._listener is not None and not self._listener.is_closed():
            return True
        self._listener = None
        try:
            listener = await self._connect(writes=False)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _LOG.warning("notifications of %s are not heard, it is asked instead: %s", self.place, self.explain(error))
            return False
        try:
            await listener.add_listener(CHANNEL, self._hear)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            listener.terminate()
            return False
        self._listener = listener
        # Something may have been written before.
        self._told.set()
        return True

    def _hear(self, *_: object) -> None:
        self._told.set()

    async def connect_alone(self) -> asyncpg.Connection[Any]:
        """A connection outside the pools, for what lives as long as it does: a lock of the session."""
        return await self._connect(writes=True)

    # --- connections --------------------------------------------------------------------------------

    async def _connect(self, *, writes: bool) -> asyncpg.Connection[Any]:
        settings = {"application_name": "mtls-gateway", "lock_timeout": f"{round(self._busy_timeout * 1_000)}ms"}
        if not writes:
            settings["default_transaction_read_only"] = "on"
        return await asyncpg.connect(
            self._dsn,
            timeout=self._busy_timeout,
            command_timeout=self._answer_timeout,
            server_settings=settings,
        )

    def _make_engine(self, *, writes: bool) -> AsyncEngine:
        async def connect() -> asyncpg.Connection[Any]:
            return await self._connect(writes=writes)

        pool: dict[str, Any] = {"pool_size": 4, "max_overflow": 0, "pool_timeout": self._busy_timeout}
        if not writes:
            pool |= {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
        # A connection that the server or a firewall has dropped meanwhile is replaced before it is used.
        engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, pool_pre_ping=True, **pool)
        if writes:
            event.listen(engine.sync_engine, "begin", _take_turn)
        return engine


def _take_turn(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")
