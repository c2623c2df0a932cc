"""From a certificate that ``trust`` has accepted to its user: a bounded cache over the store's registrations."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from mtls_gateway.model import CertificateId, ChangeKind, Code, Registration, User
from mtls_gateway.signin.flights import Flights, Subject
from mtls_gateway.signin.method import judge_registration, registration_ends


class Registrations(Protocol):
    """The store, as far as this module asks it."""

    async def registration(self, certificate: CertificateId) -> Registration | None:
        """The certificate's registration, with its user and company; None: not registered."""
        ...


class Known:
    """What the store said of one certificate; ``current`` until a change says otherwise."""

    __slots__ = ("certificate", "current", "registration")

    def __init__(self, certificate: CertificateId, registration: Registration | None) -> None:
        self.certificate = certificate
        self.registration = registration
        self.current = True


@dataclass(frozen=True, slots=True)
class Identity:
    """A user whom a good, registered certificate has identified. Only :func:`identify` makes one."""

    certificate: CertificateId
    user: User
    #: When the registration ends, POSIX seconds.
    ends: float


def identify(known: Known, now: float) -> Identity | Code:
    """Who it is, or why nobody is admitted (clauses A.2, A.5)."""
    code = judge_registration(known.registration, now)
    if code is not None or known.registration is None:
        return code or Code.CERTIFICATE_NOT_REGISTERED
    return Identity(known.certificate, known.registration.user, registration_ends(known.registration))


class Identities:
    """The registrations that one worker knows: the ``capacity`` that were asked for last."""

    def __init__(self, store: Registrations, capacity: int = 50_000) -> None:
        self._capacity = capacity
        #: The one asked for longest ago comes first. A plain dict would go over all that were ever put out to find it.
        self._known: OrderedDict[CertificateId, Known] = OrderedDict()
        #: What a change would speak of, to what is known of it.
        self._by_subject: dict[Subject, set[CertificateId]] = {}
        self._flights = Flights(store.registration, _subjects, self._keep)

    def get(self, certificate: CertificateId) -> Known | None:
        """What is known already; None: it must be looked up."""
        known = self._known.get(certificate)
        if known is not None:
            self._known.move_to_end(certificate)
        return known

    async def look_up(self, certificate: CertificateId) -> Known:
        """Ask the store, whatever is known. The answer may be old when it is read: look at ``current``.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        return await self._flights.look_up(certificate)

    def evict(self, kind: ChangeKind, subject: str) -> list[CertificateId]:
        """Forget what a change speaks of; returns the certificates that were known."""
        self._flights.touch((kind, subject))
        gone = list(self._by_subject.get((kind, subject), ()))
        for certificate in gone:
            self._drop(certificate)
        return gone

    def evict_all(self) -> None:
        """Forget everything."""
        self._flights.touch_everything()
        for known in self._known.values():
            known.current = False
        self._known.clear()
        self._by_subject.clear()

    def __contains__(self, certificate: CertificateId) -> bool:
        return certificate in self._known

    def __len__(self) -> int:
        return len(self._known)

    def _keep(self, certificate: CertificateId, registration: Registration | None) -> Known:
        self._drop(certificate)
        if len(self._known) >= self._capacity:
            self._drop(next(iter(self._known)))
        known = self._known[certificate] = Known(certificate, registration)
        for subject in _subjects(certificate, registration):
            self._by_subject.setdefault(subject, set()).add(certificate)
        return known

    def _drop(self, certificate: CertificateId) -> None:
        known = self._known.pop(certificate, None)
        if known is None:
            return
        known.current = False
        for subject in _subjects(certificate, known.registration):
            certificates = self._by_subject[subject]
            certificates.discard(certificate)
            if not certificates:
                del self._by_subject[subject]


def _subjects(certificate: CertificateId, registration: Registration | None) -> Iterator[Subject]:
    yield ChangeKind.CERTIFICATE, str(certificate)
    if registration is not None:
        yield ChangeKind.USER, registration.user.user_id
        yield ChangeKind.COMPANY, registration.user.company_id
