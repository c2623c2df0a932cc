"""Exactly once each, through restarts, clock jumps, SMTP outages and missed days (clause D.5).

A hundred users over 400 days of a clock that the test owns, on a real database, against a table written by hand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Notices, Pages
from mtls_gateway.issuance.expiry import Sweep
from mtls_gateway.mail.texts import Texts
from mtls_gateway.model import CertificateId, CertificateState, print_serial
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.schema import certificates
from mtls_gateway.store.users import NewUser

JST = timezone(timedelta(hours=9))
ISSUER = "CN=Demo Issuing CA,O=Demo Shinkumi,C=JP"
TABLE = Path(__file__).with_name("notices_400_days.txt")
FIRST, LAST = date(2027, 10, 15), date(2028, 11, 17)

#: Day in Japan, user, days left or ``expired``, recipient.
Line = tuple[str, str, str, str]


def users_of(span: str) -> list[str]:
    """``u001-u003`` → three users."""
    first, _, last = span.partition("-")
    return [f"u{number:03}" for number in range(int(first[1:]), int((last or first)[1:]) + 1)]


def by_hand() -> tuple[dict[str, list[str]], Counter[Line]]:
    """The table: whose certificates end when, and every mail."""
    ends: dict[str, list[str]] = {}
    mails: Counter[Line] = Counter()
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"# (\d{4}-\d\d-\d\d) (u\d+-u\d+) ", line):
            ends.setdefault(found[1], []).extend(users_of(found[2]))
        elif line and not line.startswith("#"):
            day, span, left, *to = line.split()
            for user in users_of(span):
                for recipient in {user if one == "self" else one for one in to}:
                    mails[day, user, left, recipient] += 1
    return ends, mails


def moment(day: str, time: str = "00:00:00") -> float:
    return datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=JST).timestamp()


def last_second(day: str) -> float:
    # One group ends in the first second of its day in Japan, which is the day before in UTC.
    return moment(day) if day == "2028-04-01" else moment(day, "23:59:59")


class World:
    """A clerk's sweep and outbox, without its process."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'gateway.sqlite3'}"
        self.clock = ManualClock(moment(FIRST.isoformat()))
        self.texts = Texts(Pages(), renewable=True, replies=False)
        self.store: Store
        self.sweep: Sweep
        self.went_out: Counter[Line] = Counter()

    async def open(self) -> None:
        await migrate(self.url, self.clock)
        await self.restart()

    async def restart(self) -> None:
        """Nothing but the database is left of the clerk before."""
        if hasattr(self, "store"):
            await self.store.close()
        self.store = await open_store(self.url, self.clock)
        self.sweep = Sweep(self.store.expiry, Notices(portion=7), self.clock)

    async def fill(self, ends: dict[str, list[str]]) -> None:
        for company in range(1, 11):
            await self.store.companies.create(f"c{company:02}", f"株式会社{company}", None, actor="test")
            people = [f"u{number:03}" for number in range(company * 10 - 9, company * 10 + 1)]
            administrators = set() if company == 3 else set(people[: 2 if company == 2 else 1])
            await self.store.users.add(
                [
                    NewUser(
                        user,
                        f"c{company:02}",
                        administrator=user in administrators,
                        email=None if user == "u005" else f"{user}@example.co.jp",
                    )
                    for user in people
                ],
                actor="test",
            )
        added = [
            NewCertificate(CertificateId(ISSUER, int(user[1:])), user, last_second(day))
            for day, users in ends.items()
            for user in users
        ]
        await self.store.certificates.register(added, actor="test")

    @property
    def day(self) -> str:
        return datetime.fromtimestamp(self.clock.now(), JST).date().isoformat()

    async def deliver(self) -> None:
        while mails := await self.store.outbox.take(100, lease=600.0):
            for mail in mails:
                if mail.kind.startswith("expiry-"):
                    subject = self.texts.of(mail, self.clock.now()).subject
                    left = re.search(r"あと(\d+)日", subject)
                    said = left[1] if left else "expired" if "切れました" in subject else subject
                    self.went_out[self.day, mail.user_id, said, mail.recipient_id] += 1
                await self.store.outbox.sent(mail.mail_id)

    async def renew(self, users: list[str]) -> None:
        rows = [
            {
                "issuer": ISSUER,
                "serial": print_serial(1_000 + int(user[1:])),
                "user_id": user,
                "state": CertificateState.AWAITING,
                "not_after": self.clock.now() + 365 * 86_400,
                "registered": self.clock.now(),
            }
            for user in users
        ]
        async with self.store.expiry._database.writing("renew") as connection:
            await connection.execute(insert(certificates), rows)

    async def happen(self) -> None:
        """What the table says of this day, at noon."""
        match self.day:
            case "2028-03-05" if self.clock.monotonic() < (date(2028, 3, 5) - FIRST).days * 86_400 + 86_400:
                self.clock.set(moment("2028-03-02", "12:00:00"))
            case "2028-04-20":
                await self.renew(users_of("u066-u070"))
            case "2028-04-25":
                for user in users_of("u066-u070"):
                    newer = CertificateId(ISSUER, 1_000 + int(user[1:]))
                    await self.store.certificates.superseded_by_first_sign_in(newer)
            case "2028-06-01":
                await self.renew(users_of("u071-u075"))
            case "2028-06-10":
                await self.ten_minutes_ahead()
            case "2028-08-11":
                for user in users_of("u081-u085"):
                    await self.store.certificates.revoke(CertificateId(ISSUER, int(user[1:])), actor="test")

    async def ten_minutes_ahead(self) -> None:
        right = self.clock.now()
        self.clock.set(right + 200 * 86_400)
        for _ in range(10):
            await self.sweep.run()
            self.clock.advance(60.0)
        self.clock.set(right + 600.0)

    def runs(self) -> bool:
        return not "2028-01-19" <= self.day <= "2028-01-30"

    def mail_server_is_there(self) -> bool:
        return not "2028-05-01" <= self.day <= "2028-05-04"

    async def look(self) -> None:
        if not self.runs():
            return
        await self.sweep.run()
        if self.mail_server_is_there():
            await self.deliver()


