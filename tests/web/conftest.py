"""A portal with a company for every case."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.model import Method
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.users import NewUser
from mtls_gateway.web.legacy_http import LegacyClient
from tests.issuance.own_signer import OwnSigner
from tests.signin import legacy_applications, legacy_settings
from tests.web.portal_client import NOW, YEAR, Portal, certificate, parts_of, serve


async def populate(store: Store) -> None:
    for company, users in {"c-cert": ["tanaka", "suzuki"], "c-pass": ["sato"]}.items():
        await store.companies.create(company, "株式会社みほん", actor="test")
        await store.users.add([NewUser(user, company) for user in users], actor="test")
    await store.certificates.register(
        [NewCertificate(certificate(1), "tanaka", NOW + YEAR), NewCertificate(certificate(2), "suzuki", NOW + YEAR)],
        actor="test",
    )
    await store.companies.set_method("c-cert", Method.CERTIFICATE, actor="test")


@pytest.fixture(scope="session")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database made once and copied for each test: making it takes longer than most tests."""

    async def make(file: Path) -> None:
        clock = ManualClock(NOW)
        await migrate(f"sqlite:///{file}", clock)
        store = await open_store(f"sqlite:///{file}", clock)
        await populate(store)
        await store.close()

    file = tmp_path_factory.mktemp("populated") / "gateway.sqlite3"
    asyncio.run(make(file))
    return file


@pytest.fixture
async def portal(tmp_path: Path, populated: Path) -> AsyncIterator[Portal]:
    async with running_portal(tmp_path, populated) as running:
        yield running


@pytest.fixture
async def issuing(tmp_path: Path, populated: Path) -> AsyncIterator[Portal]:
    """A portal that issues certificates, with an issuing app to download."""
    app = tmp_path / "IssuingApp.exe"
    app.write_bytes(b"MZ" + bytes(range(256)) * 4096)
    key = {"kind": "pem", "file": "issuing.key.pem", "unencrypted": True}
    issuer = {"name": "issuing", "active": True, "certificate": "i.pem", "chain": ["r.pem"], "key": key}
    settings = {
        "issuance": {"organisation": "Bank", "issuing_app": str(app)},
        # What is signed with is the test's own.
        "signer": {"issuers": [issuer | {"crl_url": "http://bank.example/issuing.crl"}]},
    }
    async with running_portal(tmp_path, populated, settings, OwnSigner(NOW)) as running:
        yield running


@asynccontextmanager
async def running_portal(
    tmp_path: Path, populated: Path, settings: Mapping[str, Any] = MappingProxyType({}), signer: OwnSigner | None = None
) -> AsyncIterator[Portal]:
    clock = ManualClock(NOW)
    application, legacy = legacy_applications.tomcat()
    async with legacy_applications.running(application) as backend:
        configuration = legacy_settings.configure(backend, legacy_settings.TOMCAT, tmp_path, **settings)
        configuration.state.mkdir()
        shutil.copy(populated, configuration.state / "gateway.sqlite3")
        async with AsyncExitStack() as stack:
            store = await open_store(configuration.database_url, clock)
            stack.push_async_callback(store.close)
            http = LegacyClient(configuration.timeouts)
            stack.push_async_callback(http.close)
            socket = tmp_path / "portal.sock"
            runner = await serve(parts_of(configuration, clock, store, http, signer), socket)
            stack.push_async_callback(runner.cleanup)
            client = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(socket)), cookie_jar=aiohttp.DummyCookieJar()
            )
            stack.push_async_callback(client.close)
            yield Portal(configuration, clock, store, legacy, client, signer)
