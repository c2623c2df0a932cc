"""A certificate on its way: at most one for each user, whoever asks how often and whatever dies in between."""

from __future__ import annotations

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import EnrolmentConflict, StateError
from mtls_gateway.model import CertificateId, CertificateState, CodePurpose, CodeState, Intention
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.opening import Store
from tests.store.issuing import DAY, ISSUER, YEAR, actions, intention, populate, printed

INTENDED, VALID, AWAITING = CertificateState.INTENDED, CertificateState.VALID, CertificateState.AWAITING
REVOKED, EXPIRED, SUPERSEDED = CertificateState.REVOKED, CertificateState.EXPIRED, CertificateState.SUPERSEDED


@pytest.fixture
async def store(empty: Store) -> Store:
    await populate(empty)
    return empty


@pytest.fixture
async def code(store: Store, clock: ManualClock) -> int:
    return await printed(store, expires=clock.now() + 80 * DAY)


async def states(store: Store, user_id: str = "taro") -> list[CertificateState]:
    return [one.state for one in await store.certificates.all(user_id=user_id)]


async def code_state(store: Store, code_id: int) -> CodeState:
    (row,) = [one for one in await store.codes.all() if one.code_id == code_id]
    return row.state


async def enrolled(store: Store, clock: ManualClock, code: int) -> Intention:
    """Taro's first certificate."""
    written = await store.enrolments.intend_by_code(intention(clock.now()), code)
    return await store.enrolments.complete(written.certificate, b"der")


async def refused(store: Store, code: int, clock: ManualClock, user_id: str = "taro", key: bytes | None = None) -> str:
    with pytest.raises(EnrolmentConflict) as conflict:
        await store.enrolments.intend_by_code(intention(clock.now(), user_id, key=key), code)
    return conflict.value.reason


# --- paid for by a code ------------------------------------------------------------------------------


async def test_writing_down_uses_up_the_code_and_lets_nobody_in(store: Store, code: int, clock: ManualClock) -> None:
    new = intention(clock.now())
    written = await store.enrolments.intend_by_code(new, code)
    assert (written.certificate, written.state, written.der) == (new.certificate, INTENDED, None)
    assert await code_state(store, code) is CodeState.USED
    assert await states(store) == [INTENDED]
    user = await store.users.user("taro")
    assert user is not None
    assert not user.has_certificate
    assert await store.outbox.all() == []


async def test_the_same_key_again_is_the_same_certificate_at_every_stage(
    store: Store, code: int, clock: ManualClock
) -> None:
    first = await store.enrolments.intend_by_code(intention(clock.now(), key=b"k"), code)
    clock.advance(3600)
    assert await store.enrolments.intend_by_code(intention(clock.now(), key=b"k"), code) == first
    stored = await store.enrolments.complete(first.certificate, b"der")
    assert (stored.state, stored.der) == (VALID, b"der")
    assert await store.enrolments.intend_by_code(intention(clock.now(), key=b"k"), code) == stored
    assert await store.enrolments.complete(first.certificate, b"der") == stored
    assert await states(store) == [VALID]
    assert (await actions(store)).count("certificate.issue") == 1


async def test_a_second_key_finds_the_code_used(store: Store, code: int, clock: ManualClock) -> None:
    await store.enrolments.intend_by_code(intention(clock.now()), code)
    assert await refused(store, code, clock) == "code_used"
    assert await states(store) == [INTENDED]


async def test_a_key_of_somebody_elses_certificate_is_refused(store: Store, code: int, clock: ManualClock) -> None:
    await store.enrolments.intend_by_code(intention(clock.now(), key=b"k"), code)
    hers = await printed(store, "hanako", locator="BBBB", digest=b"h" * 32, expires=clock.now() + DAY)
    assert await refused(store, hers, clock, "hanako", b"k") == "key_reused"
    assert await code_state(store, hers) is CodeState.OPEN


async def test_a_key_is_not_certified_a_second_time_by_another_code(
    store: Store, code: int, clock: ManualClock
) -> None:
    first = await store.enrolments.intend_by_code(intention(clock.now(), key=b"k"), code)
    await store.enrolments.complete(first.certificate, b"der")
    await store.certificates.revoke(first.certificate, actor="operator")
    newer = await printed(store, digest=b"n" * 32, expires=clock.now() + DAY, purpose=CodePurpose.REISSUE)
    assert await refused(store, newer, clock, key=b"k") == "key_reused"
    assert await code_state(store, newer) is CodeState.OPEN


async def test_a_code_is_good_for_its_own_user_only(store: Store, code: int, clock: ManualClock) -> None:
    assert await refused(store, code, clock, "hanako") == "code_used"
    assert await code_state(store, code) is CodeState.OPEN


