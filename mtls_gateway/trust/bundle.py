"""The bank's CA certificates, loaded once and immutable.

Only these certificates are ever used to judge a client's: what a client sends besides its own is ignored
(certificate stuffing, CVE-2023-2422), so that a full handshake and a resumed one, of which TLS keeps the
leaf alone, are judged alike. Every intermediate therefore belongs into the configuration (clause C.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from cryptography import x509
from OpenSSL import crypto

from mtls_gateway.config import Trust
from mtls_gateway.errors import ConfigurationError
from mtls_gateway.trust.authority import BundledAuthority, ListSigner, load_authority
from mtls_gateway.trust.keys import is_signed_with
from mtls_gateway.trust.paths import MOST, Path, fault, laid_paths

__all__ = ["Bundle", "BundledAuthority", "load_bundle"]


class Bundle:
    """Every authority of the configuration, found by its subject."""

    __slots__ = ("_by_subject", "_own_ways", "_ways", "authorities")

    def __init__(self, authorities: tuple[BundledAuthority, ...]) -> None:
        self._by_subject = _by_subject(authorities)
        ways = {authority: laid_paths(authority, self.candidates) for authority in authorities}
        # The bundle is made anew, of authorities that know who else signs their CRLs.
        known = {one: replace(one, signers=_signers(one, self._by_subject, ways)) for one in authorities}
        self.authorities = tuple(known.values())
        self._by_subject = _by_subject(self.authorities)
        #: Every path that begins with an authority.
        self._ways = {
            known[authority]: tuple(tuple(known[one] for one in path) for path in found)
            for authority, found in ways.items()
        }
        #: Those of them that are valid for the authority as one who signs CRLs.
        self._own_ways = {authority: _valid(authority, found) for authority, found in self._ways.items()}

    def __iter__(self) -> Iterator[BundledAuthority]:
        return iter(self.authorities)

    def candidates(self, certificate: x509.Certificate) -> list[BundledAuthority]:
        """Authorities whose name is the issuer's: several while a CA rolls over to a new key."""
        return [one for one in self._by_subject.get(certificate.issuer, ()) if one.issues]

    def paths(self, certificate: x509.Certificate) -> tuple[Path, ...]:
        """The valid paths from ``certificate`` to an anchor, but for time and revocation: among the first 32 laid."""
        laid = (
            path
            for issuer in self.candidates(certificate)
            if is_signed_with(certificate, issuer.certificate)
            for path in self._ways[issuer]
        )
        return tuple(path for path in islice(laid, MOST) if fault(certificate, path) is None)

    def leads_to_an_anchor(self, authority: BundledAuthority) -> bool:
        """Whether a path from ``authority`` can be laid at all."""
        return bool(self._ways[authority])

    def ways_of_signer(self, authority: BundledAuthority, key_digest: str) -> tuple[Path, ...]:
        """The paths from whoever has the key and may sign the CRLs of ``authority``; each begins with itself."""
        return tuple(
            path
            for one in self._by_subject[authority.certificate.subject]
            if one.key_digest == key_digest and one.signer in authority.signers
            for path in self._own_ways[one]
        )

    def get(self, name: str) -> BundledAuthority | None:
        """The authority of that name in the configuration."""
        return next((authority for authority in self.authorities if authority.name == name), None)

    @property
    def named_to_browsers(self) -> list[crypto.X509]:
        """The CAs in the certificate request: a browser's picker shows only what they issued (clause A.1)."""
        return [authority.x509 for authority in self.authorities if authority.settings.named_to_browsers]


def load_bundle(trust: Trust) -> Bundle:
    """Load every authority.

    Raises:
        ConfigurationError: a file is missing, empty, malformed or no CA certificate, does not lead to an anchor, or
            nobody may sign its CRLs; names it and its key.
    """
    bundle = Bundle(tuple(load_authority(authority, index) for index, authority in enumerate(trust.authorities)))
    for index, authority in enumerate(bundle):
        file = str(authority.settings.certificate)
        if authority.settings.revocation == "crl" and not authority.signers:
            cause = "may not sign CRLs (keyUsage cRLSign), but crls are configured"
            raise ConfigurationError(file, f"trust.authorities.{index}.certificate", cause)
        if not bundle.leads_to_an_anchor(authority):
            cause = "does not chain to an anchor of this bundle; add its superior, or set anchor = true"
            raise ConfigurationError(file, f"trust.authorities.{index}.anchor", cause)
    return bundle


def same_anchor(one: BundledAuthority, other: BundledAuthority) -> bool:
    """Whether two anchors are the same authority: one whose certificate was renewed for its key still is."""
    return one.key_digest == other.key_digest and one.certificate.subject == other.certificate.subject


def _by_subject(authorities: tuple[BundledAuthority, ...]) -> dict[x509.Name, list[BundledAuthority]]:
    found: dict[x509.Name, list[BundledAuthority]] = {}
    for authority in authorities:
        found.setdefault(authority.certificate.subject, []).append(authority)
    return found


def _valid(authority: BundledAuthority, ways: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(path for path in ways if authority.anchor or fault(authority.certificate, path[1:]) is None)


def _signers(
    authority: BundledAuthority,
    by_subject: dict[x509.Name, list[BundledAuthority]],
    ways: dict[BundledAuthority, tuple[Path, ...]],
) -> tuple[ListSigner, ...]:
    """Its own key, and those of its name that lead to an anchor of its own (RFC 5280, section 6.3.3, (f))."""
    anchors = [path[-1] for path in ways[authority]]
    others = [other for other in by_subject[authority.certificate.subject] if other is not authority]
    return authority.signers + tuple(
        signer
        for other in others
        if any(same_anchor(path[-1], anchor) for path in _valid(other, ways[other]) for anchor in anchors)
        for signer in other.signers
    )
