"""One worker's side of the gate with everything real around it: CA, certificates, CRL, database, connections."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Configuration, validate_configuration
from mtls_gateway.model import ChangeKind, PeerCertificate, Site
from mtls_gateway.signin.follow import Follower
from mtls_gateway.signin.gate import Gate
from mtls_gateway.signin.knowledge import Knowledge
from mtls_gateway.signin.visitor import Visitor
from mtls_gateway.store.opening import Store
from mtls_gateway.wire.gate import Admission, Peer, RequestHead
from mtls_gateway.wire.head import HeadReader
from mtls_gateway.wire.live import Live
from tests.signin.revocation import Lists
from tests.signin.rows import SECRET, START, open_rows

DAY = 86_400.0
EDGE = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0"


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


class BankCa:
    """A CA on P-256 with the issuer's name of ``rows.ISSUER``."""

    def __init__(self, common_name: str = "Demo Issuing CA") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Demo Shinkumi"),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = (
            self._builder(self.name, self.key.public_key(), 1 << 64, START - DAY, START + 3_650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, serial: int, begins: float, ends: float
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(_moment(begins))
            .not_valid_after(_moment(ends))
        )

    def issue(self, serial: int, ends: float = START + 365 * DAY, begins: float = START - DAY) -> PeerCertificate:
        """A user's certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"user {serial}")])
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            self._builder(subject, key.public_key(), serial, begins, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(identifier, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return PeerCertificate(certificate.public_bytes(serialization.Encoding.DER))

    def crl(self, number: int, revoked: list[int], now: float) -> bytes:
        """A full CRL in DER, good for ten days."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(_moment(now - 60))
            .next_update(_moment(now + 10 * DAY))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for serial in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_moment(now - 60))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Connection:
    """An open connection that was admitted with some keys; remembers why it was cut."""

    def __init__(self, live: Live, bound: tuple[Hashable, ...]) -> None:
        self.causes: list[str] = []
        self._live = live
        self._bound = bound
        live.hold(self, bound)

    def cut(self, cause: str) -> None:
        self.causes.append(cause)
        self._live.release(self, self._bound)


class World:
    """See the module."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self.directory = directory
        self.clock = ManualClock(START)
        self.ca = BankCa()
        (directory / "ca.pem").write_bytes(self.ca.certificate.public_bytes(serialization.Encoding.PEM))
        self.crl_file = directory / "ca.crl"
        self.crl_file.write_bytes(self.ca.crl(1, [], START))
        self.configuration = self._configure(settings)
        self.lists = Lists(self.configuration, self.clock)
        self.live = Live()
        self.reader = HeadReader(self.configuration.limits)
        self.store: Store
        self.knowledge: Knowledge
        self.gate: Gate
        self.follower: Follower

    def _configure(self, settings: dict[str, Any]) -> Configuration:
        raw: dict[str, Any] = {
            "state": "state",
            "public": {"name": "bank.example", "listen": ["127.0.0.1:443"], "certificate": "p.pem", "key": "p.key"},
            "certificate": {
                "name": "cert.bank.example",
                "listen": ["127.0.0.1:443"],
                "certificate": "c.pem",
                "key": "c.key",
            },
            "trust": {
                "authorities": [{"name": "demo", "certificate": "ca.pem", "crls": [{"source": str(self.crl_file)}]}]
            },
            "legacy": {
                "backends": ["http://127.0.0.1:8080"],
                "session_cookies": ["JSESSIONID"],
                "guarded": ["/login", "**/j_security_check"],
                "public_paths": ["/static/**"],
                "login": {
                    "kind": "form",
                    "page": "/login",
                    "user_field": "user",
                    "password_field": "password",
                    "success": {"status": [302]},
                },
                "sign_out": {"path": "/logout", "watched": ["/logout"]},
            },
        }
        for path, value in settings.items():
            *parents, key = path.split(".")
            table = raw
            for parent in parents:
                table = table.setdefault(parent, {})
            table[key] = value
        (self.directory / "state").mkdir(exist_ok=True)
        return validate_configuration(raw, self.directory / "gateway.toml")

    async def open(self) -> None:
        """Open the database and start a worker on it."""
        self.store = await open_rows(self.directory, self.clock)
        await self.lists.prepare()
        self.make_worker()
        await self.follower.start()

    def make_worker(self) -> None:
        """Another worker, which knows nothing yet."""
        self.knowledge = Knowledge(self.configuration, self.store.worker, self.clock)
        self.gate = Gate(self.configuration, self.lists.judge, self.knowledge, SECRET, self.clock)
        self.follower = Follower(
            self.configuration, self.store.worker, self.gate, self.live, self.lists.take, self.clock
        )

    def connect(self, certificate: PeerCertificate | None, address: str = "127.0.0.1") -> Visitor:
        """A connection to the certificate host."""
        return self.gate.greet(Peer(Site.CERTIFICATE, address, 50_000, certificate, "TLSv1.3", "TLS_AES", False))

    def connect_public(self, address: str = "127.0.0.1") -> Visitor:
        """A connection to the public host."""
        return self.gate.greet(Peer(Site.PUBLIC, address, 50_000, None, "TLSv1.3", "TLS_AES", False))

    def head(
        self,
        target: bytes,
        *,
        method: bytes = b"GET",
        cookie: bytes = b"",
        html: bool = True,
        agent: bytes = EDGE,
        fields: bytes = b"",
    ) -> RequestHead:
        """A request's head as ``wire`` reads it; ``fields`` are more lines of it."""
        octets = b"%b %b HTTP/1.1\r\nHost: h\r\nAccept: %b\r\nUser-Agent: %b\r\n" % (
            method,
            target,
            b"text/html,*/*" if html else b"*/*",
            agent,
        )
        if cookie:
            octets += b"Cookie: %b\r\n" % cookie
        return self.reader.read(octets + fields + b"\r\n", b"h")

    async def ask(self, visitor: Visitor, target: bytes, **request: Any) -> Admission:
        """What the gate answers, whether at once or later."""
        answer = visitor.admit(self.head(target, **request))
        return await answer if inspect.isawaitable(answer) else answer

    def hold(self, bound: tuple[Hashable, ...]) -> Connection:
        """What ``wire`` does with an admitted connection."""
        return Connection(self.live, bound)

    async def publish_crl(self, number: int, revoked: list[int]) -> None:
        """What the clerk does with a new CRL."""
        self.crl_file.write_bytes(self.ca.crl(number, revoked, self.clock.now()))
        self.clock.advance(self.configuration.trust.authorities[0].crls[0].refresh)
        generation = await self.lists.compile()
        await self.store.changes.announce(ChangeKind.REVOCATION, str(generation))
