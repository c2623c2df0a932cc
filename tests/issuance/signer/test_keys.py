from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from mtls_gateway.config import PemKey, Pkcs11Key
from mtls_gateway.errors import ConfigurationError, GatewayError, UsageError
from mtls_gateway.issuance.key_files import PRIVATE, replace_file
from mtls_gateway.issuance.signer.key import IssuerKey, KeyUnavailable, algorithm_of, fits, is_signature
from mtls_gateway.issuance.signer.key_file import FileKey, encrypted_pem, open_file_key
from mtls_gateway.issuance.signer.key_pkcs11 import KeyKind, TokenKey, generate
from mtls_gateway.issuance.signer.secret import Secrets

from .world import MODULE, PASSPHRASE, PIN, World

#: Makes a key of a kind and opens it.
Maker = Callable[[KeyKind], IssuerKey]


@pytest.fixture
def make(either: World) -> Maker:
    def in_a_file(kind: KeyKind) -> IssuerKey:
        made: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
        if kind.startswith("RSA"):
            made = rsa.generate_private_key(65_537, int(kind[4:]))
        else:
            made = ec.generate_private_key(ec.SECP256R1() if kind == "P-256" else ec.SECP384R1())
        path = either.folder / f"{kind}.pem"
        replace_file(path, encrypted_pem(made, PASSPHRASE), PRIVATE)
        source = f"file:{either.secret(PASSPHRASE)}"
        return open_file_key(PemKey(kind="pem", file=path, passphrase=source), Secrets(may_prompt=False))

    def in_the_token(kind: KeyKind) -> IssuerKey:
        settings = _token_key(kind)
        generate(settings, PIN, kind)
        return TokenKey(settings, PIN)

    return in_a_file if either.token is None else in_the_token


def _token_key(label: str, token: str = "signer", module: Path = MODULE) -> Pkcs11Key:
    return Pkcs11Key(kind="pkcs11", module=module, token=token, label=label, pin="prompt")


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-3072"])
def test_a_key_signs_what_its_public_half_accepts(make: Maker, kind: KeyKind) -> None:
    key = make(kind)
    algorithm = algorithm_of(key.public_key)
    digest = algorithm.digest_of(b"certificate")
    assert is_signature(key.public_key, key.sign(digest), digest)
    assert not is_signature(key.public_key, key.sign(digest), algorithm.digest_of(b"another"))
    assert fits(key, key.public_key)
    key.close()


def test_a_key_that_was_closed_is_opened_again(make: Maker) -> None:
    key = make("P-256")
    key.close()
    digest = algorithm_of(key.public_key).digest_of(b"x")
    assert is_signature(key.public_key, key.sign(digest), digest)
    key.close()


def test_a_key_does_not_fit_anothers_certificate(make: Maker) -> None:
    key = make("P-256")
    assert not fits(key, ec.generate_private_key(ec.SECP256R1()).public_key())
    key.close()


# --- files --------------------------------------------------------------------------------------
def _opened(path: Path, source: str | None) -> FileKey:
    settings = PemKey(kind="pem", file=path, passphrase=source, unencrypted=source is None)
    return open_file_key(settings, Secrets(may_prompt=False))


def _signs(key: FileKey) -> bool:
    return fits(key, key.public_key)


def _written(world: World, octets: bytes, mode: int = PRIVATE) -> Path:
    path = world.folder / "key.pem"
    replace_file(path, octets, mode)
    return path


