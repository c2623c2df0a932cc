"""What every command shares: which configuration, which output, who is typing, and the way to the store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from mtls_gateway.cli.importing import importing
from mtls_gateway.cli.operators import present_operator
from mtls_gateway.clock import SystemClock

if TYPE_CHECKING:
    from mtls_gateway.config import Configuration
    from mtls_gateway.store.opening import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """The global options."""

    config: Path
    as_json: bool

    def configuration(self) -> Configuration:
        """The validated configuration.

        Raises:
            ConfigurationError: it cannot be used; names the file, the key and the cause.
        """
        from mtls_gateway.config import read_configuration
        from mtls_gateway.errors import ConfigurationError

        if not self.config.exists():
            raise ConfigurationError(str(self.config), "", "is not there; name the configuration with --config FILE")
        return read_configuration(self.config)


def settings_of(context: typer.Context) -> Settings:
    """The global options of this command's line."""
    found = context.find_root().obj
    if not isinstance(found, Settings):
        raise TypeError("the application's callback has not run")
    return found


def operator() -> str:
    """Who is typing, for the audit log: see ``operators``."""
    return present_operator().name


def with_store(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store of the configuration, do the work, close it.

    A state directory that has no database yet is given one, so that companies and users can be entered
    before the gateway is first started.

    Raises:
        GatewayError: whatever opening or the work raise.
    """
    with importing():
        from mtls_gateway.app.rows import open_rows
        from mtls_gateway.store.migration import migrate

        configuration = settings.configuration()
    database = configuration.state / "gateway.sqlite3" if configuration.store.url is None else None

    async def do() -> T:
        clock = SystemClock()
        make_state_directory(configuration)
        if database is not None and not database.exists():
            await migrate(configuration.database_url, clock)
        opened = await open_rows(configuration, clock)
        try:
            return await work(opened)
        finally:
            await opened.close()

    return asyncio.run(do())


def make_state_directory(configuration: Configuration) -> None:
    """Make the state directory, private, and its user's when root makes it.

    Raises:
        ConfigurationError: it cannot be made.
    """
    import shutil

    from mtls_gateway.errors import ConfigurationError

    if configuration.state.is_dir():
        return
    operations = configuration.operations
    try:
        configuration.state.mkdir(mode=0o700, parents=True)
        if os.geteuid() == 0 and operations.user is not None:
            shutil.chown(configuration.state, operations.user)
        if os.geteuid() == 0 and operations.group is not None:
            shutil.chown(configuration.state, group=operations.group)
    except (OSError, LookupError) as error:
        cause = f"cannot be made: {error.strerror if isinstance(error, OSError) else error}"
        raise ConfigurationError(str(configuration.state), "state", cause) from error
