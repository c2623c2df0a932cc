"""``mtls-gateway user …``: the persons of a company."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.cli.csv_rows import Row, RowsRefused, read_each, read_rows
from mtls_gateway.cli.output import Value, counted, done, show_rows
from mtls_gateway.cli.settings import operator, settings_of, with_store
from mtls_gateway.cli.times import print_time
from mtls_gateway.errors import UsageError

if TYPE_CHECKING:
    from mtls_gateway.store.users import ListedUser, NewUser

app = typer.Typer(help="Users, their suspensions and passwords.", no_args_is_help=True)

UserId = Annotated[str, typer.Argument(metavar="USER", help="The user ID, exactly.")]


@app.command("create")
def create(
    context: typer.Context,
    user: UserId,
    company: Annotated[str, typer.Option(help="The ID of its company.")],
    administrator: Annotated[
        bool, typer.Option("--administrator", help="May administer the company's members.")
    ] = False,
    email: Annotated[str | None, typer.Option(help="Where notices about its certificate go.")] = None,
    name: Annotated[str | None, typer.Option(help="As letters and certificates are to have it.")] = None,
) -> None:
    """Add a user."""
    from mtls_gateway.store.users import NewUser

    settings = settings_of(context)
    new = NewUser(user, company, administrator, email, name)
    with_store(settings, lambda store: store.users.add([new], actor=operator()))
    done(settings, f"user {user} of company {company} was created", user=user, company=company)


@app.command("list")
def list_all(
    context: typer.Context,
    company: Annotated[str | None, typer.Option(help="Only those of this company.")] = None,
) -> None:
    """List users with what keeps them from signing in."""
    settings = settings_of(context)
    found = with_store(settings, lambda store: store.users.all(company))
    show_rows(settings, [_properties(one) for one in found], "there are no such users")


@app.command("import")
def import_file(
    context: typer.Context, file: Annotated[Path, typer.Argument(help="CSV in UTF-8 with a header row.")]
) -> None:
    """Add users from a CSV file.

    All are added, or none and every bad row is named. Columns: user_id, company_id, and optionally
    administrator (yes or no), email and name.
    """
    from mtls_gateway.store.refusal import Refused

    settings = settings_of(context)
    rows = read_rows(file, ["user_id", "company_id"], ["administrator", "email", "name"])
    added = read_each(file, rows, _new_user)
    try:
        with_store(settings, lambda store: store.users.add(added, actor=operator()))
    except Refused as refused:
        problems = [(rows[problem.place].line, problem.cause) for problem in refused.problems]
        raise RowsRefused(file, problems) from refused
    done(settings, f"{counted(len(added), 'user')} imported", imported=len(added))


@app.command("set-email")
def set_email(
    context: typer.Context,
    user: UserId,
    email: Annotated[str, typer.Argument(metavar="ADDRESS", help="The new one; none takes the old one away.")],
) -> None:
    """Change where a user's mails go.

    The old address, the new one and the company's administrators are told by mail.
    """
    settings = settings_of(context)
    given = None if email == "none" else email
    with_store(settings, lambda store: store.users.set_email(user, given, actor=operator()))
    done(settings, f"the mail address of user {user} is {given or 'taken away'}; all concerned are told", user=user,
         email=given)  # fmt: skip


@app.command("set-name")
def set_name(
    context: typer.Context,
    user: UserId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As letters and certificates to come are to have it.")],
) -> None:
    """Change a user's name."""
    settings = settings_of(context)
    with_store(settings, lambda store: store.users.set_name(user, name, actor=operator()))
    done(settings, f"the name of user {user} is {name}", user=user, name=name)


@app.command("release")
def release(context: typer.Context, user: UserId) -> None:
    """Lift a user's suspension or stop.

    Its wrong passwords are forgotten.
    """
    settings = settings_of(context)
    with_store(settings, lambda store: store.users.release(user, actor=operator()))
    done(settings, f"user {user} may try again", user=user, stopped=False)


@app.command("stop")
def stop(context: typer.Context, user: UserId) -> None:
    """Refuse a user.

    Until it is released; its sessions end at once.
    """
    settings = settings_of(context)
    ended = with_store(settings, lambda store: store.users.stop(user, actor=operator()))
    sentence = f"user {user} is stopped; {counted(ended, 'session')} ended"
    done(settings, sentence, user=user, stopped=True, sessions_ended=ended)


@app.command("password")
def password(
    context: typer.Context,
    user: UserId,
    remove: Annotated[bool, typer.Option("--remove", help="Remove it instead: the user cannot sign in.")] = False,
) -> None:
    """Set a user's local password.

    It is read from the terminal or standard input. Only where the configuration's legacy.login is of the
    kind argon2id; else passwords are the legacy backend's.
    """
    from mtls_gateway.signin.local_passwords import hash_password

    settings = settings_of(context)
    phc = None if remove else hash_password(_ask_password(user))
    with_store(settings, lambda store: store.users.set_password_hash(user, phc, actor=operator()))
    done(settings, f"the password of user {user} was {'removed' if remove else 'set'}", user=user, password=not remove)


def _ask_password(user: str) -> str:
    if sys.stdin.isatty():
        given: str = typer.prompt(f"New password of {user}", hide_input=True, confirmation_prompt=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        raise UsageError("no password was given; write it as one line to standard input")
    return given


def _new_user(row: Row) -> NewUser:
    from mtls_gateway.store.users import NewUser

    return NewUser(
        row.need("user_id"),
        row.need("company_id"),
        row.flag("administrator"),
        row.cells.get("email"),
        row.cells.get("name"),
    )


def _properties(listed: ListedUser) -> dict[str, Value]:
    return {
        "user": listed.user.user_id,
        "company": listed.user.company_id,
        "administrator": listed.user.administrator,
        "name": listed.name,
        "email": listed.email,
        "has_certificate": listed.user.has_certificate,
        "wrong_passwords": listed.wrong_passwords,
        "suspended_until": print_time(listed.user.suspended_until),
        "stopped_by": None if listed.stopped_by is None else listed.stopped_by.value,
    }
