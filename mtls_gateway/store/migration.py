"""Bring a database to the tables of this version, in one transaction or not at all."""

from __future__ import annotations

import io

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from mtls_gateway.clock import Clock
from mtls_gateway.errors import StateError
from mtls_gateway.store.engine import Database
from mtls_gateway.store.schema import REVISION, feed


async def migrate(url: str, clock: Clock, *, busy_timeout: float = 5.0) -> None:
    """Make the database if it is not there, and its tables those of this version.

    Two at once are one after the other: the second finds nothing to do.

    Raises:
        ConfigurationError: ``url`` is not the address of a database that is supported.
        StoreUnavailable: it cannot be made or changed; it is as it was.
    """
    database = Database(url, clock, busy_timeout=busy_timeout, create=True)
    try:
        async with database.writing("migrate") as connection:
            await connection.run_sync(_upgrade)
    finally:
        await database.close()


async def require_current_schema(database: Database) -> None:
    """Refuse a database whose tables are not those of this version.

    Raises:
        StateError: they are older or newer; says what to do.
        StoreUnavailable: the database does not answer.
    """
    async with database.reading("check the schema of") as connection:
        try:
            found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
            newest = (await connection.execute(select(feed.c.newest))).scalar_one_or_none()
        except (OperationalError, ProgrammingError) as error:
            if "alembic_version" not in str(error.orig):
                raise
            found = newest = None
    if found is None or newest is None:
        raise StateError("the database has no tables yet; make them with: mtls-gateway store migrate")
    if found != REVISION:
        raise StateError(
            f"the database's tables are of version {found}, this program needs {REVISION}; "
            "if they are older, stop the gateway and run: mtls-gateway store migrate"
        )


def _upgrade(connection: Connection) -> None:
    # Alembic takes longer to import than everything else here, and a worker never migrates.
    from alembic import command
    from alembic.config import Config

    configuration = Config(stdout=io.StringIO())
    configuration.set_main_option("script_location", "mtls_gateway.store:migrations")
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "head")
