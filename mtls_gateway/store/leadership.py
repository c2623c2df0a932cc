"""One clerk is active, however many were started: by a lock that goes with its holder.

On SQLite all clerks are on one machine, and the lock is ``flock`` on a file beside the database: the kernel gives it
back when the process ends, however it ends. On PostgreSQL it is an advisory lock of a session: the server gives it
back when the connection ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.store.engine import open_engine
from mtls_gateway.store.sqlite import SqliteEngine

if TYPE_CHECKING:
    from mtls_gateway.store.postgres import PostgresEngine

#: The key of the clerks' advisory lock: "mtlsclrk" as a number.
_CLERKS = 0x6D746C73636C726B
#: A server that does not answer for so long has given the lock to somebody else, for all we know. Seconds.
_PATIENCE = 5.0


class Leadership(Protocol):
    """The lock, as a clerk sees it."""

    async def take(self) -> bool:
        """Take it if nobody has it; True: it is ours now.

        Raises:
            StoreUnavailable: it cannot be said.
        """
        ...

    async def still_ours(self) -> bool:
        """Whether it is ours beyond doubt. Whoever it is not must stop at once."""
        ...

    async def give_back(self) -> None:
        """Let another clerk take it."""
        ...


class FileLeadership:
    """``flock`` on a file beside the database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    async def take(self) -> bool:
        """Take it if nobody has it; True: it is ours now.

        Raises:
            StoreUnavailable: the file cannot be opened.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"{self._path}: {error.strerror} (while a clerk asked to lead)") from error
        if os.geteuid() == 0:
            # A clerk that root starts by hand must not keep the service's own user out.
            owner = self._path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        # Whoever removed the file between the two has made room for another leader.
        if await self.still_ours():
            return True
        await self.give_back()
        return False

    async def still_ours(self) -> bool:
        """Whether the file that is locked is still the one that others would lock."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except OSError:
            return False

    async def give_back(self) -> None:
        """Let another clerk take it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class PostgresLeadership:
    """An advisory lock of a session of its own."""

    def __init__(self, engine: PostgresEngine) -> None:
        self._engine = engine
        self._session: Any = None
        self._ours = False

    async def take(self) -> bool:
        """Take it if nobody has it; True: it is ours now.

        Raises:
            StoreUnavailable: the server does not answer.
        """
        try:
            if self._session is None or self._session.is_closed():
                self._session = await self._engine.connect_alone()
            self._ours = bool(await self._session.fetchval(f"SELECT pg_try_advisory_lock({_CLERKS})"))
        except Exception as error:  # whatever the driver raises
            await self.give_back()
            cause = self._engine.explain(error)
            raise StoreUnavailable(f"database {self._engine.place}: {cause} (while a clerk asked to lead)") from error
        return self._ours

    async def still_ours(self) -> bool:
        """Whether the session that has it still answers."""
        if not self._ours or self._session is None or self._session.is_closed():
            return False
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._session.fetchval("SELECT 1")
        except Exception:  # whatever the driver raises: then it may be somebody else's
            return False
        return True

    async def give_back(self) -> None:
        """Let another clerk take it: the lock ends with its session."""
        session, self._session, self._ours = self._session, None, False
        if session is not None:
            try:
                await session.close(timeout=_PATIENCE)
            except Exception:  # whatever the driver raises: the server ends it when it notices
                with suppress(Exception):
                    session.terminate()


def open_leadership(url: str, *, busy_timeout: float = 5.0) -> Leadership:
    """The lock that goes with the database at ``url``.

    Raises:
        ConfigurationError: ``url`` is not the address of a database that is supported.
        StoreUnavailable: the database's file is not there.
    """
    engine = open_engine(url, busy_timeout)
    if isinstance(engine, SqliteEngine):
        return FileLeadership(engine.path.with_name(f"{engine.path.name}.clerk"))
    return PostgresLeadership(engine)
