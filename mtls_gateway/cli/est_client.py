"""A client of EST (RFC 7030) for one enrolment or renewal: standard library, one connection for each request."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.issuance import est_bodies
from mtls_gateway.issuance.est_bodies import Credentials, UnreadableBody

_PATH: Final = "/.well-known/est/"
#: No answer of EST is longer.
_LONGEST: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Server:
    """Where to enrol, and how its own certificate is checked."""

    name: str
    port: int
    #: PEM; None: the system's CAs.
    authorities: Path | None
    #: Seconds for each of: connecting, sending, waiting for the answer.
    timeout: float
    #: Connect there instead; the name is checked all the same.
    address: str | None = None

    def __str__(self) -> str:
        return f"https://{self.name}" if self.port == 443 else f"https://{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The present certificate and its key, PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Granted:
    """The certificate, and its issuers up to the root."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]


def read_server(url: str, *, authorities: Path | None, timeout: float, address: str | None) -> Server:
    """The server of an address as the letter and the pages give it.

    Raises:
        UsageError: it is not ``https://NAME`` or ``https://NAME:PORT``.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or 443
    except ValueError:
        port = 0
    if parts.scheme != "https" or not parts.hostname or not port or parts.path.rstrip("/") or parts.username:
        raise UsageError(f"{url!r} is not https://NAME or https://NAME:PORT, as the letter or the page gives it")
    return Server(parts.hostname, port, authorities, timeout, address)


class EstClient:
    """Every method may raise StateError: one line, with the gateway's own code where it gave one."""

    def __init__(self, server: Server, certificate: ClientCertificate | None = None) -> None:
        """Of one server; ``certificate`` is shown to whoever asks for one.

        Raises:
            UsageError: the CA file or the present certificate cannot be read.
        """
        self._server = server
        self._context = _context(server, certificate)

    def authorities(self) -> list[x509.Certificate]:
        """``cacerts``: the issuing CAs and their superiors."""
        return self._read(self._ask("GET", "cacerts"))

    def enrol(self, credentials: Credentials, request: bytes, authorities: list[x509.Certificate]) -> Granted:
        """``simpleenroll`` with a PKCS#10 request in DER."""
        return self._certificate("simpleenroll", credentials, request, authorities)

    def renew(self, credentials: Credentials, request: bytes, authorities: list[x509.Certificate]) -> Granted:
        """``simplereenroll`` with the present certificate."""
        return self._certificate("simplereenroll", credentials, request, authorities)

    def _certificate(
        self, operation: str, credentials: Credentials, request: bytes, authorities: list[x509.Certificate]
    ) -> Granted:
        headers = {
            "Content-Type": est_bodies.REQUEST,
            "Content-Transfer-Encoding": "base64",
            "Authorization": est_bodies.basic(credentials),
            "X-Key-Storage": "software",
        }
        key = x509.load_der_x509_csr(request).public_key()
        for certificate in self._read(self._ask("POST", operation, est_bodies.encode(request), headers)):
            if certificate.public_key() == key:
                return Granted(certificate, tuple(self._chain(certificate, authorities)))
        raise StateError(f"{self._server}: the certificate that came back is for another key")

    def _chain(self, certificate: x509.Certificate, authorities: list[x509.Certificate]) -> list[x509.Certificate]:
        """Issuers from the certificate's own upwards."""
        chain: list[x509.Certificate] = []
        below = certificate
        while below.issuer != below.subject:
            issuer = next((one for one in authorities if _has_issued(one, below)), None)
            if issuer is None:
                raise StateError(f"{self._server}: no CA of cacerts has issued {below.subject.rfc4514_string()}")
            chain.append(issuer)
            below = issuer
        return chain

    def _read(self, body: bytes) -> list[x509.Certificate]:
        try:
            return est_bodies.read_certs_only(body)
        except UnreadableBody as error:
            raise StateError(f"{self._server}: the answer is {error}; is this the address of the letter?") from error

    def _ask(
        self, method: str, operation: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        connection = _Connection(self._server, self._context)
        try:
            connection.request(method, _PATH + operation, body, dict(headers or {}))
            response = connection.getresponse()
            content = response.read(_LONGEST + 1)
        except ssl.SSLCertVerificationError as error:
            cause = (
                f"its certificate is not trusted: {error.verify_message}; name the CA with --ca FILE if that is right"
            )
            raise StateError(f"{self._server}: {cause}") from error
        except TimeoutError as error:
            raise StateError(
                f"{self._server}: no answer in {self._server.timeout:g} s; try again, nothing is lost"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StateError(f"{self._server}: {cause}; try again, nothing is lost") from error
        finally:
            connection.close()
        if response.status != 200:
            raise StateError(f"{self._server}: {_why(response, content)}")
        if len(content) > _LONGEST:
            raise StateError(f"{self._server}: the answer is longer than {_LONGEST} octets")
        return content


class _Connection(http.client.HTTPSConnection):
    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        super().__init__(server.name, server.port, timeout=server.timeout, context=context)
        self._server = server
        self._own_context = context

    def connect(self) -> None:
        """To the server, or to where it is said to be."""
        host = self._server.address or self._server.name
        plain = socket.create_connection((host, self._server.port), self._server.timeout)
        try:
            self.sock = self._own_context.wrap_socket(plain, server_hostname=self._server.name)
        except BaseException:
            plain.close()
            raise


def _context(server: Server, certificate: ClientCertificate | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if server.authorities is None else str(server.authorities))
    except OSError as error:
        raise UsageError(f"{server.authorities}: no CA certificate in PEM: {error.strerror or error}") from error
    if certificate is not None:
        try:
            # An encrypted key would be asked for on the terminal, where nobody may be.
            context.load_cert_chain(certificate.certificate, certificate.key, password="")
        except OSError as error:
            cause = "no certificate with its key in PEM, not encrypted"
            raise UsageError(f"{certificate.certificate}: {cause}: {error.strerror or error}") from error
    return context


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _why(response: http.client.HTTPResponse, content: bytes) -> str:
    """The gateway's code and its sentence in English, or the status."""
    if response.headers.get_content_type() == "text/plain":
        lines = content.decode("utf-8", "replace").split("\n")
        if len(lines) >= 3 and lines[0].replace("_", "").isalnum():
            wait = response.headers.get("Retry-After")
            return f"{lines[0]}: {lines[2].strip()}" + (f" (wait {wait} s)" if wait else "")
    return f"answered {response.status} {response.reason} and did not say why"
