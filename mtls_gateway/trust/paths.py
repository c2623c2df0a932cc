"""Paths through the bundle: from a certificate to an anchor.

A path is laid by name and signature. That it is a valid path (basic constraints, key usage, name constraints, path
lengths, unknown critical extensions) is OpenSSL's to say; policies are ``policies``'s. Times and revocation are the
verdict's, because they change.

Source: RFC 5280, section 6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from cryptography import x509
from OpenSSL import crypto

from mtls_gateway.trust.authority import BundledAuthority
from mtls_gateway.trust.keys import is_signed_with, weakness_of_signature
from mtls_gateway.trust.policies import PolicyFault, require_policies

Path = tuple[BundledAuthority, ...]
"""From a certificate's issuer up to an anchor; the certificate itself is not in it."""

#: Finds the authorities whose name is a certificate's issuer.
Issuers = Callable[[x509.Certificate], Iterable[BundledAuthority]]

#: X509_V_FLAG_NO_CHECK_TIME (x509_vfy.h); pyOpenSSL does not name it.
_NO_CHECK_TIME: Final = 0x200000
_LONGEST: Final = 8
#: Cross-signed and renewed CAs multiply paths; further ones than these are not looked at.
MOST: Final = 32


def laid_paths(authority: BundledAuthority, issuers: Issuers) -> tuple[Path, ...]:
    """Every path that begins with ``authority`` itself; whether it is valid depends on what comes below."""
    return tuple(islice(_laid(authority, issuers, ()), MOST))


def fault(certificate: x509.Certificate, path: Path) -> str | None:
    """What is wrong with a path that was laid for ``certificate``, but for time and revocation; None: nothing."""
    store = crypto.X509Store()
    store.add_cert(path[-1].x509)
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | crypto.X509StoreFlags.X509_STRICT | _NO_CHECK_TIME)
    between = [authority.x509 for authority in path[:-1]]
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(certificate), between).verify_certificate()
    except crypto.X509StoreContextError as error:
        return f"is on no valid path: {error}"
    downwards = [authority.certificate for authority in reversed(path[:-1])]
    try:
        require_policies(path[-1].certificate, [*downwards, certificate])
    except PolicyFault as error:
        return f"is on no valid path: {error}"
    return None


def _laid(authority: BundledAuthority, issuers: Issuers, below: Path) -> Iterator[Path]:
    if authority in below or len(below) >= _LONGEST:
        return
    path = (*below, authority)
    if authority.anchor:
        yield path
    elif weakness_of_signature(authority.certificate) is None:
        for superior in issuers(authority.certificate):
            if is_signed_with(authority.certificate, superior.certificate):
                yield from _laid(superior, issuers, path)