async def test_who_has_a_valid_certificate_gets_no_second_one(store: Store, clock: ManualClock) -> None:
    imported = NewCertificate(CertificateId(ISSUER, 7), "taro", clock.now() + YEAR)
    await store.certificates.register([imported], actor="test")
    code = await printed(store, expires=clock.now() + 80 * DAY)
    assert await refused(store, code, clock) == "certificate_exists"
    assert await code_state(store, code) is CodeState.OPEN


@pytest.mark.parametrize(("late", "outcome"), [(0.999, "certificate_exists"), (1.0, None)])
async def test_an_expired_certificate_stands_in_nobodys_way(
    store: Store, clock: ManualClock, late: float, outcome: str | None
) -> None:
    """``notAfter`` is the last second that is still good."""
    imported = NewCertificate(CertificateId(ISSUER, 7), "taro", clock.now() + DAY)
    await store.certificates.register([imported], actor="test")
    code = await printed(store, expires=clock.now() + 80 * DAY, purpose=CodePurpose.EXPIRED)
    clock.advance(DAY + late)
    if outcome is not None:
        assert await refused(store, code, clock) == outcome
        return
    await store.enrolments.intend_by_code(intention(clock.now()), code)
    assert await states(store) == [EXPIRED, INTENDED]


# --- storing -------------------------------------------------------------------------------------------


async def test_storing_tells_the_user_and_its_administrators_once(store: Store, code: int, clock: ManualClock) -> None:
    issued = await enrolled(store, clock, code)
    await store.enrolments.complete(issued.certificate, b"der")
    mails = await store.outbox.all()
    assert {(mail.kind, mail.recipient_id) for mail in mails} == {("issued", "boss"), ("issued", "taro")}
    assert len(mails) == 2


async def test_another_certificate_is_not_stored_in_its_place(store: Store, code: int, clock: ManualClock) -> None:
    issued = await enrolled(store, clock, code)
    with pytest.raises(EnrolmentConflict):
        await store.enrolments.complete(issued.certificate, b"another")
    with pytest.raises(StateError, match="never written down"):
        await store.enrolments.complete(CertificateId(ISSUER, 1), b"der")


async def test_what_was_revoked_before_it_was_stored_stays_revoked(store: Store, code: int, clock: ManualClock) -> None:
    written = await store.enrolments.intend_by_code(intention(clock.now()), code)
    await store.certificates.revoke(written.certificate, actor="operator")
    with pytest.raises(EnrolmentConflict, match="revoked"):
        await store.enrolments.complete(written.certificate, b"der")
    assert await states(store) == [REVOKED]
    assert await store.outbox.all() == []


async def test_a_reissue_cools_off_and_a_first_issue_does_not(store: Store, code: int, clock: ManualClock) -> None:
    issued = await enrolled(store, clock, code)
    user = await store.users.user("taro")
    assert user is not None and user.cooling_off_until is None
    await store.certificates.revoke(issued.certificate, actor="operator")
    again = await printed(store, digest=b"n" * 32, expires=clock.now() + DAY, purpose=CodePurpose.REISSUE)
    written = await store.enrolments.intend_by_code(intention(clock.now()), again)
    assert await store.enrolments.purpose(written.certificate) is CodePurpose.REISSUE
    await store.enrolments.complete(written.certificate, b"der", cooling_off_until=clock.now() + DAY)
    user = await store.users.user("taro")
    assert user is not None and user.cooling_off_until == clock.now() + DAY
    assert {mail.kind for mail in await store.outbox.all()} == {"issued", "revoked", "reissued"}


# --- what was left half done ------------------------------------------------------------------------


async def test_what_is_unfinished_is_found_oldest_first(store: Store, code: int, clock: ManualClock) -> None:
    hers = await printed(store, "hanako", locator="BBBB", digest=b"h" * 32, expires=clock.now() + DAY)
    first = await store.enrolments.intend_by_code(intention(clock.now()), code)
    clock.advance(10)
    second = await store.enrolments.intend_by_code(intention(clock.now(), "hanako"), hers)
    assert await store.enrolments.unfinished(clock.now()) == [first]
    clock.advance(1)
    assert await store.enrolments.unfinished(clock.now()) == [first, second]
    await store.enrolments.complete(first.certificate, b"der")
    assert await store.enrolments.unfinished(clock.now()) == [second]


async def test_what_will_never_be_signed_gives_the_code_back(store: Store, code: int, clock: ManualClock) -> None:
    written = await store.enrolments.intend_by_code(intention(clock.now(), key=b"k"), code)
    await store.enrolments.abandon(written.certificate, cause="key_type")
    await store.enrolments.abandon(written.certificate, cause="key_type")
    assert await states(store) == []
    assert await code_state(store, code) is CodeState.OPEN
    again = await store.enrolments.intend_by_code(intention(clock.now(), key=b"k"), code)
    assert again.certificate != written.certificate
    assert (await actions(store)).count("certificate.abandon") == 1


