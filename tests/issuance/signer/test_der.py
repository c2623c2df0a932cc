from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.issuance.orders import IntendedCertificate, RevokedEntry
from mtls_gateway.issuance.signer import der
from mtls_gateway.issuance.signer.crl import CrlDraft, CrlHead, CrlLimits
from mtls_gateway.issuance.signer.issuing import IssuingCa
from mtls_gateway.issuance.signer.key import algorithm_of
from mtls_gateway.issuance.signer.key_file import FileKey
from mtls_gateway.issuance.signer.profile import subject_of, superior_of, user_extensions, user_to_be_signed

from .world import CRL_URL, NOW, World, public_key


def _issuer(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> IssuingCa:
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "JP"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "信用組合"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "Issuing CA"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.fromtimestamp(NOW, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + 1e9, UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    superior = superior_of(certificate, algorithm_of(key.public_key()))
    return IssuingCa("issuing", True, certificate, (), CRL_URL, superior, FileKey(key))


KEYS: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "RSA-3072": rsa.generate_private_key(65_537, 3_072),
}
ISSUERS = {name: _issuer(key) for name, key in KEYS.items()}
HASHES: dict[str, hashes.SHA256 | hashes.SHA384] = {
    "P-256": hashes.SHA256(),
    "P-384": hashes.SHA384(),
    "RSA-3072": hashes.SHA256(),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("last", [NOW + 1.0, 2_524_607_999.0, 2_524_608_000.0])
def test_a_certificate_is_put_together_as_another_library_would(kind: str, last: float) -> None:
    issuer = ISSUERS[kind]
    for serial in (1, 127, 128, 255, 256, (1 << 159) - 1, x509.random_serial_number()):
        order = IntendedCertificate(serial, "taro", "山田 太郎", "株式会社" * 16, NOW, last, public_key())
        key = load_der_public_key(order.public_key)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        builder = (
            x509.CertificateBuilder()
            .serial_number(serial)
            .issuer_name(issuer.certificate.subject)
            .subject_name(subject_of(order, issuer.certificate.subject))
            .public_key(key)
            .not_valid_before(datetime.fromtimestamp(NOW, UTC))
            .not_valid_after(datetime.fromtimestamp(last, UTC))
        )
        for value, critical in user_extensions(order.public_key, issuer.superior, CRL_URL):
            builder = builder.add_extension(value, critical=critical)
        theirs = builder.sign(KEYS[kind], HASHES[kind])
        assert user_to_be_signed(order, issuer.superior, CRL_URL) == theirs.tbs_certificate_bytes
        ours = x509.load_der_x509_certificate(issuer.sign(theirs.tbs_certificate_bytes))
        ours.verify_directly_issued_by(issuer.certificate)


@pytest.mark.parametrize("kind", KEYS)
def test_a_crl_is_put_together_as_another_library_would(kind: str, world: World) -> None:
    issuer = ISSUERS[kind]
    entries = [
        RevokedEntry(1, 0, "keyCompromise"),
        RevokedEntry(128, NOW, "unspecified"),
        RevokedEntry((1 << 159) + 5, NOW - 1, "superseded"),
        RevokedEntry((1 << 160) - 1, NOW, "privilegeWithdrawn"),
    ]
    for some in ([], entries[:1], entries):
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(datetime.fromtimestamp(NOW, UTC))
            .next_update(datetime.fromtimestamp(NOW + 60, UTC))
            .add_extension(x509.AuthorityKeyIdentifier(issuer.superior.key_identifier, None, None), critical=False)
            .add_extension(x509.CRLNumber(130), critical=False)
        )
        for entry in some:
            # Their builder takes serials of 159 bits only; others' CRLs have longer ones.
            if entry.serial >= 1 << 159:
                break
            one = x509.RevokedCertificateBuilder().serial_number(entry.serial)
            one = one.revocation_date(datetime.fromtimestamp(max(entry.at, 0), UTC))
            if entry.reason != "unspecified":
                one = one.add_extension(x509.CRLReason(x509.ReasonFlags(entry.reason)), critical=False)
            builder = builder.add_revoked_certificate(one.build())
        short = [entry for entry in some if entry.serial < 1 << 159]
        draft = CrlDraft(
            CrlHead("issuing", 130, int(NOW), int(NOW) + 60), issuer, CrlLimits(300, 3600, 10), world.folder
        )
        draft.add(short)
        signature = issuer.key.sign(draft.digest())
        ours = x509.load_der_x509_crl(b"".join(draft.finished(signature)))
        draft.close()
        assert ours.tbs_certlist_bytes == builder.sign(KEYS[kind], HASHES[kind]).tbs_certlist_bytes
        assert ours.is_signature_valid(issuer.superior.public_key)


@given(st.integers(min_value=0, max_value=1 << 200))
def test_integers_are_read_back(number: int) -> None:
    encoded = der.integer(number)
    assert encoded[0] == 2
    assert encoded[1] == len(encoded) - 2
    assert int.from_bytes(encoded[2:], "big", signed=True) == number


@pytest.mark.parametrize("length", [0, 127, 128, 255, 256, 65_535, 65_536, 1 << 24])
def test_lengths_are_in_the_shortest_form(length: int) -> None:
    encoded = der.sequence_header(length)
    if length < 128:
        assert encoded == bytes([0x30, length])
    else:
        octets = encoded[2:]
        assert encoded[1] == 0x80 | len(octets)
        assert int.from_bytes(octets, "big") == length
        assert octets[0] != 0


@pytest.mark.parametrize("oid", ["1.2.840.10045.4.3.2", "2.5.29.20", "2.5.29.35", "1.3.6.1.5.5.7.3.2", "2.999.1"])
def test_object_identifiers_are_as_openssl_encodes_them(oid: str) -> None:
    from asn1crypto.core import ObjectIdentifier  # type: ignore[import-untyped]

    assert der.object_identifier(x509.ObjectIdentifier(oid)) == ObjectIdentifier(oid).dump()