def _plain(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_key_in_the_clear_is_refused_unless_a_setting_says_so(world: World) -> None:
    path = _written(world, _plain(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(KeyUnavailable, match=r"no encrypted PKCS#8 key in PEM; encrypt it: openssl pkcs8"):
        _opened(path, f"file:{world.secret(PASSPHRASE)}")
    assert _signs(_opened(path, None))


def test_a_key_of_the_old_format_is_not_taken_for_an_encrypted_one(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(PASSPHRASE))
    with pytest.raises(KeyUnavailable, match="no encrypted PKCS#8"):
        _opened(_written(world, octets), f"file:{world.secret(PASSPHRASE)}")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_may_read_is_refused(world: World, mode: int) -> None:
    octets = encrypted_pem(ec.generate_private_key(ec.SECP256R1()), PASSPHRASE)
    with pytest.raises(KeyUnavailable, match="may be read by others; run: chmod 0600"):
        _opened(_written(world, octets, mode), f"file:{world.secret(PASSPHRASE)}")


def test_a_passphrase_that_others_may_read_is_refused(world: World) -> None:
    path = _written(world, encrypted_pem(ec.generate_private_key(ec.SECP256R1()), PASSPHRASE))
    secret = world.secret(PASSPHRASE)
    secret.chmod(0o644)
    with pytest.raises(KeyUnavailable, match=r"secret-\d+ may be read by others"):
        _opened(path, f"file:{secret}")


@pytest.mark.parametrize(
    ("octets", "cause"),
    [
        (b"", "no encrypted PKCS#8"),
        (b"-----BEGIN ENCRYPTED PRIVATE" + b" KEY-----\nrubbish\n-----END ENCRYPTED PRIVATE KEY-----\n", "decrypted"),
        (encrypted_pem(ec.generate_private_key(ec.SECP256R1()), b"another passphrase"), "is the passphrase right"),
        (encrypted_pem(ec.generate_private_key(ec.SECP521R1()), PASSPHRASE), "P-256 or P-384, or RSA of at least 3072"),
        (encrypted_pem(rsa.generate_private_key(65_537, 2_048), PASSPHRASE), "P-256 or P-384, or RSA of at least 3072"),
        (
            ed25519.Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE)
            ),
            "elliptic curve or RSA",
        ),
    ],
)
def test_what_is_no_key_of_a_ca_is_refused(world: World, octets: bytes, cause: str) -> None:
    with pytest.raises(KeyUnavailable, match=cause) as refused:
        _opened(_written(world, octets), f"file:{world.secret(PASSPHRASE)}")
    assert "key.pem" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_passphrase_comes_from_systemds_credentials(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _written(world, encrypted_pem(ec.generate_private_key(ec.SECP256R1()), PASSPHRASE))
    replace_file(world.folder / "ca-key", PASSPHRASE, 0o400)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(UsageError, match=r"not given credentials by systemd; LoadCredentialEncrypted=ca-key:FILE"):
        _opened(path, "credential:ca-key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(world.folder))
    assert _signs(_opened(path, "credential:ca-key"))


def test_a_passphrase_comes_from_a_descriptor(world: World) -> None:
    path = _written(world, encrypted_pem(ec.generate_private_key(ec.SECP256R1()), PASSPHRASE))
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE + b"\n")
    os.close(writing)
    assert _signs(_opened(path, f"fd:{reading}"))
    with pytest.raises(UsageError, match=f"fd:{reading} cannot be read"):
        _opened(path, f"fd:{reading}")


@pytest.mark.parametrize("source", ["", "env:X", "fd:0", "fd:x", "credential:../x", "credential:..", "file:", "secret"])
def test_no_other_source_is_taken(world: World, source: str) -> None:
    world.begin()
    world.issuers[0]["key"]["passphrase"] = source
    with pytest.raises(ConfigurationError, match=re.escape("none of credential:NAME, file:PATH, fd:NUMBER")):
        world.configuration()


@pytest.mark.parametrize("source", ["prompt", "fd:3"])
def test_serve_cannot_ask_for_a_passphrase(world: World, source: str) -> None:
    world.begin()
    world.issuers[0]["key"]["passphrase"] = source
    with pytest.raises(ConfigurationError, match="serve can neither prompt nor keep a descriptor"):
        world.configuration()
    world.settings["role"] = False
    world.configuration()


# --- tokens -------------------------------------------------------------------------------------
@pytest.mark.needs("softhsm2")
@pytest.mark.parametrize(
    ("settings", "pin", "cause"),
    [
        (_token_key("nothing"), PIN, "token 'signer' has no private key 'nothing'"),
        (_token_key("there", token="nowhere"), PIN, "there is no token 'nowhere'"),
        (_token_key("there"), b"0000000000", "the PIN is not right"),
        (_token_key("there", module=Path("/usr/lib/nothing.so")), PIN, "no PKCS#11 library that can be used"),
        (_token_key("there", module=Path("/etc/hostname")), PIN, "no PKCS#11 library that can be used"),
    ],
)
def test_what_is_wrong_with_a_token_is_said(token_world: World, settings: Pkcs11Key, pin: bytes, cause: str) -> None:
    generate(_token_key("there"), PIN, "P-256")
    with pytest.raises(KeyUnavailable, match=cause):
        TokenKey(settings, pin)
    TokenKey(_token_key("there"), PIN).close()


@pytest.mark.needs("softhsm2")
def test_a_key_in_a_token_cannot_be_taken_out_and_is_not_made_over_another(token_world: World) -> None:
    import pkcs11
    from pkcs11 import Attribute, ObjectClass

    generate(_token_key("ca"), PIN, "P-256")
    with pytest.raises(KeyUnavailable, match="has a key 'ca' already"):
        generate(_token_key("ca"), PIN, "P-256")
    token = pkcs11.lib(str(MODULE)).get_token(token_label="signer")
    with token.open(user_pin=PIN.decode()) as session:
        key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="ca")
        assert key[Attribute.SENSITIVE]
        assert not key[Attribute.EXTRACTABLE]
        with pytest.raises(pkcs11.PKCS11Error):
            key[Attribute.VALUE]


@pytest.mark.needs("softhsm2")
def test_a_session_that_the_token_has_ended_is_opened_anew(token_world: World) -> None:
    import pkcs11

    generate(_token_key("ca"), PIN, "P-256")
    key = TokenKey(_token_key("ca"), PIN)
    pkcs11.lib(str(MODULE)).reinitialize()
    digest = algorithm_of(key.public_key).digest_of(b"x")
    assert is_signature(key.public_key, key.sign(digest), digest)
    key.close()


@pytest.mark.needs("softhsm2")
def test_the_keys_of_one_token_share_its_login(token_world: World) -> None:
    for label in ("one", "two"):
        generate(_token_key(label), PIN, "P-256")
    one, two = TokenKey(_token_key("one"), PIN), TokenKey(_token_key("two"), PIN)
    with pytest.raises(KeyUnavailable, match="two keys of it are given different PINs"):
        TokenKey(_token_key("one"), b"0000000000")
    one.close()
    assert fits(two, two.public_key)
    assert fits(one, one.public_key)
    two.close()
    one.close()


def test_every_error_of_a_key_is_one_for_people() -> None:
    assert issubclass(KeyUnavailable, GatewayError)
