"""A CA key in a hardware security module (PKCS#11 2.40): it never leaves it, this process only has the PIN."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, lib
from pkcs11.exceptions import (
    MultipleObjectsReturned,
    NoSuchKey,
    NoSuchToken,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
)
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

from mtls_gateway.config import Pkcs11Key
from mtls_gateway.issuance.signer.key import CaPublicKey, KeyUnavailable, algorithm_of

#: RFC 8017, section 9.2, note 1: what stands before a SHA-256 digest that RSA signs.
_DIGEST_INFO_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")

KeyKind = Literal["P-256", "P-384", "RSA-3072", "RSA-4096"]


@dataclass(slots=True)
class _Login:
    """A session of a token's user, and the keys that lean on it."""

    session: Any
    pin: bytes
    keys: set[int] = field(default_factory=set)


#: By library and token. A login holds for the whole process (PKCS#11 2.40, section 5.6), whoever made it, and a second
#: one is an error: so the keys of one token share it.
_LOGINS: dict[tuple[str, str], _Login] = {}


class TokenKey:
    """A key in a token. A session that the token has ended is opened anew, once for each signature."""

    def __init__(self, settings: Pkcs11Key, pin: bytes) -> None:
        """Open the token and find the key.

        Raises:
            KeyUnavailable: library, token, PIN or key is not there or not right; says which.
        """
        self._settings = settings
        self._pin = pin
        self._place = (str(settings.module), settings.token)
        self._login: _Login | None = None
        self._open()

    @property
    def public_key(self) -> CaPublicKey:
        """Its public half, as the token has it."""
        return self._public_key

    def sign(self, digest: bytes) -> bytes:
        """The signature of ``digest``."""
        try:
            return self._sign(digest)
        except PKCS11Error:
            self._forget()
        try:
            return self._sign(digest)
        except PKCS11Error as error:
            raise KeyUnavailable(f"{self._where} does not sign: {_said(error)}") from error

    def close(self) -> None:
        """Lean on the session no longer; the last one ends it."""
        login, self._login = self._login, None
        if login is not None:
            login.keys.discard(id(self))
            if not login.keys and _LOGINS.get(self._place) is login:
                self._forget()

    @property
    def _where(self) -> str:
        return f"key {self._settings.label!r} of token {self._settings.token!r}"

    def _sign(self, digest: bytes) -> bytes:
        if self._login is None or _LOGINS.get(self._place) is not self._login:
            self._open()
        if isinstance(self._public_key, rsa.RSAPublicKey):
            return bytes(self._key.sign(_DIGEST_INFO_SHA256 + digest, mechanism=Mechanism.RSA_PKCS))
        raw = bytes(self._key.sign(digest, mechanism=Mechanism.ECDSA))
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    def _open(self) -> None:
        login = _LOGINS.get(self._place)
        if login is None:
            login = _LOGINS[self._place] = _Login(open_session(self._settings, self._pin), self._pin)
        elif login.pin != self._pin:
            raise KeyUnavailable(f"token {self._settings.token!r}: two keys of it are given different PINs")
        login.keys.add(id(self))
        self._login = login
        try:
            self._key = _only(login.session, ObjectClass.PRIVATE_KEY, self._settings, "private")
            self._public_key = _read_public(_only(login.session, ObjectClass.PUBLIC_KEY, self._settings, "public"))
            algorithm_of(self._public_key)
        except PKCS11Error as error:
            self._forget()
            raise KeyUnavailable(f"{self._where} cannot be used: {_said(error)}") from error
        except (KeyUnavailable, ValueError) as error:
            self.close()
            raise KeyUnavailable(str(error)) from error

    def _forget(self) -> None:
        """End the session, for all keys that lean on it: each opens it anew when it is next used."""
        login = _LOGINS.pop(self._place, None)
        if login is not None:
            # Else it was the token that ended it.
            with suppress(PKCS11Error):
                login.session.close()


def open_session(settings: Pkcs11Key, pin: bytes, *, writing: bool = False) -> Any:
    """A session of the token's user.

    Raises:
        KeyUnavailable: library, token or PIN is not right.
    """
    try:
        library = lib(str(settings.module))
    except (RuntimeError, OSError) as error:
        raise KeyUnavailable(f"{settings.module} is no PKCS#11 library that can be used: {error}") from error
    try:
        token = library.get_token(token_label=settings.token)
        return token.open(user_pin=pin.decode(), rw=writing)
    except NoSuchToken as error:
        raise KeyUnavailable(f"{settings.module}: there is no token {settings.token!r}") from error
    except (PinIncorrect, PinLenRange, PinInvalid, PinLocked) as error:
        cause = (
            "the PIN is locked" if isinstance(error, PinLocked) else "the PIN is not right; a few more tries lock it"
        )
        raise KeyUnavailable(f"token {settings.token!r}: {cause}") from error
    except (PKCS11Error, UnicodeDecodeError) as error:
        raise KeyUnavailable(f"token {settings.token!r} cannot be opened: {_said(error)}") from error


def generate(settings: Pkcs11Key, pin: bytes, kind: KeyKind) -> None:
    """Make a key in the token: sensitive, not extractable, for signing only.

    Raises:
        KeyUnavailable: there is a key of that label, or the token makes none.
    """
    session = open_session(settings, pin, writing=True)
    private = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.SIGN: True, Attribute.DECRYPT: False}
    common = {"store": True, "label": settings.label, "private_template": private}
    try:
        if any(True for _ in session.get_objects({Attribute.LABEL: settings.label})):
            raise KeyUnavailable(f"token {settings.token!r} has a key {settings.label!r} already; give another label")
        if kind in ("P-256", "P-384"):
            curve = encode_named_curve_parameters({"P-256": "secp256r1", "P-384": "secp384r1"}[kind])
            parameters = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
            parameters.generate_keypair(**common)
        else:
            session.generate_keypair(KeyType.RSA, int(kind[4:]), **common)
    except PKCS11Error as error:
        raise KeyUnavailable(f"token {settings.token!r} makes no key of kind {kind}: {_said(error)}") from error
    finally:
        session.close()


def _only(session: Any, object_class: ObjectClass, settings: Pkcs11Key, what: str) -> Any:
    try:
        return session.get_key(object_class=object_class, label=settings.label)
    except NoSuchKey:
        raise KeyUnavailable(f"token {settings.token!r} has no {what} key {settings.label!r}") from None
    except MultipleObjectsReturned:
        raise KeyUnavailable(f"token {settings.token!r} has several {what} keys {settings.label!r}") from None


def _read_public(key: Any) -> CaPublicKey:
    encoded = encode_rsa_public_key(key) if key.key_type is KeyType.RSA else encode_ec_public_key(key)
    read = load_der_public_key(encoded)
    if not isinstance(read, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("a CA's key is of an elliptic curve or RSA")
    return read


def _said(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
