"""``mtls-gateway notice …``: what customers will be told."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.clerical import EndingCertificate
from mtls_gateway.cli.output import Value, show_rows
from mtls_gateway.cli.settings import settings_of, with_store
from mtls_gateway.cli.times import print_time
from mtls_gateway.clock import SystemClock
from mtls_gateway.errors import UsageError
from mtls_gateway.model import print_serial

if TYPE_CHECKING:
    from mtls_gateway.store.expiry import Upcoming
    from mtls_gateway.store.opening import Store

app = typer.Typer(help="Notices of certificates that end.", no_args_is_help=True)


@app.callback()
def family() -> None:
    """Notices of certificates that end."""


@app.command("preview")
def preview(
    context: typer.Context,
    day: Annotated[str | None, typer.Option(metavar="DATE", help="The first day, in Japan; today.")] = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="So many days from then on.")] = 1,
) -> None:
    """Say what would go to whom on which day.

    As things stand now; who renews until then is told nothing. What was posted already is in: mail list.
    """
    from mtls_gateway.issuance.notices import Schedule, beginning_of, day_in_japan
    from mtls_gateway.issuance.preview import foresee

    settings = settings_of(context)
    schedule = Schedule.of(settings.configuration().notices.days, settings.configuration().notices.hour)
    today = day_in_japan(SystemClock().now())
    first = today if day is None else _date(day)
    if first < today:
        raise UsageError(f"{first} is past; what was posted then is in: mtls-gateway mail list")
    last = first + timedelta(days=days - 1)

    async def read(store: Store) -> dict[EndingCertificate, Upcoming]:
        bound = beginning_of(last + timedelta(days=schedule.steps[0] + 1))
        return {one.ending: one async for one in store.expiry.upcoming(bound)}

    upcoming = with_store(settings, read)
    rows: list[dict[str, Value]] = []
    for one in foresee(upcoming, schedule, today, first, last):
        found = upcoming[one.ending]
        left = (day_in_japan(one.ending.not_after) - one.day).days
        rows.append(
            {
                "day": one.day.isoformat(),
                "notice": one.notice,
                "days_left": left if one.notice else None,
                "user": one.ending.user_id,
                "name": found.user_name,
                "company": found.company_id,
                "serial": print_serial(one.ending.certificate.serial),
                "not_after": print_time(one.ending.not_after),
                "to": ", ".join(address for _, address in found.recipients) or None,
            }
        )
    show_rows(
        settings, rows, f"nothing goes out from {first} to {last}" if days > 1 else f"nothing goes out on {first}"
    )


def _date(written: str) -> date:
    try:
        return date.fromisoformat(written.strip())
    except ValueError:
        raise UsageError(f"{written!r} is not a date; write 2027-04-01") from None
