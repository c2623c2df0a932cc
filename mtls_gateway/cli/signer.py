"""``mtls-gateway signer …``: the process that holds the CA keys, and its journal."""

from __future__ import annotations

import json

import typer

from mtls_gateway.cli.output import Value, counted, done
from mtls_gateway.cli.settings import settings_of
from mtls_gateway.cli.times import print_time
from mtls_gateway.clock import SystemClock

app = typer.Typer(help="Run the process that holds the CA keys, alone.", invoke_without_command=True)


@app.callback()
def run(context: typer.Context) -> None:
    """Run the signer, alone, until told to stop by SIGTERM.

    It alone reads the CA keys; portal and clerk give it orders over its socket. Where ``signer.role`` is set, ``serve``
    runs it.
    """
    if context.invoked_subcommand is not None:
        return
    from mtls_gateway.app.signer import run_signer

    settings = settings_of(context)
    settings.configuration()
    run_signer(settings.config)


@app.command("check")
def check(context: typer.Context) -> None:
    """Say whether the signer could start.

    Keys are read and tried, and all of the journal is gone through; no socket is opened.
    """
    from mtls_gateway.app.signer import check_signer

    settings = settings_of(context)
    configuration = settings.configuration()
    check_signer(configuration, settings.config, SystemClock())
    issuers = 0 if configuration.signer is None else len(configuration.signer.issuers)
    done(settings, f"the signer could start: {counted(issuers, 'issuer')}", issuers=issuers)


@app.command("journal")
def journal(context: typer.Context) -> None:
    """Print the journal, a line for each record, after going through all of its chain."""
    from mtls_gateway.errors import StateError
    from mtls_gateway.issuance.signer.journal import Journal
    from mtls_gateway.issuance.signer.opening import JOURNAL

    settings = settings_of(context)
    path = settings.configuration().signer_directory / JOURNAL
    if not path.exists():
        raise StateError(f"there is no journal at {path}; the signer makes it when it first starts")
    opened = Journal(path, SystemClock())
    try:
        for record in opened:
            facts: dict[str, Value] = {
                "sequence": record.sequence,
                "at": print_time(record.at),
                "kind": record.kind,
                "issuer": record.issuer,
                "number": record.number,
                "chain": record.chain.hex(),
            }
            print(json.dumps({**facts, "content": record.content.hex()}) if settings.as_json else _line(facts))
    finally:
        opened.close()


def _line(facts: dict[str, Value]) -> str:
    return "  ".join(str(fact) for fact in facts.values())
