"""What the portal's pages ask of the store beside ``signin.ports`` and ``issuance.ports``; times are POSIX seconds.

Every method may raise :class:`mtls_gateway.errors.StoreUnavailable`; nothing was done then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mtls_gateway.model import CertificateId
from mtls_gateway.standing import CertificateTerm, UserStanding


class MemberStore(Protocol):
    """A company's administrator and its members (clause D.6); who may do what is decided there.

    What cannot be is :class:`mtls_gateway.errors.MemberRefused`.
    """

    async def page(self, administrator_id: str, *, limit: int, offset: int) -> tuple[int, Sequence[UserStanding]]:
        """How many users the company has, and some of them by ID; none for whoever is no administrator."""
        ...

    async def member(self, administrator_id: str, user_id: str) -> UserStanding | None:
        """The member, where the administrator may act for it."""
        ...

    async def revoke(self, administrator_id: str, user_id: str, *, reason: str, cause: str) -> int:
        """Revoke what the member can sign in with; returns how many sessions ended."""
        ...

    async def reissue(self, administrator_id: str, user_id: str, *, reason: str, cause: str) -> int:
        """The same, and order an enrolment code."""
        ...


class TermStore(Protocol):
    """What an owner is told of its certificate."""

    async def term(self, certificate: CertificateId) -> CertificateTerm | None:
        """Since when, until when, and whether a newer one waits; None: it is not registered."""
        ...
