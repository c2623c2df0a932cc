"""The command itself: its global options; its words are in ``families``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtls_gateway import __version__
from mtls_gateway.cli.families import Families
from mtls_gateway.cli.settings import Settings

app = typer.Typer(
    cls=Families,
    help="Client certificate and password in front of an unchanged internet bank.",
    epilog="Every listing and showing command prints JSON with --json. Times without an offset are Japan's.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mtls-gateway {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", envvar="MTLS_GATEWAY_CONFIG", metavar="FILE", help="The configuration.")
    ] = Path("conf/gateway.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Remember the options that every command shares."""
    context.obj = Settings(config, as_json)


# Its words are the help text's, not a docstring for users.
options.__doc__ = app.info.help
