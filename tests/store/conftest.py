"""A store of one company with two users, each with a valid certificate, at a time that the test owns.

One suite over both databases: each test runs on SQLite and on PostgreSQL, unless its module says ``kind``.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.model import CertificateId
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.users import NewUser
from tests.postgres_server import PostgresServer

START = 1_800_000_000.0
ISSUER = "CN=Demo Issuing CA,O=Demo Shinkumi,C=JP"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def kind(request: pytest.FixtureRequest) -> str:
    """Which database."""
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database: an empty one of PostgreSQL's, or a file that is not there yet."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url(server.new_database())


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with tables and no rows, made once: a migration takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "gateway.sqlite3"
    asyncio.run(migrate(f"sqlite:///{path}", ManualClock(START)))
    return path


@pytest.fixture(scope="session")
def migrated_database(postgres: PostgresServer) -> str:
    """The same for PostgreSQL: the name of a template."""
    name = postgres.new_database()
    asyncio.run(migrate(postgres.url(name), ManualClock(START)))
    return name


@pytest.fixture
def tables(kind: str, url: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The database at ``url`` has tables and no rows."""
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    server.replace(url.rpartition("/")[2], request.getfixturevalue("migrated_database"))


@pytest.fixture
async def empty(tables: None, url: str, clock: ManualClock) -> AsyncIterator[Store]:
    store = await open_store(url, clock)
    yield store
    await store.close()


@pytest.fixture
async def store(empty: Store) -> Store:
    await empty.companies.create("acme", "株式会社アクメ", "Acme Ltd.", actor="test")
    await empty.users.add([NewUser("taro", "acme", administrator=True), NewUser("hanako", "acme")], actor="test")
    await empty.certificates.register(
        [NewCertificate(CertificateId(ISSUER, 1), "taro"), NewCertificate(CertificateId(ISSUER, 2), "hanako")],
        actor="test",
    )
    return empty


@pytest.fixture
def certificate() -> CertificateId:
    """Taro's."""
    return CertificateId(ISSUER, 1)
