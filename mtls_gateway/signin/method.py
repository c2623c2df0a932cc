"""Who may sign in how: one place for the workers and the portal (clauses A.2, A.5).

==============  =============================  ============================
company is on   ID + password                  certificate + password
==============  =============================  ============================
password        yes                            no: not on that method
migrating       until the user has acquired    yes
                a certificate, and until the
                company's deadline
certificate     no                             yes
==============  =============================  ============================

Nothing here is a setting of one user: what a user has acquired, and its company's method, decide.
Moments are POSIX seconds; an end is the first moment that is not good any more.
"""

from __future__ import annotations

from collections.abc import Callable

from mtls_gateway.model import CertificateState, Code, Method, Registration, User

_NEVER = float("inf")

#: What stands against a user whatever the method: the first that applies is the answer.
_STANDING: tuple[tuple[Code, Callable[[User, float], bool]], ...] = (
    (Code.COMPANY_SUSPENDED, lambda user, now: user.company_suspended),
    (Code.USER_STOPPED, lambda user, now: user.stopped),
    (Code.USER_SUSPENDED, lambda user, now: user.suspended_until is not None and now < user.suspended_until),
)

#: What stands against a registered certificate besides: the state in the store counts even when no CRL has it yet.
_CERTIFICATE: tuple[tuple[Code, Callable[[Registration, float], bool]], ...] = (
    (Code.CERTIFICATE_NOT_REGISTERED, lambda registration, now: registration.state is CertificateState.INTENDED),
    (Code.CERTIFICATE_EXPIRED, lambda registration, now: registration.state is CertificateState.EXPIRED),
    (Code.CERTIFICATE_REVOKED, lambda registration, now: registration.state is CertificateState.REVOKED),
    (Code.CERTIFICATE_SUPERSEDED, lambda registration, now: registration.state is CertificateState.SUPERSEDED),
    (Code.CERTIFICATE_EXPIRED, lambda registration, now: now >= registration_ends(registration)),
)

_USABLE = (CertificateState.VALID, CertificateState.AWAITING)
_WITH_CERTIFICATES = (Method.MIGRATING, Method.CERTIFICATE)


def judge_registration(registration: Registration | None, now: float) -> Code | None:
    """Why a certificate that ``trust`` has accepted does not admit its user; None: it does."""
    if registration is None:
        return Code.CERTIFICATE_NOT_REGISTERED
    for code, applies in _CERTIFICATE:
        if applies(registration, now):
            return code
    refusal = _judge_standing(registration.user, now)
    if refusal is not None:
        return refusal
    if registration.user.company_method is Method.PASSWORD:
        return Code.COMPANY_NOT_ON_CERTIFICATE_METHOD
    # Said positively once more: a state or method that is added one day admits nobody until it is named here.
    if registration.state in _USABLE and registration.user.company_method in _WITH_CERTIFICATES:
        return None
    return Code.UNAVAILABLE


def judge_password_user(user: User, now: float) -> Code | None:
    """Why ``user`` may not sign in, or stay signed in, with ID and password; None: it may."""
    refusal = _judge_standing(user, now)
    if refusal is not None:
        return refusal
    if user.company_method is Method.PASSWORD:
        return None
    if user.company_method is Method.MIGRATING and not user.has_certificate and now < password_method_ends(user):
        return None
    return Code.COMPANY_ON_CERTIFICATE_METHOD


def _judge_standing(user: User, now: float) -> Code | None:
    for code, applies in _STANDING:
        if applies(user, now):
            return code
    return None


def password_method_ends(user: User) -> float:
    """When the password method ends for ``user`` by itself; infinity: not by itself."""
    if user.company_method is Method.MIGRATING and user.company_deadline is not None:
        return user.company_deadline
    return _NEVER


def registration_ends(registration: Registration) -> float:
    """When the registered certificate ends; infinity: only the certificate itself says so.

    ``notAfter`` is the last second that is still good (RFC 5280, section 4.1.2.5).
    """
    return _NEVER if registration.not_after is None else registration.not_after + 1.0
