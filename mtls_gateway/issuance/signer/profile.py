"""What our certificates contain (RFC 5280): users', and those of the CAs themselves.

A user's is for TLS clients only. Everything but the order's own content comes from the signer's configuration and the
issuer's certificate, so that an order cannot change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_gateway.issuance.orders import IntendedCertificate
from mtls_gateway.issuance.signer import der
from mtls_gateway.issuance.signer.key import Algorithm, CaPublicKey

_VERSION_3 = der.explicit(0, der.integer(2))
_EXTENSIONS = 3
#: Where an issuer's own certificate names no country.
_COUNTRY = "JP"

#: An extension and whether it is critical.
Extension = tuple[x509.ExtensionType, bool]


@dataclass(frozen=True, slots=True)
class Superior:
    """Who signs: name, key and how."""

    subject: x509.Name
    public_key: CaPublicKey
    #: What its certificate has as subjectKeyIdentifier: goes into what it signs.
    key_identifier: bytes
    algorithm: Algorithm


def subject_of(order: IntendedCertificate, issuer: x509.Name) -> x509.Name:
    """C, O, UID and CN; the country is the issuer's.

    Raises:
        ValueError: something cannot stand in a name.
    """
    countries = issuer.get_attributes_for_oid(NameOID.COUNTRY_NAME)
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, str(countries[0].value) if countries else _COUNTRY),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, order.organisation),
            x509.NameAttribute(NameOID.USER_ID, order.user_id),
            x509.NameAttribute(NameOID.COMMON_NAME, order.common_name),
        ]
    )


def user_extensions(public_key: bytes, issuer: Superior, crl_url: str) -> list[Extension]:
    """A user's: no CA, signs in TLS handshakes as a client, revoked where ``crl_url`` says."""
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (_identifier_of(public_key), False),
        (x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), False),
        (_distribution_point(crl_url), False),
    ]


def ca_extensions(
    public_key: bytes, issuer: Superior | None, *, path_length: int, crl_url: str | None = None
) -> list[Extension]:
    """A CA's; without ``issuer`` a root's. ``crl_url`` is where the issuer's CRL is published."""
    own = _identifier_of(public_key)
    extensions: list[Extension] = [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (_usage(key_cert_sign=True, crl_sign=True), True),
        (own, False),
        (x509.AuthorityKeyIdentifier(own.digest if issuer is None else issuer.key_identifier, None, None), False),
    ]
    return extensions if crl_url is None else [*extensions, (_distribution_point(crl_url), False)]


def to_be_signed(
    *,
    serial: int,
    issuer: Superior,
    subject: x509.Name,
    period: tuple[int, int],
    public_key: bytes,
    extensions: Sequence[Extension],
) -> bytes:
    """DER of a TBSCertificate; ``period`` is POSIX seconds, both inclusive, ``public_key`` a SubjectPublicKeyInfo."""
    return der.sequence(
        _VERSION_3,
        der.integer(serial),
        issuer.algorithm.identifier,
        issuer.subject.public_bytes(),
        der.sequence(der.time(period[0]), der.time(period[1])),
        subject.public_bytes(),
        public_key,
        der.explicit(_EXTENSIONS, der.sequence(*(der.extension(value, critical=hard) for value, hard in extensions))),
    )


def user_to_be_signed(order: IntendedCertificate, issuer: Superior, crl_url: str) -> bytes:
    """DER of the TBSCertificate that an order asks for.

    Raises:
        ValueError: something cannot stand in a certificate.
    """
    return to_be_signed(
        serial=order.serial,
        issuer=issuer,
        subject=subject_of(order, issuer.subject),
        period=(int(order.not_before), int(order.not_after)),
        public_key=order.public_key,
        extensions=user_extensions(order.public_key, issuer, crl_url),
    )


def assemble(to_be_signed: bytes, algorithm: Algorithm, signature: bytes) -> bytes:
    """DER of what was signed: a Certificate or a CertificateList."""
    return der.sequence(to_be_signed, algorithm.identifier, der.bit_string(signature))


def superior_of(certificate: x509.Certificate, algorithm: Algorithm) -> Superior:
    """A CA, as one who signs.

    Raises:
        ValueError: its certificate has no subjectKeyIdentifier (RFC 5280, section 4.2.1.2) or no such key.
    """
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("has a key that a CA may not have")
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        raise ValueError("has no subjectKeyIdentifier (RFC 5280, section 4.2.1.2)") from None
    return Superior(certificate.subject, key, identifier, algorithm)


def encoded(public_key: CaPublicKey) -> bytes:
    """DER of a SubjectPublicKeyInfo."""
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _identifier_of(public_key: bytes) -> x509.SubjectKeyIdentifier:
    key = load_der_public_key(public_key)
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("the key is neither of an elliptic curve nor RSA")
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _distribution_point(url: str) -> x509.CRLDistributionPoints:
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return x509.CRLDistributionPoints([point])


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
