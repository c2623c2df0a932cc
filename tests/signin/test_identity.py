from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.model import CertificateId, ChangeKind, Code
from mtls_gateway.signin.identity import Identities, Identity, identify
from mtls_gateway.store.opening import Store
from tests.signin.rows import HANAKO, NOBODY, START, TARO, open_rows, take_away


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_rows(tmp_path, ManualClock(START))
    yield store
    await store.close()


async def test_a_registered_certificate_identifies_its_user(store: Store) -> None:
    identities = Identities(store.worker)
    assert identities.get(TARO) is None
    known = await identities.look_up(TARO)
    assert identities.get(TARO) is known
    identity = identify(known, START)
    assert isinstance(identity, Identity)
    assert (identity.user.user_id, identity.user.company_id, identity.certificate) == ("taro", "acme", TARO)


async def test_the_same_serial_of_another_issuer_is_not_registered(store: Store) -> None:
    known = await Identities(store.worker).look_up(CertificateId("CN=Another CA", TARO.serial))
    assert identify(known, START) is Code.CERTIFICATE_NOT_REGISTERED


@pytest.mark.parametrize(
    ("kind", "subject", "gone"),
    [
        (ChangeKind.CERTIFICATE, str(TARO), {TARO}),
        (ChangeKind.CERTIFICATE, str(NOBODY), {NOBODY}),
        (ChangeKind.USER, "hanako", {HANAKO}),
        (ChangeKind.COMPANY, "acme", {TARO, HANAKO}),
        (ChangeKind.COMPANY, "other", set()),
        (ChangeKind.SESSION, "00", set()),
    ],
)
async def test_a_change_evicts_what_it_speaks_of_and_nothing_else(
    store: Store, kind: ChangeKind, subject: str, gone: set[CertificateId]
) -> None:
    identities = Identities(store.worker)
    known = {certificate: await identities.look_up(certificate) for certificate in (TARO, HANAKO, NOBODY)}
    assert set(identities.evict(kind, subject)) == gone
    for certificate, entry in known.items():
        assert entry.current == (certificate not in gone)
        assert (identities.get(certificate) is None) == (certificate in gone)


async def test_what_was_revoked_in_the_store_is_refused_before_any_crl_knows(store: Store) -> None:
    identities = Identities(store.worker)
    before = await identities.look_up(TARO)
    await store.certificates.revoke(TARO, actor="test")
    identities.evict(ChangeKind.CERTIFICATE, str(TARO))
    assert not before.current
    assert identify(await identities.look_up(TARO), START) is Code.CERTIFICATE_REVOKED


async def test_only_so_many_are_kept_and_those_asked_for_last(store: Store) -> None:
    identities = Identities(store.worker, capacity=3)
    first = await identities.look_up(TARO)
    for serial in range(100, 110):
        identities.get(TARO)
        await identities.look_up(CertificateId("CN=X", serial))
    assert len(identities) == 3
    assert identities.get(TARO) is first
    assert first.current
    identities.evict_all()
    assert len(identities) == 0
    assert not first.current


async def test_a_store_that_does_not_answer_identifies_nobody(store: Store, tmp_path: Path) -> None:
    identities = Identities(store.worker)
    take_away(tmp_path, "certificates")
    with pytest.raises(StoreUnavailable):
        await identities.look_up(TARO)
    assert identities.get(TARO) is None
