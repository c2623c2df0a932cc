from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.model import CertificateId, CertificateState, Code, Method, Registration, User
from mtls_gateway.signin.method import judge_password_user, judge_registration, password_method_ends, registration_ends

NOW = 1_800_000_000.0
GOOD_USER = User(
    user_id="taro",
    company_id="acme",
    administrator=False,
    suspended_until=None,
    stopped=False,
    company_method=Method.CERTIFICATE,
    company_deadline=None,
    company_suspended=False,
    has_certificate=True,
)
GOOD = Registration(CertificateId("CN=CA", 1), CertificateState.VALID, NOW + 1_000, GOOD_USER)

users = st.builds(
    User,
    user_id=st.just("taro"),
    company_id=st.just("acme"),
    administrator=st.booleans(),
    suspended_until=st.one_of(st.none(), st.floats(NOW - 2, NOW + 2)),
    stopped=st.booleans(),
    company_method=st.sampled_from(Method),
    company_deadline=st.one_of(st.none(), st.floats(NOW - 2, NOW + 2)),
    company_suspended=st.booleans(),
    has_certificate=st.booleans(),
)
registrations = st.builds(
    Registration,
    certificate=st.just(CertificateId("CN=CA", 1)),
    state=st.sampled_from(CertificateState),
    not_after=st.one_of(st.none(), st.floats(NOW - 3, NOW + 3)),
    user=users,
)


def test_the_all_good_row_admits() -> None:
    assert judge_registration(GOOD, NOW) is None
    assert judge_registration(replace(GOOD, state=CertificateState.AWAITING, not_after=None), NOW) is None
    migrating = replace(GOOD_USER, company_method=Method.MIGRATING, company_deadline=NOW - 5)
    assert judge_registration(replace(GOOD, user=migrating), NOW) is None


@given(st.one_of(st.none(), registrations))
def test_nothing_but_the_all_good_row_admits(registration: Registration | None) -> None:
    admitted = judge_registration(registration, NOW) is None
    assert admitted == (
        registration is not None
        and registration.state in (CertificateState.VALID, CertificateState.AWAITING)
        and (registration.not_after is None or registration.not_after + 1 > NOW)
        and not registration.user.company_suspended
        and not registration.user.stopped
        and (registration.user.suspended_until is None or registration.user.suspended_until <= NOW)
        and registration.user.company_method in (Method.MIGRATING, Method.CERTIFICATE)
    )


@given(users)
def test_a_password_admits_only_while_company_and_user_are_on_the_password_method(user: User) -> None:
    admitted = judge_password_user(user, NOW) is None
    standing = (
        not user.company_suspended
        and not user.stopped
        and (user.suspended_until is None or user.suspended_until <= NOW)
    )
    still_on_it = user.company_method is Method.PASSWORD or (
        user.company_method is Method.MIGRATING
        and not user.has_certificate
        and (user.company_deadline is None or user.company_deadline > NOW)
    )
    assert admitted == (standing and still_on_it)


@given(users)
def test_no_user_of_a_company_on_the_certificate_method_ever_signs_in_with_a_password(user: User) -> None:
    refusal = judge_password_user(replace(user, company_method=Method.CERTIFICATE), NOW)
    assert refusal is not None


@pytest.mark.parametrize(
    ("registration", "code"),
    [
        (None, Code.CERTIFICATE_NOT_REGISTERED),
        (replace(GOOD, state=CertificateState.REVOKED), Code.CERTIFICATE_REVOKED),
        (replace(GOOD, state=CertificateState.SUPERSEDED), Code.CERTIFICATE_SUPERSEDED),
        (replace(GOOD, not_after=NOW - 1), Code.CERTIFICATE_EXPIRED),
        (replace(GOOD, user=replace(GOOD_USER, company_suspended=True)), Code.COMPANY_SUSPENDED),
        (replace(GOOD, user=replace(GOOD_USER, stopped=True)), Code.USER_STOPPED),
        (replace(GOOD, user=replace(GOOD_USER, suspended_until=NOW + 1)), Code.USER_SUSPENDED),
        (
            replace(GOOD, user=replace(GOOD_USER, company_method=Method.PASSWORD)),
            Code.COMPANY_NOT_ON_CERTIFICATE_METHOD,
        ),
    ],
)
def test_each_refusal_has_its_code(registration: Registration | None, code: Code) -> None:
    assert judge_registration(registration, NOW) is code


def test_the_last_second_of_a_certificate_and_of_a_suspension_are_exact() -> None:
    assert judge_registration(replace(GOOD, not_after=NOW), NOW + 0.999) is None
    assert judge_registration(replace(GOOD, not_after=NOW), NOW + 1.0) is Code.CERTIFICATE_EXPIRED
    assert registration_ends(replace(GOOD, not_after=NOW)) == NOW + 1.0
    suspended = replace(GOOD, user=replace(GOOD_USER, suspended_until=NOW))
    assert judge_registration(suspended, NOW - 0.001) is Code.USER_SUSPENDED
    assert judge_registration(suspended, NOW) is None


def test_a_migrating_user_switches_on_acquisition_and_all_at_the_deadline() -> None:
    user = replace(GOOD_USER, company_method=Method.MIGRATING, company_deadline=NOW, has_certificate=False)
    assert judge_password_user(user, NOW - 0.001) is None
    assert judge_password_user(user, NOW) is Code.COMPANY_ON_CERTIFICATE_METHOD
    assert password_method_ends(user) == NOW
    acquired = replace(user, has_certificate=True)
    assert judge_password_user(acquired, NOW - 5) is Code.COMPANY_ON_CERTIFICATE_METHOD
    assert password_method_ends(replace(user, company_method=Method.PASSWORD)) == float("inf")
