"""``mtls-gateway session …``: who is signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.cli.output import Value, counted, done, show_rows
from mtls_gateway.cli.settings import operator, settings_of, with_store
from mtls_gateway.cli.times import print_time
from mtls_gateway.model import SessionRow, SessionState, print_serial

if TYPE_CHECKING:
    from mtls_gateway.store.opening import Store

app = typer.Typer(help="Sessions: one live one per user ID.", no_args_is_help=True)


@app.command("list")
def list_all(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(help="Only those of this user.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that ended or wait to take over.")] = False,
) -> None:
    """List sessions, the newest first."""
    settings = settings_of(context)
    state = None if every else SessionState.LIVE
    found = with_store(settings, lambda store: store.sessions.all(user_id=user, state=state))
    show_rows(settings, [_properties(one) for one in found], "there are no such sessions")


@app.command("end")
def end(context: typer.Context, user: Annotated[str, typer.Argument(metavar="USER", help="The user ID.")]) -> None:
    """End a user's sessions; it may sign in again."""
    settings = settings_of(context)

    async def work(store: Store) -> int:
        return await store.sessions.end_all_of(user, actor=operator())

    ended = with_store(settings, work)
    done(settings, f"{counted(ended, 'session')} of user {user} ended", user=user, sessions_ended=ended)


def _properties(row: SessionRow) -> dict[str, Value]:
    return {
        "user": row.user.user_id,
        "company": row.user.company_id,
        "state": row.state.value,
        "serial": None if row.certificate is None else print_serial(row.certificate.serial),
        "backend": row.backend or None,
        "opened": print_time(row.opened),
        "last_used": print_time(row.last_used),
        "ends": print_time(row.ends),
    }
