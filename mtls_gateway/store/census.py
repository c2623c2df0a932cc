"""How many there are of what, for the metrics; of the whole store, and so of all nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, case, func, literal_column, or_, select

from mtls_gateway.model import CertificateState, Method, SessionState
from mtls_gateway.store.engine import Database
from mtls_gateway.store.schema import certificates, sessions, users

#: Days for which certificates that end within them are counted: those of the notices to customers.
_ENDING_DAYS: Final = (3, 10, 40)
_DAY: Final = 86_400.0
#: States with an index of their own; the others are history and would be counted by reading all of it.
_LIVING: Final = (CertificateState.INTENDED, CertificateState.AWAITING, CertificateState.VALID)


@dataclass(frozen=True, slots=True)
class Counted:
    """One census."""

    #: Live sessions.
    sessions: Mapping[Method, int]
    #: Users who cannot sign in for a while after wrong passwords, and until the bank releases them.
    suspended: int
    stopped: int
    certificates: Mapping[CertificateState, int]
    #: Valid certificates that end within so many days.
    ending: Mapping[int, int]


class Census:
    """Counts rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self) -> Counted:
        """Count; reads an index for each number, and all users.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now = self._database.clock.now()
        async with self._database.reading("count rows") as connection:
            live = (await connection.execute(_SESSIONS)).one()
            suspended, stopped = (await connection.execute(_locked(now))).one()
            states = {state: (await connection.execute(_in_state(state))).scalar_one() for state in _LIVING}
            ending = (await connection.execute(_ending(now))).one()
        return Counted(
            {Method.CERTIFICATE: live.certificate, Method.PASSWORD: live.everything - live.certificate},
            suspended or 0,
            stopped or 0,
            states,
            {days: count or 0 for days, count in zip(_ENDING_DAYS, ending, strict=True)},
        )


# Sessions on the certificate method name their certificate. The word stands in the statement because SQLite uses a
# partial index only where its condition does.
_SESSIONS: Final = select(func.count().label("everything"), func.count(sessions.c.serial).label("certificate")).where(
    sessions.c.state == literal_column(f"'{SessionState.LIVE.value}'")
)


def _locked(now: float) -> Select[int, int]:
    stopped = users.c.stopped.is_not(None)
    suspended = users.c.suspended_until > now
    return select(
        func.sum(case((stopped, 0), (suspended, 1), else_=0)),
        func.sum(case((stopped, 1), else_=0)),
    ).where(or_(stopped, suspended))


def _in_state(state: CertificateState) -> Select[int]:
    return select(func.count()).where(certificates.c.state == literal_column(f"'{state.value}'"))


def _ending(now: float) -> Select[*tuple[int, ...]]:
    within = [func.sum(case((certificates.c.not_after <= now + days * _DAY, 1), else_=0)) for days in _ENDING_DAYS]
    return select(*within).where(
        certificates.c.state == literal_column(f"'{CertificateState.VALID.value}'"),
        certificates.c.not_after > now,
        certificates.c.not_after <= now + max(_ENDING_DAYS) * _DAY,
    )
