"""``mtls-gateway store …``: the database itself."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from mtls_gateway.cli.output import counted, done
from mtls_gateway.cli.settings import make_state_directory, settings_of, with_store
from mtls_gateway.clock import SystemClock

app = typer.Typer(help="The database.", no_args_is_help=True)


@app.command("migrate")
def migrate_tables(context: typer.Context) -> None:
    """Bring the tables to this version.

    Makes the database if it is not there. Stop the gateway first.
    """
    from mtls_gateway.store.migration import migrate
    from mtls_gateway.store.schema import REVISION

    settings = settings_of(context)
    configuration = settings.configuration()
    make_state_directory(configuration)
    asyncio.run(migrate(configuration.database_url, SystemClock(), busy_timeout=configuration.store.busy_timeout))
    done(settings, f"the tables are of version {REVISION}", version=REVISION)


@app.command("prune")
def prune(
    context: typer.Context,
    days: Annotated[float, typer.Option(min=1 / 24, help="Keep what is younger than so many days.")] = 7.0,
) -> None:
    """Forget old changes and ended sessions."""
    settings = settings_of(context)
    before = SystemClock().now() - days * 86_400
    pruned = with_store(settings, lambda store: store.prune(before))
    sentence = f"forgot {counted(pruned.changes, 'change')} and {counted(pruned.sessions, 'session')}"
    done(settings, sentence, changes=pruned.changes, sessions=pruned.sessions)


@app.command("copy")
def copy(
    context: typer.Context,
    to: Annotated[str, typer.Option(metavar="URL", help="Its address, e.g. postgresql://USER@HOST:PORT/NAME.")],
) -> None:
    """Copy everything into another database.

    Its tables are made first; it must have no rows. Stop the gateway, copy, then name the new database in store.url.
    """
    from mtls_gateway.store.copying import copy_store
    from mtls_gateway.store.engine import Database
    from mtls_gateway.store.migration import migrate

    settings = settings_of(context)
    configuration = settings.configuration()
    clock = SystemClock()

    async def do() -> dict[str, int]:
        await migrate(to, clock, busy_timeout=configuration.store.busy_timeout)
        source = Database(configuration.database_url, clock, busy_timeout=configuration.store.busy_timeout)
        target = Database(to, clock, busy_timeout=configuration.store.busy_timeout)
        try:
            return dict(await copy_store(source, target))
        finally:
            await source.close()
            await target.close()

    counts = asyncio.run(do())
    sentence = (
        f"copied {counted(sum(counts.values()), 'row')} of {counted(len(counts), 'table')}, counted on both sides"
    )
    done(settings, sentence, **counts)
