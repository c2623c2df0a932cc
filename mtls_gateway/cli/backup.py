"""``mtls-gateway backup`` and ``restore``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from mtls_gateway.cli.output import counted, done
from mtls_gateway.cli.settings import make_state_directory, settings_of
from mtls_gateway.cli.times import print_time
from mtls_gateway.clock import SystemClock


def backup(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write; mode 0600.")],
) -> None:
    """Back up rows and instance secret into one file.

    The gateway may go on meanwhile. Whoever reads the file can do what the gateway can: keep it as a key is kept.
    """
    from mtls_gateway.app.backup import back_up

    settings = settings_of(context)
    made = asyncio.run(back_up(settings.configuration(), out, SystemClock()))
    rows = sum(made.rows.values())
    sentence = f"{out}: {counted(rows, 'row')} of {counted(len(made.rows), 'table')}, and the instance secret"
    done(settings, sentence, file=str(out), made=print_time(made.made), rows=rows)


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="What `backup` has written.")],
) -> None:
    """Put a backup into an empty store.

    Stop the gateway first. A store that has rows is not touched.
    """
    from mtls_gateway.app.backup import restore as put_back

    settings = settings_of(context)
    configuration = settings.configuration()
    make_state_directory(configuration)
    made = asyncio.run(put_back(configuration, file, SystemClock()))
    rows = sum(made.rows.values())
    sentence = f"restored {counted(rows, 'row')} from the backup of {print_time(made.made)}"
    done(settings, sentence, made=print_time(made.made), version=made.version, rows=rows)
