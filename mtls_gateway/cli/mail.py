"""``mtls-gateway mail …``: the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.clerical import Mail
from mtls_gateway.cli.output import Value, counted, done, show_rows
from mtls_gateway.cli.settings import operator, settings_of, with_store
from mtls_gateway.cli.times import print_time
from mtls_gateway.errors import UsageError
from mtls_gateway.model import MailState

if TYPE_CHECKING:
    from mtls_gateway.store.opening import Store

app = typer.Typer(help="Mail to customers: what waits, went out or failed.", no_args_is_help=True)


@app.command("list")
def list_all(
    context: typer.Context,
    state: Annotated[MailState | None, typer.Option(help="Only those in this state.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those about this user.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 100,
) -> None:
    """List mails, the newest first, and why those that wait or have failed do."""
    settings = settings_of(context)
    found = with_store(settings, lambda store: store.outbox.all(state=state, user_id=user, limit=limit))
    show_rows(settings, [_properties(one) for one in found], "there are no such mails")


@app.command("retry")
def retry(
    context: typer.Context,
    mails: Annotated[list[int] | None, typer.Argument(metavar="MAIL...", help="Their numbers.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every mail that has failed.")] = False,
) -> None:
    """Try failed mails once more.

    Only what has failed: what waits is tried by itself. Their texts are made anew, so that days left are true.
    """
    settings = settings_of(context)
    if every == bool(mails):
        raise UsageError("name the mails by their numbers, or give --all; see: mtls-gateway mail list --state failed")

    async def work(store: Store) -> int:
        total = 0
        while changed := await store.outbox.retry(mails, actor=operator()):
            total += changed
        return total

    count = with_store(settings, work)
    done(settings, f"{counted(count, 'mail')} will be tried again", mails=count)


def _properties(mail: Mail) -> dict[str, Value]:
    return {
        "mail": mail.mail_id,
        "kind": mail.kind,
        "state": mail.state.value,
        "user": mail.user_id,
        "to": mail.address,
        "posted": print_time(mail.posted),
        "due": print_time(mail.due) if mail.ended is None else None,
        "ended": print_time(mail.ended),
        "tries": mail.tries,
        "error": mail.error,
    }