def times_of(day: date) -> Iterator[float]:
    """When the clerk looks: before mails go out, when they do, at noon, after midnight in UTC, at the end."""
    for time in ("00:01:00", "09:00:00", "12:00:00", "15:01:00", "23:59:59"):
        yield moment(day.isoformat(), time)


@pytest.mark.timeout(300)
async def test_a_hundred_users_over_400_days_get_what_the_table_says(tmp_path: Path) -> None:
    ends, expected = by_hand()
    assert sum(map(len, ends.values())) == 100
    world = World(tmp_path)
    await world.open()
    try:
        await world.fill(ends)
        day, days = FIRST, 0
        while day <= LAST:
            for time in times_of(day):
                if time < world.clock.now():
                    continue
                world.clock.advance(time - world.clock.now())
                await world.look()
                if time == moment(day.isoformat(), "12:00:00"):
                    await world.happen()
                    if world.day != day.isoformat():
                        break
            days += 1
            if days % 29 == 0:
                await world.restart()
            following = datetime.fromtimestamp(world.clock.now(), JST).date()
            day = following if following < day else day + timedelta(days=1)
        # Three days were lived twice, the fourth in two halves.
        assert days == (LAST - FIRST).days + 1 + 4
        assert world.went_out == expected
        await _states_are_right(world.store)
    finally:
        await world.store.close()


async def _states_are_right(store: Store) -> None:
    states = {one.certificate.serial: one.state for one in await store.certificates.all()}
    expired = [*range(1, 66), *range(71, 81), *range(86, 91)]
    assert {serial for serial, state in states.items() if state is CertificateState.EXPIRED} == set(expired)
    assert all(states[serial] is CertificateState.SUPERSEDED for serial in range(66, 71))
    assert all(states[serial] is CertificateState.REVOKED for serial in range(81, 86))
    assert all(states[serial] is CertificateState.VALID for serial in [*range(91, 101), *range(1_066, 1_071)])
    assert all(states[serial] is CertificateState.AWAITING for serial in range(1_071, 1_076))
