"""A store of one company with an administrator and a member, at a time that the test owns."""

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

START = 1_800_000_000.0
ISSUER = "CN=Demo Issuing CA,O=Demo Shinkumi,C=JP"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables without rows, made once."""
    path = tmp_path_factory.mktemp("migrated") / "gateway.sqlite3"
    asyncio.run(migrate(f"sqlite:///{path}", ManualClock(START)))
    return path


@pytest.fixture
async def store(migrated: Path, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Store]:
    shutil.copy(migrated, tmp_path)
    store = await open_store(f"sqlite:///{tmp_path / 'gateway.sqlite3'}", clock)
    await store.companies.create("acme", "株式会社アクメ", "Acme Ltd.", actor="test")
    people = [
        NewUser("taro", "acme", administrator=True, email="taro@example.co.jp"),
        NewUser("hanako", "acme", email="hanako@example.co.jp", name="山田 花子"),
    ]
    await store.users.add(people, actor="test")
    await store.certificates.register(
        [NewCertificate(CertificateId(ISSUER, 2), "hanako", START + 86_400 * 100)], actor="test"
    )
    yield store
    await store.close()
