from __future__ import annotations

import pytest
from sqlalchemy import event, insert

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError
from mtls_gateway.model import CertificateId, CertificateState, ChangeKind, Method, NewSession, SessionState
from mtls_gateway.standing import CertificateTerm
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.opening import Store
from mtls_gateway.store.refusal import Refused
from mtls_gateway.store.schema import certificates
from mtls_gateway.store.users import NewUser


async def test_a_registration_is_one_query(store: Store, certificate: CertificateId) -> None:
    asked: list[str] = []
    engine = store._database._engine.readers.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *words: asked.append(words[2]))
    registration = await store.worker.registration(certificate)
    assert registration is not None
    assert len(asked) == 1
    assert (registration.certificate, registration.state) == (certificate, CertificateState.VALID)
    assert registration.user.user_id == "taro"
    assert registration.user.administrator
    assert registration.user.company_method is Method.PASSWORD
    assert registration.user.has_certificate


async def test_a_certificate_is_its_issuer_and_its_serial(store: Store, certificate: CertificateId) -> None:
    other = CertificateId("CN=Another CA", certificate.serial)
    assert await store.worker.registration(other) is None
    assert await store.worker.registration(CertificateId(certificate.issuer, 99)) is None
    await store.users.add([NewUser("jiro", "acme")], actor="test")
    await store.certificates.register([NewCertificate(other, "jiro", 5.0)], actor="test")
    registration = await store.worker.registration(other)
    assert registration is not None
    assert (registration.user.user_id, registration.not_after) == ("jiro", 5.0)


@pytest.mark.parametrize("serial", [0, 1, 0x0F, 0x80, (1 << 159) + 1, (1 << 160) - 1])
async def test_serials_of_every_length_come_back(serial: int, store: Store) -> None:
    await store.users.add([NewUser("jiro", "acme")], actor="test")
    one = CertificateId("CN=Lengths", serial)
    await store.certificates.register([NewCertificate(one, "jiro")], actor="test")
    assert [listed.certificate for listed in await store.certificates.all(user_id="jiro")] == [one]


async def test_registering_tells_the_workers_of_the_certificate_and_of_the_user(store: Store) -> None:
    await store.users.add([NewUser("jiro", "acme")], actor="test")
    before = await store.worker.latest_change()
    one = CertificateId("CN=New", 10)
    await store.certificates.register([NewCertificate(one, "jiro")], actor="test")
    told = [(change.kind, change.subject) for change in await store.worker.changes_since(before)]
    assert told == [(ChangeKind.CERTIFICATE, "0a of CN=New"), (ChangeKind.USER, "jiro")]


async def test_an_import_is_all_or_nothing_and_names_every_bad_row(store: Store, certificate: CertificateId) -> None:
    await store.users.add([NewUser("jiro", "acme"), NewUser("saburo", "acme")], actor="test")
    rows = [
        NewCertificate(CertificateId("CN=New", 1), "jiro"),
        NewCertificate(CertificateId("CN=New", 1), "saburo"),
        NewCertificate(CertificateId("CN=New", 2), "nobody"),
        NewCertificate(CertificateId("CN=New", 3), "taro"),
        NewCertificate(certificate, "saburo"),
        NewCertificate(CertificateId("CN=New", 4), "jiro"),
    ]
    with pytest.raises(Refused) as refused:
        await store.certificates.register(rows, actor="test")
    assert [(place, cause.split(";")[0]) for place, cause in refused.value.problems] == [
        (1, "certificate 01 of CN=New is given twice"),
        (2, "there is no user nobody"),
        (3, "user taro has a valid certificate"),
        (4, f"certificate {certificate} is registered already"),
        (5, "user jiro is given a second valid certificate"),
    ]
    assert await store.certificates.all(user_id="jiro") == []


async def test_an_import_may_have_thousands_of_rows(store: Store) -> None:
    await store.users.add([NewUser(f"u{number}", "acme") for number in range(2_000)], actor="test")
    rows = [NewCertificate(CertificateId("CN=New", number), f"u{number}") for number in range(2_000)]
    await store.certificates.register(rows, actor="test")
    assert len(await store.certificates.all(issuer="CN=New", usable_only=True)) == 2_000
    with pytest.raises(Refused) as refused:
        await store.certificates.register(rows, actor="test")
    assert len(refused.value.problems) == 2_000


async def test_two_valid_certificates_of_one_user_are_a_violated_constraint(store: Store) -> None:
    row = {"issuer": "CN=x", "serial": "01", "user_id": "taro", "state": CertificateState.VALID, "registered": 0.0}
    with pytest.raises(StateError, match="the constraint"):
        async with store._database.writing("bypass", conflict="the constraint holds") as connection:
            await connection.execute(insert(certificates).values(row))


