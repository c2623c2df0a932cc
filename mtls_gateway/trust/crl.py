"""A CRL, checked before it is used (clause C.2).

Source: RFC 5280, sections 5 and 6.3. What is not supported is refused by name rather than half understood:
indirect CRLs, CRLs for some reasons only, and unknown critical extensions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.trust.authority import BundledAuthority, ListSigner
from mtls_gateway.trust.keys import weakness_of_signature
from mtls_gateway.trust.list_signature import is_signed_by
from mtls_gateway.trust.scope import Scope

#: A CRL may be dated so many seconds in the future: the CA's clock is not ours. One that is further off is refused
#: and looked at again until its time has come.
_SKEW = 60
_ARMOUR = b"-----BEGIN X509 CRL-----"
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.DELTA_CRL_INDICATOR,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
)


@dataclass(frozen=True, slots=True)
class CheckedCrl:
    """A CRL that its authority has signed. Made by :func:`check_crl` only."""

    source: str
    crl: x509.CertificateRevocationList
    der: bytes
    #: SHA-256 of its DER encoding, in hexadecimal.
    digest: str
    #: Which key has signed it, see :class:`~mtls_gateway.trust.authority.ListSigner`.
    signer: str
    number: int
    #: Delta CRLs: the number of the base that it may be added to.
    base_number: int | None
    this_update: int
    next_update: int
    scope: Scope


def check_crl(octets: bytes, source: str, authority: BundledAuthority, now: float) -> CheckedCrl:
    """Check everything that can be said of a CRL alone.

    ``octets`` are PEM or DER; ``now`` is POSIX seconds. Whether its number goes back is the caller's to compare.

    Raises:
        TrustMaterialError: says what is wrong; its ``reason`` is a metric label.
    """
    if not octets.strip():
        raise TrustMaterialError(source, "is empty", "empty")
    try:
        if octets.count(_ARMOUR) > 1:
            raise ValueError("it holds several; give each its own file")
        armoured = octets.lstrip().startswith(b"-----")
        crl = x509.load_pem_x509_crl(octets) if armoured else x509.load_der_x509_crl(octets)
        extensions = list(crl.extensions)
        issuer = crl.issuer
    except Exception as error:  # the library raises several kinds for what is malformed
        raise TrustMaterialError(source, f"is no CRL: {error}", "malformed") from error
    if issuer != authority.certificate.subject:
        cause = f"is issued by {issuer.rfc4514_string()}, not by {authority.issuer_name}"
        raise TrustMaterialError(source, cause, "wrong_issuer")
    weakness = weakness_of_signature(crl)
    if weakness is not None:
        raise TrustMaterialError(source, weakness, "weak_signature")
    der = crl.public_bytes(Encoding.DER) if armoured else octets
    likely = _likely_first(crl, authority)
    signer = next((one for one in likely if is_signed_by(crl, der, one.certificate.public_key())), None)
    if signer is None:
        cause = f"is not signed with the key of {authority.name}, nor with another that may sign its CRLs"
        raise TrustMaterialError(source, cause, "wrong_signature")
    for extension in extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            cause = f"has a critical extension that is not known: {extension.oid.dotted_string}"
            raise TrustMaterialError(source, cause, "unknown_extension")
    if crl.next_update_utc is None:
        raise TrustMaterialError(source, "has no nextUpdate (RFC 5280, section 5.1.2.5)", "no_next_update")
    this_update = int(crl.last_update_utc.timestamp())
    next_update = int(crl.next_update_utc.timestamp())
    if this_update > now + _SKEW:
        raise TrustMaterialError(source, "is dated in the future; compare the clocks", "from_the_future")
    if next_update < this_update:
        raise TrustMaterialError(source, "has its nextUpdate before its thisUpdate", "malformed")
    number = _number(crl, source)
    return CheckedCrl(
        source=source,
        crl=crl,
        der=der,
        digest=hashlib.sha256(der).hexdigest(),
        signer=signer.key_digest,
        number=number,
        base_number=_base_number(crl),
        this_update=this_update,
        next_update=next_update,
        scope=_scope(crl, source),
    )


def _likely_first(crl: x509.CertificateRevocationList, authority: BundledAuthority) -> list[ListSigner]:
    """Whose signature would count, first the one that the CRL names: to check a large one takes seconds."""
    try:
        named = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return list(authority.signers)
    return sorted(authority.signers, key=lambda signer: _key_identifier(signer.certificate) != named)


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _number(crl: x509.CertificateRevocationList, source: str) -> int:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        cause = "has no CRL number, so that an older one could not be told (RFC 5280, section 5.2.3)"
        raise TrustMaterialError(source, cause, "no_number") from None


def _base_number(crl: x509.CertificateRevocationList) -> int | None:
    try:
        return crl.extensions.get_extension_for_class(x509.DeltaCRLIndicator).value.crl_number
    except x509.ExtensionNotFound:
        return None


def _scope(crl: x509.CertificateRevocationList, source: str) -> Scope:
    try:
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return Scope()
    if point.indirect_crl or point.only_some_reasons or point.only_contains_attribute_certs:
        cause = "is indirect, for some reasons only, or for attribute certificates: not supported"
        raise TrustMaterialError(source, cause, "unsupported_scope")
    points: set[str] = set()
    if point.full_name is not None or point.relative_name is not None:
        points = {name.value for name in point.full_name or () if isinstance(name, x509.UniformResourceIdentifier)}
        if not points:
            raise TrustMaterialError(source, "names its distribution point by no URI", "unsupported_scope")
    return Scope(frozenset(points), point.only_contains_user_certs, point.only_contains_ca_certs)
