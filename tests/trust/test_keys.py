"""Weak keys and signatures, and who has signed a certificate."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.trust.keys import is_signed_with, weakness_of_key, weakness_of_signature
from tests.trust.altered_der import with_sha_1
from tests.trust.authority_maker import Ca, key_named


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65_537, 2_048),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa-2048", "p-256", "p-384", "p-521", "ed25519"],
)
def test_keys_of_today_are_strong(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
) -> None:
    assert weakness_of_key(key.public_key()) is None


def test_weak_keys_are_named() -> None:
    assert weakness_of_key(rsa.generate_private_key(65_537, 1_024).public_key()) == "its RSA key has only 1024 bits"
    assert weakness_of_key(ec.generate_private_key(ec.SECP224R1()).public_key()) == "its key is on the curve secp224r1"
    assert weakness_of_key(ec.generate_private_key(ec.SECP256K1()).public_key()) == "its key is on the curve secp256k1"
    assert weakness_of_key(dsa.generate_private_key(2_048).public_key()) == "its key is of a kind that is not supported"


def test_sha_1_is_too_weak_to_sign_with() -> None:
    key = key_named("rsa root", "rsa2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    root = Ca.root("root", key=key)
    leaf = root.leaf()
    assert weakness_of_signature(leaf) is None
    weak = x509.load_der_x509_certificate(with_sha_1(leaf.public_bytes(Encoding.DER), key))
    assert weakness_of_signature(weak) == "it is signed over sha1"
    assert weakness_of_signature(x509.load_der_x509_crl(with_sha_1(root.crl(), key))) == "it is signed over sha1"


def test_a_certificate_is_signed_by_name_and_key() -> None:
    root, other = Ca.root("root"), Ca.root("other")
    namesake = Ca.root("root", key=key_named("another"))
    leaf = root.leaf()
    assert is_signed_with(leaf, root.certificate)
    assert not is_signed_with(leaf, other.certificate)
    assert not is_signed_with(leaf, namesake.certificate)
    assert not is_signed_with(leaf, leaf)
