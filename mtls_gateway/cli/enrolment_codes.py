"""``mtls-gateway code …``: enrolment codes. What they are is in their letters only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.cli.output import Value, done, show_rows
from mtls_gateway.cli.settings import operator, settings_of, with_store
from mtls_gateway.cli.times import print_time

if TYPE_CHECKING:
    from mtls_gateway.store.codes import ListedCode

app = typer.Typer(help="Enrolment codes, which procedure letters bring.", no_args_is_help=True)

UserId = Annotated[str, typer.Argument(metavar="USER", help="The user ID, exactly.")]


@app.command("list")
def list_all(
    context: typer.Context,
    company: Annotated[str | None, typer.Option(help="Only those of this company's users.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those of this user.")] = None,
) -> None:
    """List enrolment codes, the newest first: what became of each, never the code."""
    settings = settings_of(context)
    found = with_store(settings, lambda store: store.codes.all(company_id=company, user_id=user))
    show_rows(settings, [_properties(one) for one in found], "there are no such enrolment codes")


@app.command("order")
def order(context: typer.Context, user: UserId) -> None:
    """Order a code once more: the letter was lost or came too late, or the certificate has expired.

    A code that was not used is void. Whoever was never applied for, or has lost a certificate, needs an application.
    """
    settings = settings_of(context)
    purpose = with_store(settings, lambda store: store.code_orders.order_again(user, actor=operator()))
    sentence = f"a code is ordered for user {user} ({purpose.value}); print its letter with: letter print --user {user}"
    done(settings, sentence, user=user, purpose=purpose.value)


@app.command("withdraw")
def withdraw(context: typer.Context, user: UserId) -> None:
    """Take a user's code back, whether its letter is printed or not."""
    settings = settings_of(context)
    with_store(settings, lambda store: store.codes.withdraw(user, actor=operator()))
    done(settings, f"the enrolment code of user {user} is void", user=user)


def _properties(code: ListedCode) -> dict[str, Value]:
    return {
        "user": code.user_id,
        "company": code.company_id,
        "purpose": code.purpose.value,
        "state": code.state.value,
        "ordered": print_time(code.ordered),
        "ordered_by": code.ordered_by,
        "printed": print_time(code.printed),
        "expires": print_time(code.expires),
        "tries": code.tries,
        "ended": print_time(code.ended),
    }
