"""A list's signature is looked at over its own octets, and as strictly as the library looks at it."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.trust.list_signature import is_signed_by
from tests.trust.altered_der import BIT_STRING, SEQUENCE, content, elements, encoded
from tests.trust.authority_maker import DAY, NOW, key_named, moment, name_of

RSA, OTHER_RSA = key_named("rsa root", "rsa2048"), key_named("other rsa", "rsa2048")
EC, OTHER_EC = key_named("ec root"), key_named("second")
P384 = ec.generate_private_key(ec.SECP384R1())
ED25519, ED448 = ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
KEYS = [RSA, OTHER_RSA, EC, OTHER_EC, P384, ED25519, ED448]


def made_by(key: Any, digest: Any, rsa_padding: Any = None) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(name_of("root")).last_update(moment(NOW))
    builder = builder.next_update(moment(NOW + DAY)).add_extension(x509.CRLNumber(1), False)
    more = {} if rsa_padding is None else {"rsa_padding": rsa_padding}
    return builder.sign(key, digest, **more).public_bytes(Encoding.DER)


LISTS = {
    "RSA": (RSA, made_by(RSA, hashes.SHA256())),
    "RSA over SHA-512": (RSA, made_by(RSA, hashes.SHA512())),
    "RSA-PSS": (RSA, made_by(RSA, hashes.SHA256(), PSS)),
    "ECDSA": (EC, made_by(EC, hashes.SHA256())),
    "ECDSA on P-384": (P384, made_by(P384, hashes.SHA384())),
    "Ed25519": (ED25519, made_by(ED25519, None)),
    "Ed448": (ED448, made_by(ED448, None)),
}


def both_say(der: bytes, key: Any) -> bool | None:
    """What both say of the list; None: it is none."""
    try:
        crl = x509.load_der_x509_crl(der)
    except (ValueError, x509.InvalidVersion):
        return None
    public = key.public_key()
    said = is_signed_by(crl, der, public)
    assert said == crl.is_signature_valid(public)
    return said


@pytest.mark.parametrize("kind", LISTS)
def test_it_is_signed_by_its_own_key_and_by_no_other(kind: str) -> None:
    own, der = LISTS[kind]
    assert [key for key in KEYS if both_say(der, key)] == [own]


@pytest.mark.parametrize("kind", LISTS)
def test_with_any_octet_altered_it_is_not_signed(kind: str) -> None:
    own, der = LISTS[kind]
    # How many bits of the signature's last octet are not used: the library does not look at it, whatever is signed.
    unused = len(der) - len(x509.load_der_x509_crl(der).signature) - 1
    said = []
    for place in sorted({*range(len(der))} - {unused}):
        for mask in (0x01, 0x80):
            altered = bytearray(der)
            altered[place] ^= mask
            said.append(both_say(bytes(altered), own))
    assert False in said
    assert True not in said


@pytest.mark.parametrize("other", ["RSA over SHA-512", "RSA-PSS"])
def test_the_algorithm_inside_must_be_the_one_beside_the_signature(other: str) -> None:
    """The signature alone would be good. The library takes no such list; if it did, it would not be signed."""
    _, good = LISTS["RSA"]
    crl = x509.load_der_x509_crl(good)
    signed, _, signature = elements(content(good))
    _, algorithm, _ = elements(content(LISTS[other][1]))
    altered = encoded(SEQUENCE, signed + algorithm + signature)
    assert both_say(altered, RSA) is None
    assert is_signed_by(crl, good, RSA.public_key())
    assert not is_signed_by(crl, altered, RSA.public_key())


def test_the_oldest_version_is_signed_too() -> None:
    """Without a version in front of it, which the place of the algorithm depends on."""
    signed, algorithm, _ = elements(content(LISTS["ECDSA"][1]))
    fields = [field for field in elements(content(signed)) if field[0] not in (0x02, 0xA0)]
    signed = encoded(SEQUENCE, b"".join(fields))
    assert isinstance(EC, ec.EllipticCurvePrivateKey)
    signature = EC.sign(signed, ec.ECDSA(hashes.SHA256()))
    der = encoded(SEQUENCE, signed + algorithm + encoded(BIT_STRING, b"\0" + signature))
    assert both_say(der, EC) is True
    assert both_say(der, OTHER_EC) is False
