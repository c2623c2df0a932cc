"""The TLS contexts: one for each site, and one that makes a browser ask for another certificate.

Contexts are built before the workers are forked, so that all workers of a generation share their
ticket keys and a session resumes on any of them. Every context has ticket keys and a session id
context of its own: what was taken on one host resumes on no other.

No certificate is trusted here. The callback accepts whatever a client shows, OpenSSL proves that the
client holds the key, and ``trust`` judges: only so can a bad certificate end in a page (clause A.2).
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from OpenSSL import SSL, crypto

from mtls_gateway.config import Configuration, Host
from mtls_gateway.errors import ConfigurationError
from mtls_gateway.model import PeerCertificate, Site
from mtls_gateway.wire.tls_connection import ask_for_certificate, send_in_one_call, was_resumed

if TYPE_CHECKING:
    from mtls_gateway.wire.gate import Gate

_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
#: TLS 1.3, in the order of IPA's guideline (TLS 暗号設定ガイドライン); the first is also the cheapest.
_SUITES = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


class AskingConnection(SSL.Connection):
    """A connection of one of the two asking contexts: pyOpenSSL's own, whose callback knows whom it is for.

    These are rare, and ``wire.tls_connection`` need not know of them. Says what that says of a finished handshake.
    """

    def __init__(self, context: SSL.Context, connected: socket.socket, address: str, gate: Gate) -> None:
        super().__init__(context, connected)
        self.set_accept_state()
        self.set_app_data((address, gate))

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake resumed an earlier session."""
        return was_resumed(self._ssl)

    def peer_certificate(self) -> bytes | None:
        """The DER encoding of the certificate whose key the peer has proven to hold; None: it showed none."""
        shown = self.get_peer_certificate()
        return None if shown is None else crypto.dump_certificate(crypto.FILETYPE_ASN1, shown)

    def version(self) -> str:
        """``TLSv1.3`` or ``TLSv1.2``."""
        return self.get_protocol_version_name()

    def cipher(self) -> str:
        """The cipher suite's name; "" before one is agreed on."""
        return self.get_cipher_name() or ""


@dataclass(frozen=True, slots=True)
class Contexts:
    """The contexts of a generation."""

    public: SSL.Context
    certificate: SSL.Context
    #: For a peer that asked to choose another certificate: resumes nothing, and alerts on the unwanted one.
    asking: SSL.Context
    #: The same for a peer that chose to show none: alerts on that too.
    requiring: SSL.Context

    def of(self, site: Site) -> SSL.Context:
        """The context of a site."""
        return self.public if site is Site.PUBLIC else self.certificate


def build_contexts(configuration: Configuration, authorities: Sequence[x509.Certificate | crypto.X509]) -> Contexts:
    """Build every context; ``authorities`` are the CAs to be named to browsers.

    Raises:
        ConfigurationError: a certificate or key cannot be used; names the file and the key.
    """
    public = _site_context(configuration, Site.PUBLIC)
    certificate = _site_context(configuration, Site.CERTIFICATE)
    asking = _site_context(configuration, Site.CERTIFICATE)
    requiring = _site_context(configuration, Site.CERTIFICATE)
    for authority in authorities:
        named = authority.to_cryptography() if isinstance(authority, crypto.X509) else authority
        for context in (certificate, asking, requiring):
            context.add_client_ca(named)
    for context in (certificate, asking, requiring):
        # What a client sends besides its own certificate is never used, but OpenSSL would verify every signature of it:
        # 22 keys of 16,384 bits cost it 0.13 s per handshake.
        context.set_verify_depth(0)
    ask_for_certificate(certificate, _accept_for_judgement)
    for context in (asking, requiring):
        # With a session that can be resumed the browser would never ask.
        context.set_options(SSL.OP_NO_TICKET)
    asking.set_verify(SSL.VERIFY_PEER, _accept_unless_unwanted)
    requiring.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept_unless_unwanted)
    return Contexts(public=public, certificate=certificate, asking=asking, requiring=requiring)


def _accept_for_judgement() -> bool:
    return True


def _accept_unless_unwanted(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    if depth != 0:
        return True
    address, gate = connection.get_app_data()
    shown = PeerCertificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))
    return not gate.is_unwanted(address, shown)


def _site_context(configuration: Configuration, site: Site) -> SSL.Context:
    host: Host = configuration.public if site is Site.PUBLIC else configuration.certificate
    tls = configuration.tls
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_VERSIONS[tls.minimum])
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    # An idle connection keeps no record buffers.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    send_in_one_call(context)
    # Stateless tickets only: a cache in one worker would not serve another.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if tls.session_seconds:
        context.set_timeout(tls.session_seconds)
    else:
        context.set_options(SSL.OP_NO_TICKET)
    context.set_tls13_ciphersuites(_SUITES)
    context.set_session_id(hashlib.sha256(f"mtls-gateway {site.value} {host.authority}".encode()).digest())
    try:
        context.set_cipher_list(tls.ciphers.encode())
    except SSL.Error as error:
        raise ConfigurationError("configuration", "tls.ciphers", "no cipher of this list is known") from error
    _load_key_pair(context, host, site)
    return context


def _load_key_pair(context: SSL.Context, host: Host, site: Site) -> None:
    key = f"{site.value}.certificate"
    try:
        context.use_certificate_chain_file(str(host.certificate))
    except SSL.Error as error:
        raise ConfigurationError(str(host.certificate), key, "is missing or no PEM certificate chain") from error
    try:
        context.use_privatekey_file(str(host.key))
        context.check_privatekey()
    except SSL.Error as error:
        cause = f"is missing, no PEM private key, or not the key of {host.certificate}"
        raise ConfigurationError(str(host.key), f"{site.value}.key", cause) from error
