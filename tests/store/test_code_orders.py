"""What one operator may order again, and what takes an application."""

from __future__ import annotations

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError
from mtls_gateway.model import CertificateId, CodePurpose, CodeState, Method
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.opening import Store
from mtls_gateway.store.users import NewUser
from tests.store.conftest import ISSUER, START


@pytest.fixture
async def moved(store: Store) -> Store:
    await store.companies.set_method("acme", Method.CERTIFICATE, actor="test")
    await store.users.add([NewUser("jiro", "acme")], actor="test")
    return store


async def again(store: Store, user_id: str) -> CodePurpose:
    return await store.code_orders.order_again(user_id, actor="alice")


async def states(store: Store, user_id: str) -> list[CodeState]:
    return [code.state for code in reversed(await store.codes.all(user_id=user_id))]


async def test_whoever_was_never_applied_for_gets_none(moved: Store) -> None:
    with pytest.raises(StateError, match="user jiro is on no approved application"):
        await again(moved, "jiro")
    number = await moved.applications.receive_start("acme", actor="alice")
    with pytest.raises(StateError, match="user jiro is on no approved application"):
        await again(moved, "jiro")
    await moved.applications.approve(number, actor="bob")
    assert await again(moved, "jiro") is CodePurpose.FIRST
    assert await states(moved, "jiro") == [CodeState.VOID, CodeState.ORDERED]


async def test_whoever_has_a_good_certificate_gets_none(moved: Store) -> None:
    with pytest.raises(StateError, match="user taro has a good certificate; for a PC that was lost"):
        await again(moved, "taro")


async def test_an_expired_certificate_is_followed_by_a_code(moved: Store, clock: ManualClock) -> None:
    await moved.certificates.register([NewCertificate(CertificateId(ISSUER, 3), "jiro", START + 10)], actor="test")
    clock.advance(10.5)
    # notAfter is the last second that is still good.
    with pytest.raises(StateError, match="has a good certificate"):
        await again(moved, "jiro")
    clock.advance(0.5)
    assert await again(moved, "jiro") is CodePurpose.EXPIRED


async def test_a_revoked_certificate_takes_two_operators(moved: Store, certificate: CertificateId) -> None:
    await moved.certificates.revoke(certificate, actor="alice")
    with pytest.raises(StateError, match="certificate of user taro was revoked; another takes an application"):
        await again(moved, "taro")
    assert await states(moved, "taro") == []


async def test_a_letter_of_an_approved_reissue_may_be_ordered_again(moved: Store, clock: ManualClock) -> None:
    number, _ = await moved.applications.receive_reissue(["taro"], actor="alice")
    with pytest.raises(StateError, match="another takes an application"):
        await again(moved, "taro")
    clock.advance(60)
    await moved.applications.approve(number, actor="bob")
    assert await again(moved, "taro") is CodePurpose.REISSUE
    assert await states(moved, "taro") == [CodeState.VOID, CodeState.ORDERED]


async def test_an_earlier_reissue_does_not_pay_for_a_later_revocation(moved: Store, clock: ManualClock) -> None:
    number, _ = await moved.applications.receive_reissue(["taro"], actor="alice")
    await moved.applications.approve(number, actor="bob")
    clock.advance(60)
    later = CertificateId(ISSUER, 77)
    await moved.certificates.register([NewCertificate(later, "taro")], actor="test")
    clock.advance(60)
    await moved.certificates.revoke(later, actor="alice")
    with pytest.raises(StateError, match="another takes an application"):
        await again(moved, "taro")


async def test_nobody_and_the_password_method_have_no_codes(moved: Store) -> None:
    with pytest.raises(StateError, match="there is no user nobody"):
        await again(moved, "nobody")
    await moved.companies.set_method("acme", Method.PASSWORD, actor="test")
    with pytest.raises(StateError, match="is on the password method; it has to apply first"):
        await again(moved, "jiro")
