"""What the signer says of its issuers, believed for a while: it changes with a roll-over only.

So an enrolment asks the signer one thing, its signature; and ``cacerts`` is answered while the signer is away.
"""

from __future__ import annotations

from mtls_gateway.clock import Clock
from mtls_gateway.errors import SignerUnavailable
from mtls_gateway.issuance.orders import Issuer, Signer

#: Seconds.
_BELIEVED = 30.0


class Issuers:
    """Every method may raise SignerUnavailable."""

    def __init__(self, signer: Signer, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock
        self._known: tuple[Issuer, ...] = ()
        self._until = 0.0

    async def all(self) -> tuple[Issuer, ...]:
        """The issuers, the active one first."""
        now = self._clock.monotonic()
        if not self._known or now >= self._until:
            self._known = await self._signer.describe()
            self._until = now + _BELIEVED
        return self._known

    async def active(self) -> Issuer:
        """The one that signs new certificates."""
        for issuer in await self.all():
            if issuer.active:
                return issuer
        raise SignerUnavailable("the signer has no active issuer; see its configuration")

    async def named(self, subject: str) -> Issuer | None:
        """The one of that distinguished name; None: it is no longer there."""
        for issuer in await self.all():
            if issuer.subject == subject:
                return issuer
        return None

    def forget(self) -> None:
        """Something did not fit: ask the signer again."""
        self._known = ()
