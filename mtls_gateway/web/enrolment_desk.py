"""What the enrolment pages and EST share: one enrolment, one brake on wrong tries, one way to say why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mtls_gateway import metrics
from mtls_gateway.config import Issuance
from mtls_gateway.issuance.enrolment import Enrolment
from mtls_gateway.issuance.issuers import Issuers
from mtls_gateway.model import Site
from mtls_gateway.signin.lockout import AddressThrottle
from mtls_gateway.signin.password_proof import PasswordProof
from mtls_gateway.signin.ports import Caller, PasswordChecker
from mtls_gateway.web.front import Visit
from mtls_gateway.web.texts import Texts

#: Longer ones are no user IDs or passwords of a bank.
LONGEST: Final = 256


@dataclass(frozen=True, slots=True)
class EnrolmentDesk:
    """Made once by the portal, where the bank issues certificates here."""

    settings: Issuance
    issuers: Issuers
    enrolment: Enrolment
    #: Of tries with an enrolment code; those with a certificate have their own.
    throttle: AddressThrottle
    #: How long a client is to wait when something does not answer, seconds.
    retry_after: int = 30

    def refuse_briefly(self, way: str, code: str) -> str:
        """Count a refusal that the enrolment itself has never heard of; returns its code."""
        metrics.ENROLMENTS.labels(way, code).inc()
        return code


class PublicHostPasswords:
    """``issuance.ports.Passwords``: whoever decides at the sign-in of the public host (clause A.3)."""

    def __init__(self, checker: PasswordChecker, proof: PasswordProof) -> None:
        self._checker = checker
        self._proof = proof

    async def is_right(self, user_id: str, password: str, caller: Caller) -> bool:
        """Whether it is; the legacy session that a right one opens is ended at once.

        Raises:
            LegacyUnavailable: it could not be decided.
        """
        session = await self._checker.check(user_id, password, caller)
        if session is None:
            return False
        await self._proof.end_legacy(session, Site.PUBLIC)
        return True


def caller_of(visit: Visit) -> Caller:
    """Who asks, as the legacy backend is to see it."""
    headers, context = visit.request.headers, visit.context
    return Caller(context.address, headers.get("User-Agent", ""), headers.get("Accept-Language", ""), context.backends)


def sentence(texts: Texts, code: str) -> str:
    """What a stable code means, in one sentence."""
    refusals = texts["enrolment_refused"]
    if code in refusals:
        return str(refusals[code])
    return str(texts["refused"][code]["happened"])
