"""From SQLite to PostgreSQL and back: whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError
from mtls_gateway.model import CertificateId, ChangeKind, NewSession
from mtls_gateway.store.copying import copy_store
from mtls_gateway.store.engine import Database
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.schema import metadata
from tests.postgres_server import PostgresServer


@pytest.fixture
async def other_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> str:
    """A migrated database of the other kind."""
    if kind == "postgres":
        url = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.url(server.new_database())
    await migrate(url, clock)
    return url


async def _everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    found = {}
    async with database.reading("read everything") as connection:
        for table in metadata.sorted_tables:
            query = select(table).order_by(*table.primary_key.columns)
            found[table.name] = [tuple(row) for row in await connection.execute(query)]
    return found


@pytest.mark.needs("postgres")
async def test_every_row_of_every_table_arrives_and_numbers_go_on(
    store: Store, other_url: str, clock: ManualClock, certificate: CertificateId
) -> None:
    now = clock.now()
    await store.sessions.open_session(NewSession(b"d" * 32, "taro", certificate, now, now + 9, b"\x00jar"), idle=9)
    await store.certificates.revoke(CertificateId(certificate.issuer, 2), actor="test")
    target = Database(other_url, clock)
    counts = await copy_store(store._database, target)
    assert counts["users"] == 2
    assert counts["audit"] > 3
    assert await _everything(target) == await _everything(store._database)
    other = await open_store(other_url, clock)
    before = [line.sequence for line in await other.audit.lines()]
    await other.users.stop("hanako", actor="test")
    after = [line.sequence for line in await other.audit.lines()]
    assert after == [*before, before[-1] + 1]
    latest = await store.worker.latest_change()
    assert [change.kind for change in await other.worker.changes_since(latest)] == [ChangeKind.USER]
    await other.close()
    await target.close()


@pytest.mark.needs("postgres")
async def test_a_database_that_has_rows_is_left_as_it_is(store: Store, other_url: str, clock: ManualClock) -> None:
    target = Database(other_url, clock)
    other = await open_store(other_url, clock)
    await other.companies.create("elsewhere", "他社", None, actor="test")
    before = await _everything(target)
    with pytest.raises(StateError, match="has rows in"):
        await copy_store(store._database, target)
    assert await _everything(target) == before
    await other.close()
    await target.close()