async def test_a_code_that_has_a_successor_is_not_given_back(store: Store, code: int, clock: ManualClock) -> None:
    written = await store.enrolments.intend_by_code(intention(clock.now()), code)
    newer = await printed(store, digest=b"n" * 32, expires=clock.now() + DAY)
    await store.enrolments.abandon(written.certificate, cause="key_type")
    assert await states(store) == []
    assert await code_state(store, code) is CodeState.USED
    assert await code_state(store, newer) is CodeState.OPEN


async def test_what_is_stored_is_not_given_up_any_more(store: Store, code: int, clock: ManualClock) -> None:
    issued = await enrolled(store, clock, code)
    await store.enrolments.abandon(issued.certificate, cause="late")
    assert await states(store) == [VALID]


# --- paid for by the present certificate --------------------------------------------------------------


@pytest.fixture
async def present(store: Store, code: int, clock: ManualClock) -> Intention:
    """Taro's certificate, ten days before its end."""
    issued = await enrolled(store, clock, code)
    clock.advance(YEAR - 10 * DAY)
    return issued


async def renewed(store: Store, clock: ManualClock, present: Intention, key: bytes | None = None) -> Intention:
    return await store.enrolments.intend_by_renewal(
        intention(clock.now(), key=key), present.certificate, ends=present.not_after, window=40 * DAY
    )


async def not_renewed(store: Store, clock: ManualClock, present: Intention, key: bytes | None = None) -> str:
    with pytest.raises(EnrolmentConflict) as conflict:
        await renewed(store, clock, present, key)
    return conflict.value.reason


async def test_a_renewed_certificate_waits_for_its_first_sign_in(
    store: Store, clock: ManualClock, present: Intention
) -> None:
    written = await renewed(store, clock, present, b"k")
    assert await states(store) == [VALID, INTENDED]
    assert await renewed(store, clock, present, b"k") == written
    stored = await store.enrolments.complete(written.certificate, b"new")
    assert stored.state is AWAITING
    assert await renewed(store, clock, present, b"k") == stored
    assert await store.enrolments.purpose(written.certificate) is None
    await store.certificates.superseded_by_first_sign_in(written.certificate)
    assert await states(store) == [SUPERSEDED, VALID]
    assert {mail.kind for mail in await store.outbox.all()} == {"issued", "renewed"}


async def test_asking_with_another_key_takes_the_place_of_what_waits(
    store: Store, clock: ManualClock, present: Intention
) -> None:
    """The PC broke after the renewal, before it was used: the key is lost, the customer is not."""
    first = await renewed(store, clock, present)
    await store.enrolments.complete(first.certificate, b"new")
    second = await renewed(store, clock, present)
    assert await states(store) == [VALID, REVOKED, INTENDED]
    third = await renewed(store, clock, present)
    assert await states(store) == [VALID, REVOKED, REVOKED, INTENDED]
    assert len({first.certificate, second.certificate, third.certificate}) == 3
    with pytest.raises(EnrolmentConflict):
        await store.enrolments.complete(second.certificate, b"too late")


async def test_the_window_opens_at_its_very_second(store: Store, code: int, clock: ManualClock) -> None:
    present = await enrolled(store, clock, code)
    clock.advance(YEAR - 40 * DAY - 0.001)
    assert await not_renewed(store, clock, present) == "renewal_too_early"
    clock.advance(0.001)
    await renewed(store, clock, present)


async def test_the_window_closes_with_the_last_second(store: Store, clock: ManualClock, present: Intention) -> None:
    clock.advance(10 * DAY + 0.999)
    await renewed(store, clock, present, b"k")
    clock.advance(0.001)
    assert await not_renewed(store, clock, present, b"k") == "not_current"


async def test_a_key_is_not_renewed(store: Store, clock: ManualClock, present: Intention) -> None:
    assert await not_renewed(store, clock, present, present.public_key) == "key_reused"
    lost = await renewed(store, clock, present, b"k")
    await renewed(store, clock, present)
    assert await not_renewed(store, clock, present, b"k") == "key_reused"
    assert lost.public_key == b"k"


async def test_only_the_users_own_valid_certificate_pays(store: Store, clock: ManualClock, present: Intention) -> None:
    new = intention(clock.now(), "hanako")
    with pytest.raises(EnrolmentConflict, match="not current"):
        await store.enrolments.intend_by_renewal(new, present.certificate, ends=present.not_after, window=40 * DAY)
    await store.certificates.revoke(present.certificate, actor="operator")
    assert await not_renewed(store, clock, present) == "not_current"
    assert await states(store) == [REVOKED]
