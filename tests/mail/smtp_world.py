"""A real SMTP server (aiosmtpd) that a test can make slow, rude or absent, and a CA for its TLS."""

from __future__ import annotations

import asyncio
import email
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from mtls_gateway.clock import SystemClock


@dataclass
class SmtpServer:
    """What it got, and how it behaves; aiosmtpd's handler."""

    port: int = 0
    received: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    connections: int = 0
    #: Answers to RCPT by address, else accepted.
    recipients: dict[str, str] = field(default_factory=dict)
    #: What DATA is answered with instead of being taken.
    data: str | None = None
    #: What MAIL is answered with instead of being taken.
    sender: str | None = None
    #: Waited for before DATA is answered; the mail has been taken by then.
    gate: asyncio.Event | None = None
    #: Ends the connection where the answer to DATA would be; the mail has been taken by then.
    hang_up: bool = False
    #: Told of each mail that was taken.
    taken: Callable[[], None] = lambda: None

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.sender is not None:
            return self.sender
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.recipients.get(address)
        if answer is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data is not None:
            return self.data
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.received.append(message)
        self.envelopes.append((str(envelope.mail_from), list(envelope.rcpt_tos)))
        self.taken()
        if self.gate is not None:
            await self.gate.wait()
        if self.hang_up:
            transport: Any = server.transport
            transport.abort()
        return "250 taken"

    @property
    def subjects(self) -> list[str]:
        return [str(message["Subject"]) for message in self.received]


@asynccontextmanager
async def smtp_server(
    handler: SmtpServer | None = None,
    *,
    port: int = 0,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    account: tuple[str, str] | None = None,
) -> AsyncIterator[SmtpServer]:
    """Serve in this loop; every connection has ended when the block has."""
    handler = handler or SmtpServer()
    sessions: set[Any] = set()

    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        assert isinstance(data, LoginPassword)
        right = account is not None and (data.login, data.password) == tuple(word.encode() for word in account)
        return AuthResult(success=right, handled=False)

    def connected() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It warns of AUTH without TLS, which some tests want.
            session = SMTP(
                handler,
                hostname="mail.test",
                tls_context=starttls,
                require_starttls=starttls is not None,
                authenticator=check if account is not None else None,
                auth_required=account is not None,
                auth_require_tls=starttls is not None,
            )
        sessions.add(session)
        handler.connections += 1
        return session

    server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", port, ssl=tls)
    handler.port = server.sockets[0].getsockname()[1]
    try:
        yield handler
    finally:
        server.close()
        for session in sessions:
            if session.transport is not None:
                session.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)


class MailCa:
    """A CA for the server's certificate."""

    def __init__(self, folder: Path, name: str = "Mail CA") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._certificate(self._name, self._key.public_key(), is_ca=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def context(self, host: str, *, days: float = 1.0) -> ssl.SSLContext:
        """For a server of that name or address."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._certificate(subject, key.public_key(), host=host, days=days)
        file = self._folder / f"{host}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context

    def _certificate(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *,
        is_ca: bool = False,
        host: str | None = None,
        days: float = 1.0,
    ) -> x509.Certificate:
        now = datetime.fromtimestamp(SystemClock().now(), UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if host is not None:
            names: list[x509.GeneralName] = [
                x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())
