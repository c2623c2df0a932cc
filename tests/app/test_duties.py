"""The duties of the active clerk: each by itself, only while it leads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from mtls_gateway.app.duties import Duties
from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Configuration
from mtls_gateway.model import CertificateId, CertificateState, MailState
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.leadership import open_leadership
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.users import NewUser
from tests.mail.smtp_world import smtp_server
from tests.signin import legacy_settings

NOW = 1_800_000_000.0
ISSUER = "CN=Elsewhere,C=JP"


class World:
    """A store, and clerks over it."""

    def __init__(self, store: Store, clock: ManualClock, folder: Path) -> None:
        self.store = store
        self.clock = clock
        self.folder = folder
        self.certificate = CertificateId(ISSUER, 7)

    def configuration(self, **sections: Any) -> Configuration:
        more = {"notices": {"every": 0.05, "hour": 0}} | sections
        return legacy_settings.configure("http://127.0.0.1:1", legacy_settings.TOMCAT, self.folder, **more)

    @asynccontextmanager
    async def clerk(self, **sections: Any) -> AsyncIterator[asyncio.Task[None]]:
        configuration = self.configuration(**sections)
        duties = Duties(configuration, self.store, None, self.clock)
        task = asyncio.ensure_future(duties.run(open_leadership(self.url)))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'gateway.sqlite3'}"

    async def state(self) -> CertificateState:
        registration = await self.store.certificates.registration(self.certificate)
        assert registration is not None
        return registration.state


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock(NOW)
    url = f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    await migrate(url, clock)
    store = await open_store(url, clock)
    await store.companies.create("acme", "株式会社アクメ", actor="test")
    await store.users.add([NewUser("taro", "acme", email="taro@example.co.jp")], actor="test")
    world = World(store, clock, tmp_path)
    await store.certificates.register([NewCertificate(world.certificate, "taro", NOW - 10.0)], actor="test")
    yield world
    await store.close()


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"mtls_gateway_{name}", labels) or 0.0


async def comes_true(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20.0):
        while not await look():  # noqa: ASYNC110 - a row tells nobody
            await asyncio.sleep(0.01)


def mail_settings(port: int, **more: object) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": port, "security": "none", "sender": "ib@bank.example", "poll": 0.05, **more}


async def test_what_is_due_is_posted_and_sent(world: World) -> None:
    async with smtp_server() as server, world.clerk(mail=mail_settings(server.port)):

        async def arrived() -> bool:
            return len(server.received) == 1

        await comes_true(arrived)
        assert await world.state() is CertificateState.EXPIRED
        assert figure("clerk_leading") == 1
    assert figure("clerk_leading") == 0


async def test_a_duty_that_fails_ends_no_other(world: World) -> None:
    before = figure("clerk_duties_total", duty="mail", outcome="failed")
    nowhere = {"user": "u", "password_file": str(world.folder / "nowhere")}
    async with world.clerk(mail=mail_settings(25, **nowhere)):

        async def expired() -> bool:
            return await world.state() is CertificateState.EXPIRED

        await comes_true(expired)

        async def failed() -> bool:
            return figure("clerk_duties_total", duty="mail", outcome="failed") > before

        await comes_true(failed)
    (mail,) = await world.store.outbox.all()
    assert mail.state is MailState.WAITING


async def test_without_a_mail_server_what_is_due_is_listed_as_failed(world: World) -> None:
    async with world.clerk():

        async def failed() -> bool:
            return [mail.error for mail in await world.store.outbox.all()] == ["no mail server is configured ([mail])"]

        await comes_true(failed)


async def test_only_one_of_two_clerks_does_anything_and_the_other_takes_over(world: World) -> None:
    first = open_leadership(world.url)
    assert await first.take()
    async with world.clerk() as waiting:
        for _ in range(20):
            await asyncio.sleep(0)
        assert await world.state() is CertificateState.VALID
        await first.give_back()

        async def expired() -> bool:
            return await world.state() is CertificateState.EXPIRED

        await comes_true(expired)
        assert not waiting.done()


async def test_a_clerk_whose_lock_was_taken_away_stops_and_waits_again(world: World) -> None:
    async with world.clerk():

        async def leads() -> bool:
            return figure("clerk_leading") == 1

        await comes_true(leads)
        (world.folder / "gateway.sqlite3.clerk").unlink()
        other = open_leadership(world.url)
        assert await other.take()

        async def leads_no_more() -> bool:
            return figure("clerk_leading") == 0

        await comes_true(leads_no_more)
        await other.give_back()
        await comes_true(leads)


async def test_a_clock_that_is_a_year_ahead_expires_nothing_at_once_but_in_the_end_it_is_believed(world: World) -> None:
    from mtls_gateway.config import Notices
    from mtls_gateway.issuance.expiry import Sweep

    await world.store.users.add([NewUser("jiro", "acme")], actor="test")
    later = CertificateId(ISSUER, 8)
    await world.store.certificates.register([NewCertificate(later, "jiro", NOW + 300 * 86_400)], actor="test")
    sweep = Sweep(world.store.expiry, Notices(), world.clock)
    assert await sweep.run() == 1
    before = figure("clock_jumps_total")
    world.clock.set(NOW + 365 * 86_400)
    assert await sweep.run() == 0
    assert figure("clock_jumps_total") == before + 1
    world.clock.advance(3_599.0)
    assert await sweep.run() == 0
    world.clock.advance(1.0)
    assert await sweep.run() == 1
