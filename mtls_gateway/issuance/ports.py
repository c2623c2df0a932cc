"""What ``issuance`` asks of the store: small Protocols, which the store satisfies; mypy checks the fit in ``app``.

Times are POSIX seconds. Every method may raise :class:`mtls_gateway.errors.StoreUnavailable`; nothing was done then.
What the signer is asked is in ``orders``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mtls_gateway.model import Caller, CertificateId, CodePurpose, CodeTry, Intention, NewIntention, User


class CodeStore(Protocol):
    """Tries at enrolment codes, counted before their outcome is used (clause D.1)."""

    async def begin_try(self, user_id: str, locator: str, digest: bytes, *, limit: int) -> CodeTry:
        """Count a try at the user's code; the ``limit``-th wrong one exhausts it."""
        ...

    async def try_was_right(self, code_id: int) -> None:
        """Code and password were right: earlier tries are forgotten."""
        ...

    async def try_was_wrong(self, code_id: int) -> None:
        """The code was right and the password was not: the try stays counted, and is written to the audit log."""
        ...

    async def try_did_not_count(self, code_id: int) -> None:
        """Take one try back: the legacy backend did not answer, so nothing was tried."""
        ...


class EnrolmentStore(Protocol):
    """Certificates on their way; refusals are :class:`mtls_gateway.errors.EnrolmentConflict`."""

    async def intend_by_code(self, new: NewIntention, code_id: int) -> Intention:
        """Write down a certificate that a code pays for and use up the code; the same key again: the same row."""
        ...

    async def intend_by_renewal(
        self, new: NewIntention, current: CertificateId, *, ends: float, window: float
    ) -> Intention:
        """Write down a certificate that the present one pays for; the same key again: the same row."""
        ...

    async def complete(
        self, certificate: CertificateId, der: bytes, *, cooling_off_until: float | None = None
    ) -> Intention:
        """Store the signed certificate and let it sign in; again: nothing changes."""
        ...

    async def purpose(self, certificate: CertificateId) -> CodePurpose | None:
        """Of the code that paid for it; None: a renewal."""
        ...

    async def abandon(self, certificate: CertificateId, *, cause: str) -> None:
        """The signer will never sign it: forget it, and give the code back."""
        ...

    async def unfinished(self, before: float, limit: int = 100) -> Sequence[Intention]:
        """Written down before ``before`` and not stored yet, oldest first."""
        ...


class Users(Protocol):
    """Who a certificate is for."""

    async def user(self, user_id: str) -> User | None:
        """The user with exactly this ID."""
        ...

    async def name_of(self, user_id: str) -> str | None:
        """Its name as it stands in certificates; None: it has none."""
        ...


class Passwords(Protocol):
    """The user's internet-banking password, decided by whoever decides it at sign-in (clause A.3)."""

    async def is_right(self, user_id: str, password: str, caller: Caller) -> bool:
        """Whether it is; no session is left behind.

        Raises:
            LegacyUnavailable: it could not be decided.
        """
        ...
