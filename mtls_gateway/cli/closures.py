"""``mtls-gateway emergency …`` and ``maintenance …``: the whole service closed, at once or for a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.cli.output import Value, counted, done, show_rows
from mtls_gateway.cli.settings import operator, settings_of, with_store
from mtls_gateway.cli.times import print_time, read_time
from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.model import ClosureKind

if TYPE_CHECKING:
    from mtls_gateway.store.closures import ListedClosure
    from mtls_gateway.store.opening import Store

emergency = typer.Typer(help="Stop everybody, a company or a user, at once.", no_args_is_help=True)
maintenance = typer.Typer(help="Hours in which the service is closed.", no_args_is_help=True)

NoteJa = Annotated[str | None, typer.Option(help="What customers are told besides, in Japanese.")]
NoteEn = Annotated[str | None, typer.Option(help="The same in English.")]


@emergency.command("stop")
def stop(
    context: typer.Context,
    everybody: Annotated[bool, typer.Option("--all", help="The whole service.")] = False,
    company: Annotated[str | None, typer.Option(help="All users of this company.")] = None,
    user: Annotated[str | None, typer.Option(help="This user.")] = None,
    note_ja: NoteJa = None,
    note_en: NoteEn = None,
) -> None:
    """Refuse at once, and cut what is under way, on every worker and node.

    Until `emergency release`. Sessions that were cut for a company or a user have ended; after a stop of the whole
    service they go on.
    """
    settings = settings_of(context)
    _exactly_one(everybody, company, user)
    if (note_ja or note_en) and not everybody:
        raise UsageError("notes go with --all; companies and users have pages of their own")

    async def work(store: Store) -> str:
        if company is not None:
            ended = await store.companies.suspend(company, actor=operator())
            return f"company {company} is stopped; {counted(ended, 'session')} ended"
        if user is not None:
            ended = await store.users.stop(user, actor=operator())
            return f"user {user} is stopped; {counted(ended, 'session')} ended"
        closure = await store.closures.stop(actor=operator(), note_ja=note_ja, note_en=note_en)
        return f"the service is stopped for everybody (closure {closure.closure_id})"

    done(settings, with_store(settings, work), stopped=company or user or "all")


@emergency.command("release")
def release(
    context: typer.Context,
    everybody: Annotated[bool, typer.Option("--all", help="The whole service.")] = False,
    company: Annotated[str | None, typer.Option(help="All users of this company.")] = None,
    user: Annotated[str | None, typer.Option(help="This user.")] = None,
) -> None:
    """Let them in again."""
    settings = settings_of(context)
    _exactly_one(everybody, company, user)

    async def work(store: Store) -> str:
        if company is not None:
            await store.companies.resume(company, actor=operator())
            return f"company {company} is no longer stopped"
        if user is not None:
            await store.users.release(user, actor=operator())
            return f"user {user} is no longer stopped"
        held = [one for one in await store.closures.closures() if one.kind is ClosureKind.EMERGENCY]
        if not held:
            raise StateError("the service is not stopped; see: mtls-gateway maintenance list")
        for closure in held:
            await store.closures.lift(closure.closure_id, actor=operator())
        return "the service is open again"

    done(settings, with_store(settings, work), released=company or user or "all")


@maintenance.command("plan")
def plan(
    context: typer.Context,
    begins: Annotated[str, typer.Option("--from", metavar="TIME", help="E.g. 2027-01-01T00:00.")],
    ends: Annotated[str, typer.Option("--to", metavar="TIME", help="The first moment that is open again.")],
    note_ja: NoteJa = None,
    note_en: NoteEn = None,
) -> None:
    """Close the service for a window.

    From its first second on everybody gets the page that says until when, and what is under way is cut.
    """
    settings = settings_of(context)
    first, last = read_time(begins), read_time(ends)
    closure = with_store(
        settings, lambda store: store.closures.plan(first, last, actor=operator(), note_ja=note_ja, note_en=note_en)
    )
    sentence = f"closed from {print_time(first)} to {print_time(last)} (closure {closure.closure_id})"
    done(settings, sentence, closure=closure.closure_id, begins=print_time(first), ends=print_time(last))


@maintenance.command("list")
def list_all(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also what is over or was taken back.")] = False,
) -> None:
    """List closures, emergency stops among them, newest first."""
    settings = settings_of(context)

    async def work(store: Store) -> list[ListedClosure]:
        current = {one.closure_id for one in await store.closures.closures()}
        return [one for one in await store.closures.all() if every or one.closure.closure_id in current]

    show_rows(settings, [_properties(one) for one in with_store(settings, work)], "no closure holds or is to come")


@maintenance.command("cancel")
def cancel(
    context: typer.Context, closure: Annotated[int, typer.Argument(metavar="CLOSURE", help="Its number.")]
) -> None:
    """Take a window back, or end it early."""
    settings = settings_of(context)
    with_store(settings, lambda store: store.closures.lift(closure, actor=operator()))
    done(settings, f"closure {closure} was lifted", closure=closure)


def _exactly_one(everybody: bool, company: str | None, user: str | None) -> None:
    if sum((everybody, company is not None, user is not None)) != 1:
        raise UsageError("say whom: --all, --company COMPANY or --user USER")


def _properties(listed: ListedClosure) -> dict[str, Value]:
    closure = listed.closure
    return {
        "closure": closure.closure_id,
        "kind": closure.kind.value,
        "begins": print_time(closure.begins),
        "ends": print_time(closure.ends),
        "note_ja": closure.note_ja,
        "note_en": closure.note_en,
        "set_by": listed.set_by,
        "lifted": print_time(listed.lifted),
        "lifted_by": listed.lifted_by,
    }
