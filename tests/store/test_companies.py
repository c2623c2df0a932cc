from __future__ import annotations

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.model import CertificateId, ChangeKind, Method, NewSession
from mtls_gateway.store.opening import Store


async def test_a_company_begins_on_the_password_method(store: Store) -> None:
    company = await store.companies.get("acme")
    assert (company.name_ja, company.name_en, company.method) == ("株式会社アクメ", "Acme Ltd.", Method.PASSWORD)
    assert (company.users, company.users_with_certificate) == (2, 2)
    assert not company.suspended
    await store.companies.create("beta", "ベータ有限会社", actor="test")
    assert [(one.company_id, one.users) for one in await store.companies.all()] == [("acme", 2), ("beta", 0)]


async def test_a_company_is_created_once(store: Store) -> None:
    with pytest.raises(StateError, match="there is a company acme already"):
        await store.companies.create("acme", "別", actor="test")


@pytest.mark.parametrize("company_id", ["", " acme", "acme\n", "あ", "a" * 65, "a b", "-x", "a/b"])
async def test_an_id_that_could_be_misread_is_refused(company_id: str, store: Store) -> None:
    with pytest.raises(UsageError, match="company ID"):
        await store.companies.create(company_id, "名", actor="test")


@pytest.mark.parametrize("name", ["", " 名", "a\x00b", "a\u202eb", "名" * 201])
async def test_a_name_that_cannot_be_shown_is_refused(name: str, store: Store) -> None:
    with pytest.raises(UsageError, match="Japanese name"):
        await store.companies.create("beta", name, actor="test")


async def test_migrating_needs_a_deadline_to_come_and_the_others_none(store: Store, clock: ManualClock) -> None:
    for method, deadline in (
        (Method.MIGRATING, None),
        (Method.MIGRATING, clock.now()),
        (Method.CERTIFICATE, clock.now() + 1),
        (Method.PASSWORD, clock.now() + 1),
    ):
        with pytest.raises(UsageError, match="deadline"):
            await store.companies.set_method("acme", method, deadline, actor="test")
    await store.companies.set_method("acme", Method.MIGRATING, clock.now() + 1, actor="test")
    taro = await store.identities.user("taro")
    assert taro is not None
    assert (taro.company_method, taro.company_deadline) == (Method.MIGRATING, clock.now() + 1)


async def test_a_switch_ends_the_sessions_of_the_other_method_and_is_told(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    now = clock.now()
    by_certificate, by_password = b"\x01" * 32, b"\x02" * 32
    await store.sessions.open_session(NewSession(by_certificate, "taro", certificate, now, now + 9, b""), idle=900)
    await store.sessions.open_session(NewSession(by_password, "hanako", None, now, now + 9, b""), idle=900)
    before = await store.worker.latest_change()
    assert await store.companies.set_method("acme", Method.CERTIFICATE, actor="test") == 1
    told = [(one.kind, one.subject) for one in await store.worker.changes_since(before)]
    assert told == [(ChangeKind.COMPANY, "acme"), (ChangeKind.SESSION, by_password.hex())]
    assert await store.companies.set_method("acme", Method.PASSWORD, actor="test") == 1


async def test_a_suspended_company_has_no_sessions_until_it_is_resumed(store: Store, clock: ManualClock) -> None:
    now = clock.now()
    await store.sessions.open_session(NewSession(b"\x02" * 32, "hanako", None, now, now + 9, b""), idle=900)
    before = await store.worker.latest_change()
    assert await store.companies.suspend("acme", actor="test") == 1
    hanako = await store.identities.user("hanako")
    assert hanako is not None
    assert hanako.company_suspended
    await store.companies.resume("acme", actor="test")
    assert not (await store.companies.get("acme")).suspended
    kinds = [one.kind for one in await store.worker.changes_since(before)]
    assert kinds == [ChangeKind.COMPANY, ChangeKind.SESSION, ChangeKind.COMPANY]


async def test_what_is_done_to_an_unknown_company_is_refused(store: Store) -> None:
    for doing in (
        store.companies.get("nowhere"),
        store.companies.suspend("nowhere", actor="test"),
        store.companies.resume("nowhere", actor="test"),
        store.companies.set_method("nowhere", Method.CERTIFICATE, actor="test"),
    ):
        with pytest.raises(StateError, match="there is no company nowhere"):
            await doing
