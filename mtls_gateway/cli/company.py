"""``mtls-gateway company …``: contracts and their login method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.cli.output import Value, counted, done, show_one, show_report, show_rows
from mtls_gateway.cli.settings import operator, settings_of, with_store
from mtls_gateway.cli.times import days_until, print_time, read_time
from mtls_gateway.model import Method
from mtls_gateway.standing import Stage, UserStanding

if TYPE_CHECKING:
    from mtls_gateway.store.companies import Company
    from mtls_gateway.store.opening import Store

app = typer.Typer(help="Companies and their login method.", no_args_is_help=True)

CompanyId = Annotated[str, typer.Argument(metavar="COMPANY", help="The company's ID.")]


@app.command("create")
def create(
    context: typer.Context,
    company: CompanyId,
    name_ja: Annotated[str, typer.Option(help="Its name in Japanese.")],
    name_en: Annotated[str | None, typer.Option(help="Its name in English.")] = None,
) -> None:
    """Add a company; it begins on the password method."""
    settings = settings_of(context)
    with_store(settings, lambda store: store.companies.create(company, name_ja, name_en, actor=operator()))
    done(settings, f"company {company} was created, on the password method", company=company)


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List every company."""
    settings = settings_of(context)
    found = with_store(settings, lambda store: store.companies.all())
    show_rows(settings, [_properties(one) for one in found], "there are no companies")


@app.command("show")
def show(context: typer.Context, company: CompanyId) -> None:
    """Show one company."""
    settings = settings_of(context)
    show_one(settings, _properties(with_store(settings, lambda store: store.companies.get(company))))


@app.command("method")
def set_method(
    context: typer.Context,
    company: CompanyId,
    method: Annotated[Method, typer.Argument(help="What all of its users sign in with.")],
    deadline: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With migrating: from then on all need a certificate, e.g. 2027-04-01."),
    ] = None,
) -> None:
    """Switch a company's login method.

    While a company is migrating, each user switches when it has acquired a certificate, and all do at the deadline.
    Sessions that the new method would not have opened end at once.
    """
    settings = settings_of(context)
    at = None if deadline is None else read_time(deadline)
    ended = with_store(settings, lambda store: store.companies.set_method(company, method, at, actor=operator()))
    until = "" if at is None else f", deadline {print_time(at)}"
    done(
        settings,
        f"company {company} is on the method {method.value}{until}; {counted(ended, 'session')} ended",
        company=company,
        method=method.value,
        deadline=print_time(at),
        sessions_ended=ended,
    )


@app.command("suspend")
def suspend(context: typer.Context, company: CompanyId) -> None:
    """Refuse all users of a company.

    Until it is resumed; their sessions end at once.
    """
    settings = settings_of(context)
    ended = with_store(settings, lambda store: store.companies.suspend(company, actor=operator()))
    sentence = f"company {company} is suspended; {counted(ended, 'session')} ended"
    done(settings, sentence, company=company, suspended=True, sessions_ended=ended)


@app.command("resume")
def resume(context: typer.Context, company: CompanyId) -> None:
    """Let the users of a suspended company in again."""
    settings = settings_of(context)
    with_store(settings, lambda store: store.companies.resume(company, actor=operator()))
    done(settings, f"company {company} is no longer suspended", company=company, suspended=False)


@app.command("progress")
def progress(
    context: typer.Context,
    company: CompanyId,
    missing: Annotated[bool, typer.Option("--missing", help="Only those who have no certificate yet.")] = False,
) -> None:
    """Show who has acquired a certificate and who has not.

    Stages: not_applied, letter_due (to be printed), letter_out, code_expired, code_exhausted, code_void, acquired,
    ended (expired or revoked, and no code on its way).
    """
    settings = settings_of(context)

    async def work(store: Store) -> tuple[Company, Sequence[UserStanding]]:
        return await store.companies.get(company), await store.standings.of_company(company)

    found, standings = with_store(settings, work)
    by_stage = Counter(one.stage for one in standings)
    left = None if found.deadline is None else days_until(found.deadline)
    summary: dict[str, Value] = {
        "company": found.company_id,
        "name_ja": found.name_ja,
        "method": found.method.value,
        "deadline": print_time(found.deadline),
        "days_left": left,
        "users": len(standings),
        **{stage.value: by_stage[stage] for stage in Stage},
    }
    rows = [_standing(one) for one in standings if not (missing and one.stage is Stage.ACQUIRED)]
    show_report(settings, summary, "list", rows)


def _standing(one: UserStanding) -> dict[str, Value]:
    acquired = one.stage is Stage.ACQUIRED
    return {
        "user": one.user_id,
        "name": one.name,
        "administrator": one.administrator,
        "stage": one.stage.value,
        "acquired": print_time(one.acquired) if acquired else None,
        "not_after": print_time(one.not_after),
        "letter": print_time(one.code_printed),
        "code_expires": print_time(one.code_expires),
    }


def _properties(company: Company) -> dict[str, Value]:
    return {
        "company": company.company_id,
        "name_ja": company.name_ja,
        "name_en": company.name_en,
        "method": company.method.value,
        "deadline": print_time(company.deadline),
        "suspended": company.suspended,
        "users": company.users,
        "with_certificate": company.users_with_certificate,
    }
