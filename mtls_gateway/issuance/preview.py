"""What would be told to whom on which day, if nothing happens until then."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from mtls_gateway.clerical import EndingCertificate
from mtls_gateway.issuance.notices import Schedule


class Foreseen(NamedTuple):
    """A notice that will be given; ``notice`` is days before the end, 0: it has expired."""

    day: date
    notice: int
    ending: EndingCertificate


def foresee(
    endings: Iterable[EndingCertificate], schedule: Schedule, today: date, first: date, last: date
) -> list[Foreseen]:
    """The notices of the days ``first`` to ``last`` (dates in Japan, both included), by day.

    A certificate that was renewed is told of no more; what was missed until ``today`` is given today.
    """
    found = [
        Foreseen(planned.day, planned.notice, ending)
        for ending in endings
        if not ending.renewed
        for planned in schedule.plan(ending.not_after, ending.noticed, today)
        if first <= planned.day <= last
    ]
    return sorted(found, key=lambda one: (one.day, one.ending.user_id, one.notice))
