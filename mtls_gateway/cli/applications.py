"""``mtls-gateway application …``: received by one operator, approved by another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.cli.operators import present_operator
from mtls_gateway.cli.output import Value, counted, done, show_report, show_rows
from mtls_gateway.cli.settings import settings_of, with_store
from mtls_gateway.cli.times import print_time, read_time
from mtls_gateway.model import ApplicationKind

if TYPE_CHECKING:
    from mtls_gateway.store.applications import Application
    from mtls_gateway.store.opening import Store

app = typer.Typer(help="Applications: one operator receives them, another approves.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The application's number.")]


@app.command("receive")
def receive(
    context: typer.Context,
    company: Annotated[str, typer.Argument(metavar="COMPANY", help="The company's ID.")],
    deadline: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From then on all its users need a certificate, e.g. 2027-04-01."),
    ] = None,
) -> None:
    """Note the form of a company whose users are to have certificates.

    It lists all users of a company that is on the password method, which needs a deadline. Of a company that has
    moved it lists those that came since. Codes are ordered when another operator approves it.
    """
    settings = settings_of(context)
    at = None if deadline is None else read_time(deadline)
    person = present_operator()

    async def work(store: Store) -> Application:
        number = await store.applications.receive_start(company, at, actor=person.name, account=person.account)
        return await store.applications.get(number)

    made = with_store(settings, work)
    sentence = f"application {made.application_id} of company {company} for {counted(made.users, 'user')} was received"
    done(settings, f"{sentence}; another operator must approve it", application=made.application_id, users=made.users)


@app.command("receive-reissue")
def receive_reissue(
    context: typer.Context,
    users: Annotated[list[str], typer.Argument(metavar="USER…", help="Users of one company.")],
) -> None:
    """Note that a PC was lost or replaced.

    What the users can sign in with is revoked at once, and their letters are void. Codes for new certificates are
    ordered when another operator approves it.
    """
    settings = settings_of(context)
    person = present_operator()
    number, ended = with_store(
        settings,
        lambda store: store.applications.receive_reissue(users, actor=person.name, account=person.account),
    )
    sentence = (
        f"application {number} for {counted(len(users), 'user')} was received; their certificates are revoked and "
        f"{counted(ended, 'session')} ended; another operator must approve it"
    )
    done(settings, sentence, application=number, users=len(users), sessions_ended=ended)


@app.command("approve")
def approve(context: typer.Context, number: Number) -> None:
    """Approve an application that another operator has received.

    A code is ordered for each user that has neither a certificate nor a letter; print the letters with: letter print.
    """
    settings = settings_of(context)
    person = present_operator()

    async def work(store: Store) -> tuple[Application, int]:
        approved = await store.applications.approve(number, actor=person.name, account=person.account)
        return approved, len(await store.codes.due_letters(company_id=approved.company_id))

    approved, due = with_store(settings, work)
    sentence = (
        f"application {number} is approved; {counted(due, 'letter')} of company {approved.company_id} "
        f"{'waits' if due == 1 else 'wait'} to be printed"
    )
    done(settings, sentence, application=number, company=approved.company_id, letters_due=due)


@app.command("withdraw")
def withdraw(context: typer.Context, number: Number) -> None:
    """Take an application back before it is approved.

    What a reissue has revoked stays revoked.
    """
    settings = settings_of(context)
    person = present_operator()
    with_store(settings, lambda store: store.applications.withdraw(number, actor=person.name, account=person.account))
    done(settings, f"application {number} is withdrawn", application=number)


@app.command("list")
def list_all(
    context: typer.Context,
    company: Annotated[str | None, typer.Option(help="Only those of this company.")] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that wait for a decision.")] = False,
) -> None:
    """List applications, the newest first."""
    settings = settings_of(context)
    found = with_store(settings, lambda store: store.applications.all(company_id=company, undecided=waiting))
    show_rows(settings, [_properties(one) for one in found], "there are no such applications")


@app.command("show")
def show(context: typer.Context, number: Number) -> None:
    """Show an application with the users that it lists."""
    settings = settings_of(context)

    async def work(store: Store) -> tuple[Application, list[dict[str, Value]]]:
        found = await store.applications.get(number)
        listed = set(await store.applications.user_ids(number))
        rows: list[dict[str, Value]] = [
            {
                "user": one.user_id,
                "name": one.name,
                "administrator": one.administrator,
                "stage": one.stage.value,
            }
            for one in await store.standings.of_company(found.company_id)
            if one.user_id in listed
        ]
        return found, rows

    found, rows = with_store(settings, work)
    show_report(settings, _properties(found), "list", rows)


def _properties(found: Application) -> dict[str, Value]:
    return {
        "application": found.application_id,
        "kind": found.kind.value,
        "company": found.company_id,
        "state": found.state.value,
        "users": found.users,
        "received": print_time(found.received),
        "received_by": found.received_by,
        "decided": print_time(found.decided),
        "decided_by": found.decided_by,
        "deadline": print_time(found.deadline) if found.kind is ApplicationKind.START else None,
    }