async def test_a_revocation_is_told_ends_the_sessions_and_is_final(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    digest = b"\x01" * 32
    await store.sessions.open_session(
        NewSession(digest, "taro", certificate, clock.now(), clock.now() + 9, b""), idle=900
    )
    before = await store.worker.latest_change()
    assert await store.certificates.revoke(certificate, actor="operator", reason="lost PC") == 1
    told = [(one.kind, one.subject) for one in await store.worker.changes_since(before)]
    assert told == [(ChangeKind.CERTIFICATE, str(certificate)), (ChangeKind.SESSION, digest.hex())]
    row = await store.worker.session(digest)
    assert row is not None
    assert row.state is SessionState.ENDED
    registration = await store.worker.registration(certificate)
    assert registration is not None
    assert registration.state is CertificateState.REVOKED
    with pytest.raises(StateError, match="was revoked before"):
        await store.certificates.revoke(certificate, actor="operator")
    with pytest.raises(StateError, match="is not registered"):
        await store.certificates.revoke(CertificateId("CN=x", 1), actor="operator")


async def test_a_user_whose_certificate_was_revoked_can_be_given_another_and_never_goes_back_to_the_password(
    store: Store, certificate: CertificateId
) -> None:
    await store.certificates.revoke(certificate, actor="operator")
    taro = await store.identities.user("taro")
    assert taro is not None
    assert taro.has_certificate
    await store.certificates.register([NewCertificate(CertificateId("CN=New", 1), "taro")], actor="operator")


async def test_the_first_sign_in_of_a_renewed_certificate_supersedes_its_elder(
    store: Store, certificate: CertificateId
) -> None:
    renewed = CertificateId("CN=New", 7)
    async with store._database.writing("renew") as connection:
        row = {"issuer": "CN=New", "serial": "07", "user_id": "taro", "registered": 0.0}
        await connection.execute(insert(certificates).values(state=CertificateState.AWAITING, **row))
    both = [(one.certificate, one.state) for one in await store.certificates.all(user_id="taro", usable_only=True)]
    assert sorted(both) == [(certificate, CertificateState.VALID), (renewed, CertificateState.AWAITING)]
    before = await store.worker.latest_change()
    await store.identities.superseded_by_first_sign_in(certificate)  # the elder signs in: nothing happens
    assert await store.worker.latest_change() == before
    await store.identities.superseded_by_first_sign_in(renewed)
    states = {one.certificate: one.state for one in await store.certificates.all(user_id="taro")}
    assert states == {certificate: CertificateState.SUPERSEDED, renewed: CertificateState.VALID}
    told = {one.subject for one in await store.worker.changes_since(before)}
    assert told == {str(certificate), str(renewed)}
    await store.identities.superseded_by_first_sign_in(renewed)
    await store.identities.superseded_by_first_sign_in(CertificateId("CN=New", 99))
    assert await store.worker.latest_change() == before + 2


async def test_listing_tells_who_is_signed_in_at_this_moment(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    new = NewSession(b"\x01" * 32, "taro", certificate, clock.now(), clock.now() + 9, b"")
    await store.sessions.open_session(new, idle=900)
    listed = {one.user_id: one.signed_in for one in await store.certificates.all(issuer=certificate.issuer)}
    assert listed == {"taro": True, "hanako": False}
    clock.advance(9)
    assert not any(one.signed_in for one in await store.certificates.all())
    assert await store.certificates.all(issuer="CN=Nobody") == []
    (found,) = await store.certificates.all(serial=certificate.serial)
    assert found.certificate == certificate
    assert await store.certificates.all(serial=certificate.serial + 1_000) == []


async def test_an_owner_is_told_since_when_until_when_and_whether_a_newer_one_waits(
    store: Store, certificate: CertificateId, clock: ManualClock
) -> None:
    term = await store.certificates.term(certificate)
    assert term == CertificateTerm(since=clock.now(), not_after=None, newer_since=None)
    assert await store.certificates.term(CertificateId("CN=nobody", 1)) is None
    clock.advance(60)
    newer = CertificateId(certificate.issuer, 71)
    async with store._database.writing("add a renewed certificate") as connection:
        row = {
            "issuer": newer.issuer,
            "serial": "47",
            "user_id": "taro",
            "state": CertificateState.AWAITING,
            "registered": clock.now(),
            "not_before": clock.now() - 5,
            "not_after": clock.now() + 9,
        }
        await connection.execute(insert(certificates).values(row))
    term = await store.certificates.term(certificate)
    assert term is not None and term.newer_since == clock.now() - 5
    # The newer one itself has none that is newer.
    assert await store.certificates.term(newer) == CertificateTerm(clock.now() - 5, clock.now() + 9, None)
    await store.certificates.superseded_by_first_sign_in(newer)
    term = await store.certificates.term(certificate)
    assert term is not None and term.newer_since is None
