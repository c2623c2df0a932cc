"""``mtls-gateway audit …``: who did what, and whether the log is whole."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from mtls_gateway.cli.output import Value, counted, done, show_one, show_rows
from mtls_gateway.cli.settings import settings_of, with_store
from mtls_gateway.cli.times import print_time
from mtls_gateway.errors import StateError, UsageError

app = typer.Typer(help="The audit log.", no_args_is_help=True)


@app.command("list")
def list_lines(
    context: typer.Context,
    after: Annotated[int, typer.Option(min=0, help="Only lines after this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1_000,
) -> None:
    """List lines, oldest first."""
    settings = settings_of(context)
    found = with_store(settings, lambda store: store.audit.lines(after=after, limit=limit))
    rows: list[dict[str, Value]] = [
        {
            "line": line.sequence,
            "at": print_time(line.at),
            "actor": line.actor,
            "action": line.action,
            "subject": line.subject,
            "details": json.dumps(dict(line.details), ensure_ascii=False),
        }
        for line in found
    ]
    show_rows(settings, rows, "there are no such lines")


@app.command("head")
def head(context: typer.Context) -> None:
    """Print the end of the log, to be kept elsewhere.

    Given to `audit verify --since`, it shows that the log was not put back to an older state as a whole.
    """
    settings = settings_of(context)
    found = with_store(settings, lambda store: store.audit.head())
    show_one(
        settings, {"line": found.sequence, "chain": found.chain.hex(), "since": f"{found.sequence}:{found.chain.hex()}"}
    )


@app.command("verify")
def verify(
    context: typer.Context,
    since: Annotated[
        str | None,
        typer.Option(metavar="LINE:CHAIN", help="A head that was kept elsewhere: the log must go on from it."),
    ] = None,
) -> None:
    """Say whether a line was changed, removed, inserted, reordered or cut off.

    The exit status is 1 then, and each fault is one line.
    """
    from mtls_gateway.store.audit import Head

    settings = settings_of(context)
    kept = None
    if since is not None:
        line, _, chain = since.partition(":")
        try:
            kept = Head(int(line), bytes.fromhex(chain))
        except ValueError:
            kept = None
        if kept is None or len(kept.chain) != 32:
            raise UsageError(f"{since!r} is not LINE:CHAIN as `audit head` prints it")
    found = with_store(settings, lambda store: store.audit.verify(since=kept))
    if found.faults:
        if settings.as_json:
            print(json.dumps({"lines": found.lines, "faults": list(found.faults)}, indent=2))
        raise StateError("the audit log is not whole: " + "; ".join(found.faults))
    before = f"; {counted(found.unchained, 'line')} from before the chain" if found.unchained else ""
    done(
        settings,
        f"the audit log is whole: {counted(found.lines, 'line')}{before}",
        lines=found.lines,
        unchained=found.unchained,
        faults=0,
    )
