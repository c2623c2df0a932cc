"""Where orders become signatures. One thread works here: keys, journal and the order of things are its alone.

For a certificate::

    known serial? ── signed ─▶ the same certificate again
        │ no       └ intended ─▶ what was written down is signed now
    rules ─▶ rate ─▶ journal: intended ─▶ key ─▶ rules once more ─▶ journal: signed ─▶ out

The process may be killed at any of the arrows: what was not written down was not signed, and what was signed but not
written down never left. Several orders go along together, so that they share the journal's two waits for the disk.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cryptography import x509

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.errors import SignerRefused, SignerUnavailable
from mtls_gateway.issuance.orders import IntendedCertificate, Issuer
from mtls_gateway.issuance.signer.crl import CrlHead, CrlLimits, check_head
from mtls_gateway.issuance.signer.issuing import IssuingCa, described
from mtls_gateway.issuance.signer.journal import Intent, Journal, JournalUnusable, Standing
from mtls_gateway.issuance.signer.key import KeyUnavailable, is_signature
from mtls_gateway.issuance.signer.listed import Comparison, ListUnusable
from mtls_gateway.issuance.signer.profile import user_to_be_signed
from mtls_gateway.issuance.signer.rate import Rate
from mtls_gateway.issuance.signer.rules import Profile, check_finished, check_order
from mtls_gateway.model import print_serial

_LOG = logging.getLogger(__name__)
#: Seconds; a leap year, see ``issuance.validity``.
_LONGEST_LIFE = 366 * 86_400.0
#: What can come of an order for a certificate.
Outcome = bytes | SignerRefused | SignerUnavailable


@dataclass(frozen=True, slots=True)
class Rates:
    """The brakes."""

    certificates: Rate
    crls: Rate


class Desk:
    """Carries out orders."""

    def __init__(
        self,
        issuers: Sequence[IssuingCa],
        journal: Journal,
        profile: Profile,
        limits: CrlLimits,
        rates: Rates,
        clock: Clock,
    ) -> None:
        self._issuers: Mapping[str, IssuingCa] = {issuer.name: issuer for issuer in issuers}
        self._active = next(issuer for issuer in issuers if issuer.active)
        self._journal = journal
        self._profile = profile
        self.limits = limits
        self._rates = rates
        self._clock = clock

    def close(self) -> None:
        """Let go of keys and journal."""
        for issuer in self._issuers.values():
            issuer.key.close()
        self._journal.close()

    @property
    def active(self) -> IssuingCa:
        """Who signs new certificates."""
        return self._active

    @property
    def records(self) -> int:
        """How many records the journal has."""
        return self._journal.records

    # --- who signs ------------------------------------------------------------------------------

    def describe(self) -> tuple[Issuer, ...]:
        """The issuers, the active one first.

        Raises:
            SignerUnavailable: the journal does not answer.
        """
        with _unavailable():
            return tuple(
                Issuer(
                    name=one.name,
                    active=one.active,
                    subject=one.subject,
                    certificate=described(one.certificate),
                    chain=tuple(described(superior) for superior in one.chain),
                    crl_url=one.crl_url,
                    crl_number=self._crl_number(one.name),
                )
                for one in sorted(self._issuers.values(), key=lambda issuer: not issuer.active)
            )

    # --- certificates ---------------------------------------------------------------------------

    def sign_certificates(self, orders: Sequence[IntendedCertificate]) -> list[Outcome]:
        """Carry out several orders, no two of them for the same serial; one outcome for each, in their order."""
        began = time.perf_counter()
        outcomes: dict[int, Outcome] = {}
        try:
            outcomes = self._sign_certificates(orders)
        except (JournalUnusable, OSError, MemoryError) as error:
            _LOG.error("nothing is signed: %s", error)
            unavailable = SignerUnavailable("the signer's journal cannot be used; its log says why")
            outcomes = {order.serial: unavailable for order in orders}
        seconds = time.perf_counter() - began
        for order in orders:
            _count("certificate", outcomes[order.serial], seconds)
        metrics.SIGNER_LAST_MINUTE.labels("certificate").set(self._rates.certificates.last_minute)
        metrics.SIGNER_JOURNAL_RECORDS.set(self._journal.records)
        return [outcomes[order.serial] for order in orders]

    def _sign_certificates(self, orders: Sequence[IntendedCertificate]) -> dict[int, Outcome]:
        outcomes: dict[int, Outcome] = {}
        new: list[Intent] = []
        waiting: list[tuple[IntendedCertificate, Standing]] = []
        by_serial = {order.serial: order for order in orders}
        for order in orders:
            try:
                standing = self._journal.standing(order.serial) if order.serial > 0 else None
                if standing is None:
                    new.append(self._intent(order))
                else:
                    waiting.append((order, standing))
            except (SignerRefused, SignerUnavailable) as refusal:
                outcomes[order.serial] = refusal
        if new:
            standings = self._journal.intend(new)
            waiting += [(by_serial[one.serial], standing) for one, standing in zip(new, standings, strict=True)]
        fresh = {one.serial: one.to_be_signed for one in new}
        finished: list[tuple[Intent, bytes]] = []
        for order, standing in waiting:
            try:
                made = self._complete(order, standing, fresh.get(order.serial))
            except (SignerRefused, SignerUnavailable) as refusal:
                outcomes[order.serial] = refusal
                continue
            if standing.certificate is None:
                finished.append((Intent(order.serial, standing.issuer, standing.ordered, standing.to_be_signed), made))
            else:
                outcomes[order.serial] = made
        if finished:
            released = self._journal.signed(finished)
            outcomes |= {one.serial: made for (one, _), made in zip(finished, released, strict=True)}
        return outcomes

    def _intent(self, order: IntendedCertificate) -> Intent:
        check_order(order, self._active, self._profile, self._clock.now())
        if not self._rates.certificates.allows():
            raise SignerUnavailable("as many certificates were signed as a minute may have; try again in a minute")
        try:
            to_be_signed = user_to_be_signed(order, self._active.superior, self._active.crl_url)
        except ValueError as error:
            raise SignerRefused("subject", str(error)) from error
        return Intent(order.serial, self._active.name, _digest(order), to_be_signed)

    def _complete(self, order: IntendedCertificate, standing: Standing, fresh: bytes | None) -> bytes:
        """The certificate of what is written down; ``fresh`` is what the order has just been made into, if it was."""
        if standing.ordered != _digest(order):
            raise SignerRefused("serial_used", "this serial was given to another certificate; take a new one")
        if standing.certificate is not None:
            return standing.certificate
        issuer = self._issuers.get(standing.issuer)
        if issuer is None:
            cause = f"it was to be signed by {standing.issuer}, whose key is no longer here; take a new serial"
            raise SignerRefused("issuer_gone", cause)
        wanted = fresh or user_to_be_signed(order, issuer.superior, issuer.crl_url)
        if wanted != standing.to_be_signed:
            cause = "the settings have changed since it was written down; take a new serial"
            raise SignerRefused("intended_otherwise", cause)
        try:
            made = issuer.sign(standing.to_be_signed)
        except KeyUnavailable as error:
            _LOG.error("not signed: %s", error)
            raise SignerUnavailable("the CA's key does not sign now; the signer's log says why") from error
        try:
            check_finished(made, order, issuer)
        except SignerRefused as refusal:
            _LOG.critical("%s; it does not leave the signer", refusal)
            raise
        return made

    # --- CRLs -----------------------------------------------------------------------------------

    def begin_crl(self, head: CrlHead) -> IssuingCa:
        """Whether a CRL may be drafted, and whose it is.

        Raises:
            SignerRefused: names the rule.
            SignerUnavailable: not now.
        """
        issuer = self._issuers.get(head.issuer)
        if issuer is None:
            raise SignerRefused("issuer_unknown", f"there is no issuer {head.issuer!r}")
        check_head(head, issuer, self.limits, self._clock.now())
        with _unavailable():
            if head.number < self._crl_number(issuer.name):
                raise SignerRefused("crl_number", "a CRL with a higher number was ordered; numbers do not go back")
        if not self._rates.crls.allows():
            raise SignerUnavailable("as many CRLs were signed as a minute may have; try again in a minute")
        return issuer

    def sign_crl(self, head: CrlHead, issuer: IssuingCa, digest: bytes, comparison: Comparison | None = None) -> bytes:
        """The signature of a CRL whose digest this is; the same again for the same CRL.

        Raises:
            SignerRefused: the number was given to another CRL, or a higher one was; or it leaves out what
                ``comparison`` says that the last one listed.
            SignerUnavailable: not now.
        """
        with _unavailable():
            if comparison is not None and head.number > self._crl_number(issuer.name):
                self._check_left_out(head, comparison)
            standing = self._journal.intend_crl(issuer.name, head.number, digest)
            if standing.number != head.number or standing.digest != digest:
                cause = f"the number of the next CRL is {standing.number + 1} or higher; this one was given to another"
                raise SignerRefused("crl_number", cause)
            if standing.signature is not None:
                return standing.signature
            if comparison is not None:
                # Before the signature: what has left the signer was always written down.
                comparison.keep(head.number)
            signature = issuer.key.sign(digest)
            if not is_signature(issuer.superior.public_key, signature, digest):
                _LOG.critical("the key of %s has made a signature that is not good; it does not leave", issuer.name)
                raise SignerRefused("finished", "what was signed is not what was ordered")
            standing = self._journal.crl_signed(issuer.name, head.number, digest, signature)
            metrics.SIGNER_JOURNAL_RECORDS.set(self._journal.records)
            return standing.signature or signature

    def _check_left_out(self, head: CrlHead, comparison: Comparison) -> None:
        if not comparison.is_of_the_last():
            raise SignerUnavailable("another CRL was signed meanwhile; order it again")
        for serial, at in comparison.left_out():
            standing = self._journal.standing(serial)
            if standing is None or standing.certificate is None:
                # Not ours to know, e.g. imported: no user's certificate lives longer than a year.
                ends = at + _LONGEST_LIFE
            else:
                ends = x509.load_der_x509_certificate(standing.certificate).not_valid_after_utc.timestamp()
            if ends >= head.this_update:
                cause = (
                    f"serial {print_serial(serial)} was on CRL {comparison.number} and its certificate has not ended;"
                    " was an older database restored? revoke it again"
                )
                raise SignerRefused("entry_left_out", cause)

    def _crl_number(self, issuer: str) -> int:
        standing = self._journal.crl_standing(issuer)
        return 0 if standing is None else standing.number


def count_crl(outcome: object, seconds: float) -> None:
    """Count how the order of a CRL ended."""
    _count("crl", outcome, seconds)


def _digest(order: IntendedCertificate) -> bytes:
    parts = (
        str(order.serial),
        order.user_id,
        order.common_name,
        order.organisation,
        str(int(order.not_before)),
        str(int(order.not_after)),
        order.public_key.hex(),
    )
    digest = hashlib.sha256()
    for part in parts:
        octets = part.encode(errors="surrogatepass")
        digest.update(f"{len(octets)}:".encode())
        digest.update(octets)
    return digest.digest()


def _count(kind: str, outcome: object, seconds: float) -> None:
    ended = {SignerRefused: "refused", SignerUnavailable: "unavailable"}.get(type(outcome), "signed")
    metrics.SIGNATURES.labels(kind, ended).inc()
    if isinstance(outcome, SignerRefused):
        metrics.SIGNER_REFUSALS.labels(outcome.rule).inc()
    elif ended == "signed":
        metrics.SIGNATURE_SECONDS.labels(kind).observe(seconds)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (JournalUnusable, KeyUnavailable, ListUnusable, OSError) as error:
        _LOG.error("not signed: %s", error)
        raise SignerUnavailable("the signer cannot sign now; its log says why") from error
