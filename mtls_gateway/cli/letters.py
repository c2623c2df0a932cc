"""``mtls-gateway letter …``: procedure letters, for the post.

A code is made at the moment when its letter is printed, and exists in the clear in that file only. The file is there,
whole and private, before the codes are good: were it the other way round, a failure would leave codes that nobody has.
If the codes cannot be written down, the file is destroyed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.cli.output import Value, counted, done, show_rows
from mtls_gateway.cli.settings import operator, settings_of, with_store
from mtls_gateway.cli.times import JST, print_time
from mtls_gateway.clock import SystemClock
from mtls_gateway.errors import ConfigurationError, StateError, UsageError

if TYPE_CHECKING:
    from mtls_gateway.config import Configuration, Issuance
    from mtls_gateway.store.codes import DueLetter
    from mtls_gateway.store.opening import Store

app = typer.Typer(help="Procedure letters, which bring enrolment codes by post.", no_args_is_help=True)

Company = Annotated[str | None, typer.Option(help="Of all users of this company, in one file.")]
User = Annotated[str | None, typer.Option(help="Of this user.")]


@app.command("list")
def list_all(context: typer.Context, company: Company = None, user: User = None) -> None:
    """List the letters that wait to be printed."""
    settings = settings_of(context)
    due = with_store(settings, lambda store: store.codes.due_letters(company_id=company, user_id=user))
    rows: list[dict[str, Value]] = [
        {"company": one.company_id, "user": one.user_id, "name": one.user_name, "purpose": one.purpose.value}
        for one in due
    ]
    show_rows(settings, rows, "no letter waits to be printed")


@app.command("print")
def print_letters(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FILE.pdf", help="The file to make; it must not be there yet.")],
    company: Company = None,
    user: User = None,
) -> None:
    """Make the codes of the letters that are due, and the letters as one PDF file.

    The file holds the codes in the clear: print it, then remove it. It can be made once; a code whose letter was lost
    is ordered again.
    """
    settings = settings_of(context)
    if (company is None) == (user is None):
        raise UsageError("give either --company or --user")
    configuration = settings.configuration()
    issuance = configuration.issuance
    if issuance is None:
        raise ConfigurationError(str(settings.config), "issuance", "is left out: no certificates are issued here")
    _refuse_to_overwrite(out)

    async def work(store: Store) -> tuple[int, float]:
        due = await store.codes.due_letters(company_id=company, user_id=user)
        if not due:
            whose = f"company {company}" if user is None else f"user {user}"
            raise StateError(f"no letter of {whose} waits to be printed; see: mtls-gateway code list")
        return await _print(store, configuration, issuance, due, out)

    printed, expires = with_store(settings, work)
    sentence = f"{counted(printed, 'letter')} written to {out}; the codes are good until {print_time(expires)}"
    done(settings, f"{sentence}; print the file, then remove it", letters=printed, file=str(out),
         expires=print_time(expires))  # fmt: skip


async def _print(
    store: Store, configuration: Configuration, issuance: Issuance, due: Sequence[DueLetter], out: Path
) -> tuple[int, float]:
    from mtls_gateway.issuance.code import KEY_PURPOSE, digest, new_code, read_code
    from mtls_gateway.issuance.letter import Letter, LetterSettings
    from mtls_gateway.issuance.letter_printer import LetterPrinter
    from mtls_gateway.signin.instance_secret import derive, load_instance_secret
    from mtls_gateway.store.codes import PrintedCode

    now = SystemClock().now()
    expires = end_of_day(now, issuance.codes.days)
    key = derive(load_instance_secret(configuration.instance_secret), KEY_PURPOSE)
    printer = LetterPrinter(LetterSettings.of(configuration, issuance))
    letters: list[Letter] = []
    codes: list[PrintedCode] = []
    for one in due:
        code = new_code()
        # The letter's last moment is the last second of the day that it prints.
        letters.append(Letter(one.company_name, one.user_name or one.user_id, one.user_id, code, expires - 1.0, now))
        read = read_code(code)
        codes.append(PrintedCode(one.code_id, read.locator, digest(read, key), expires))
    pdf = printer.pdf(letters)
    _write_privately(out, pdf)
    try:
        await store.codes.printed(codes, actor=operator())
    except BaseException:
        _destroy(out)
        raise
    return len(codes), expires


def end_of_day(now: float, days: int) -> float:
    """The end of the day in Japan that is ``days`` after today; POSIX seconds, the first that are too late."""
    day = datetime.fromtimestamp(now, JST).replace(hour=0, minute=0, second=0, microsecond=0)
    return (day + timedelta(days=days + 1)).timestamp()


def _refuse_to_overwrite(out: Path) -> None:
    if os.path.lexists(out):
        raise UsageError(f"{out} is there already; it may hold the codes of other letters: name another file")


def _write_privately(out: Path, octets: bytes) -> None:
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{out} is there already; name another file") from None
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        _destroy(out)
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error


def _destroy(out: Path) -> None:
    """Empty the file before its name goes: codes that never became good, but codes all the same."""
    with suppress(OSError):
        os.truncate(out, 0)
        out.unlink()
