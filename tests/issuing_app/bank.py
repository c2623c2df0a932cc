"""A bank's enrolment interface for the issuing app to meet, which can be as awkward as networks and proxies are.

It keeps to the interface (RFC 7030, RFC 8951) and gives out real certificates; ``plan`` says what goes wrong with
which connection. Threads and blocking sockets, so that an answer can be torn at any octet.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
import secrets
import socket
import ssl
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PUBLIC_HOST = "bank.localhost"
CERTIFICATE_HOST = "cert.bank.localhost"
CODE = "K7QF-2M9T-A3CD-WXYZ-999Z"
HUGE_OCTETS = 10 * 1024 * 1024
SYMBOLS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def with_check_symbol(nineteen: str) -> str:
    """A whole enrolment code out of its first nineteen symbols, printed in groups of four."""
    total = sum(place * SYMBOLS.index(symbol) for place, symbol in enumerate(nineteen, 1))
    whole = nineteen + SYMBOLS[total % len(SYMBOLS)]
    return "-".join(whole[start : start + 4] for start in range(0, 20, 4))


class Fault(enum.Enum):
    """What goes wrong with one connection."""

    CUT_AT_ONCE = enum.auto()
    CUT_IN_HANDSHAKE = enum.auto()
    CUT_AFTER_HEAD = enum.auto()
    CUT_BEFORE_ISSUING = enum.auto()
    CUT_AFTER_ISSUING = enum.auto()
    CUT_IN_ANSWER_HEAD = enum.auto()
    CUT_IN_ANSWER_BODY = enum.auto()
    CUT_WITHOUT_LENGTH = enum.auto()
    OTHER_CERTIFICATE = enum.auto()
    OTHER_NAME = enum.auto()
    EXPIRED_CERTIFICATE = enum.auto()
    PROXY_PAGE = enum.auto()
    PROXY_ERROR_PAGE = enum.auto()
    REDIRECT = enum.auto()
    HUGE_ANSWER = enum.auto()
    HUGE_HEAD = enum.auto()
    NOT_BASE64 = enum.auto()
    ANOTHER_KEYS_CERTIFICATE = enum.auto()
    ANOTHER_BANKS_CERTIFICATE = enum.auto()
    HELD = enum.auto()


@dataclass(frozen=True)
class Refusal:
    """An answer with a stable code, as the interface has it."""

    status: int
    code: str
    japanese: str = "受け付けできませんでした。"
    english: str = "This was not accepted."
    retry_after: int = 0


class Torn(Exception):
    """The connection ends here, as planned."""


@dataclass
class Authority:
    """A CA with its key."""

    name: str
    issuer: Authority | None = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        above = self.issuer or self
        self.certificate = _signed(
            _builder(self.subject, self.key.public_key(), above.subject, days=3650)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(ca=True), critical=True),
            above.key,
        )

    def issue(self, subject: str, public_key: object, *, days: int = 365) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        return _signed(
            _builder(name, public_key, self.subject, days=days)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False),
            self.key,
        )

    def serve(self, host: str, folder: Path, file: str, *, days: int = 365) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = _signed(
            _builder(name, key.public_key(), self.subject, days=days)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False),
            self.key,
        )
        certificate_path, key_path = folder / f"{file}.crt", folder / f"{file}.secret"
        certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate_path, key_path


def _builder(subject: x509.Name, key: object, issuer: x509.Name, *, days: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    start = min(now, now + dt.timedelta(days=days)) - dt.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def wine_can_verify(certificate: x509.Certificate) -> bool:
    """Wine 8 takes an ECDSA signature for wrong when r or s begins with a zero octet (one in 128)."""
    return all(number.bit_length() > 248 for number in decode_dss_signature(certificate.signature))


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    while not wine_can_verify(certificate := builder.sign(key, hashes.SHA256())):
        pass
    return certificate


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    client: bytes | None


class Bank:
    """Listens on a port of 127.0.0.1 as both hosts until it is closed."""

    def __init__(self, folder: Path) -> None:
        # A name of its own each time: of two roots with one name Wine takes either.
        mark = secrets.token_hex(4)
        self.web = Authority(f"Test web root {mark}")
        self.root = Authority(f"Test bank root {mark}")
        self.issuing = Authority(f"Test bank issuing CA {mark}", self.root)
        self.other = Authority("Somebody else")
        #: user ID, code and password that are right.
        self.users = {"taro": (CODE, "ひみつ:secret")}
        #: One fault for each connection to come; empty: nothing goes wrong.
        self.plan: deque[Fault | Refusal | None] = deque()
        self.issued: list[x509.Certificate] = []
        self.requests: list[Request] = []
        self.superseded: set[bytes] = set()
        self.released = threading.Event()
        self._enrolled: dict[tuple[str, bytes], bytes] = {}
        self._contexts = self._make_contexts(folder)
        self.web_root = folder / "web-root.der"
        self.web_root.write_bytes(self.web.certificate.public_bytes(Encoding.DER))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.names_certificate_host = True
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    # --- connections -------------------------------------------------------------------------------------------

    def _make_contexts(self, folder: Path) -> dict[str, ssl.SSLContext]:
        files = {
            "public": self.web.serve(PUBLIC_HOST, folder, "public"),
            "certificate": self.web.serve(CERTIFICATE_HOST, folder, "certificate"),
            "other": self.other.serve(PUBLIC_HOST, folder, "other"),
            "name": self.web.serve("elsewhere.localhost", folder, "name"),
            "expired": self.web.serve(PUBLIC_HOST, folder, "expired", days=-1),
        }
        contexts = {}
        for name, (certificate, key) in files.items():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            contexts[name] = context
        authorities = "".join(
            authority.certificate.public_bytes(Encoding.PEM).decode() for authority in (self.root, self.issuing)
        )
        contexts["certificate"].verify_mode = ssl.CERT_OPTIONAL
        # The tests' keys are short, see key_makers_test.c.
        contexts["certificate"].set_ciphers("DEFAULT@SECLEVEL=1")
        contexts["certificate"].load_verify_locations(cadata=authorities)
        return contexts

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            with self._lock:
                fault = self.plan.popleft() if self.plan else None
            thread = threading.Thread(target=self._serve, args=(connection, fault), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, fault: Fault | Refusal | None) -> None:
        try:
            if isinstance(fault, Fault) and fault.name.startswith("CUT"):
                # A reset, not a polite end.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with connection:
                if fault is Fault.CUT_AT_ONCE:
                    raise Torn
                if fault is Fault.CUT_IN_HANDSHAKE:
                    connection.recv(64)
                    raise Torn
                with self._context(connection, fault).wrap_socket(connection, server_side=True) as secured:
                    self._exchange(secured, fault)
        except (Torn, OSError):
            return

    def _context(self, connection: socket.socket, fault: Fault | Refusal | None) -> ssl.SSLContext:
        chosen = {
            Fault.OTHER_CERTIFICATE: "other",
            Fault.OTHER_NAME: "name",
            Fault.EXPIRED_CERTIFICATE: "expired",
        }
        if isinstance(fault, Fault) and fault in chosen:
            return self._contexts[chosen[fault]]
        # OpenSSL does not take over from another context whether a certificate is asked for: look at the ClientHello.
        hello = connection.recv(4096, socket.MSG_PEEK)
        return self._contexts["certificate" if CERTIFICATE_HOST.encode() in hello else "public"]

    def _exchange(self, secured: ssl.SSLSocket, fault: Fault | Refusal | None) -> None:
        stream = secured.makefile("rb")
        first = stream.readline().decode()
        if not first:
            # The app does not like the certificate, and says nothing.
            raise Torn
        method, path, _ = first.split(" ", 2)
        # Through a proxy Wine names the whole address, as anybody may (RFC 9112, section 3.2.2).
        path = path.removeprefix(f"https://{PUBLIC_HOST}:{self.port}")
        headers = {}
        while (line := stream.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if fault is Fault.CUT_AFTER_HEAD:
            raise Torn
        body = stream.read(int(headers.get("content-length", "0")))
        request = Request(method, path, headers, body, secured.getpeercert(binary_form=True))
        with self._lock:
            self.requests.append(request)
        if fault is Fault.HELD:
            self.released.wait(20)
            raise Torn
        if fault is Fault.CUT_BEFORE_ISSUING:
            raise Torn
        secured.sendall(self._torn(self._answer(request, fault), fault))
        if fault in (Fault.CUT_IN_ANSWER_HEAD, Fault.CUT_IN_ANSWER_BODY):
            raise Torn
        if fault is not Fault.CUT_WITHOUT_LENGTH:
            secured.unwrap()

    @staticmethod
    def _torn(answer: bytes, fault: Fault | Refusal | None) -> bytes:
        if fault is Fault.CUT_AFTER_ISSUING:
            raise Torn
        head_end = answer.index(b"\r\n\r\n") + 4
        match fault:
            case Fault.CUT_IN_ANSWER_HEAD:
                return answer[: head_end // 2]
            case Fault.CUT_IN_ANSWER_BODY:
                return answer[: (head_end + len(answer)) // 2]
            case Fault.CUT_WITHOUT_LENGTH:
                head = b"".join(
                    line
                    for line in answer[:head_end].splitlines(keepends=True)
                    if b"content-length" not in line.lower()
                )
                return head + answer[head_end : (head_end + len(answer)) // 2 + 1]
            case _:
                return answer

    # --- answers -----------------------------------------------------------------------------------------------

    def _answer(self, request: Request, fault: Fault | Refusal | None) -> bytes:
        match fault:
            case Refusal():
                return self._refuse(fault)
            case Fault.PROXY_PAGE:
                return _response(200, "text/html; charset=utf-8", b"<html><h1>Please sign in to the guest network</h1>")
            case Fault.PROXY_ERROR_PAGE:
                return _response(502, "text/html", b"<html><h1>Bad gateway</h1>")
            case Fault.REDIRECT:
                return _response(302, "text/html", b"", f"Location: https://{PUBLIC_HOST}:1/elsewhere")
            case Fault.HUGE_ANSWER:
                return _response(200, "application/pkcs7-mime", b"A" * HUGE_OCTETS)
            case Fault.HUGE_HEAD:
                return _response(200, "application/pkcs7-mime", b"", "X-Long: " + "x" * HUGE_OCTETS)
            case Fault.NOT_BASE64:
                return _response(200, "application/pkcs7-mime", b"this is *not* base64")
        with self._lock:
            return self._conforming(request, fault)

    def _conforming(self, request: Request, fault: Fault | None) -> bytes:
        match (request.method, request.path):
            case ("GET", "/.well-known/est/cacerts"):
                named = f"X-Certificate-Host: {CERTIFICATE_HOST}:{self.port}" if self.names_certificate_host else ""
                return _certificates([self.issuing.certificate, self.root.certificate], named)
            case ("POST", "/.well-known/est/simpleenroll"):
                return self._enrol(request, fault)
            case ("POST", "/.well-known/est/simplereenroll"):
                return self._renew(request, fault)
        return _response(404, "text/plain", b"no such page")

    def _enrol(self, request: Request, fault: Fault | None) -> bytes:
        user_id, _, rest = _credentials(request).partition(":")
        code, _, password = rest.partition(":")
        if self.users.get(user_id) != (code, password):
            return self._refuse(Refusal(401, "enrolment_refused"))
        return self._issue(user_id, f"{user_id} {code}", request, fault)

    def _renew(self, request: Request, fault: Fault | None) -> bytes:
        if request.client is None:
            return self._refuse(Refusal(403, "certificate_missing"))
        if request.client in self.superseded:
            return self._refuse(Refusal(403, "certificate_superseded"))
        if "authorization" not in request.headers:
            return self._refuse(Refusal(401, "credentials_missing"))
        current = x509.load_der_x509_certificate(request.client)
        user_id = str(current.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        named, _, password = _credentials(request).partition(":")
        if named not in ("", user_id) or self.users[user_id][1] != password:
            return self._refuse(Refusal(401, "enrolment_refused"))
        return self._issue(user_id, f"{user_id} renews {current.serial_number}", request, fault)

    def _issue(self, user_id: str, occasion: str, request: Request, fault: Fault | None) -> bytes:
        asked = x509.load_der_x509_csr(base64.b64decode(request.body, validate=False))
        assert asked.is_signature_valid
        public_key = asked.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if fault is Fault.ANOTHER_KEYS_CERTIFICATE:
            another = ec.generate_private_key(ec.SECP256R1()).public_key()
            return _certificates([self.issuing.issue(user_id, another)])
        if fault is Fault.ANOTHER_BANKS_CERTIFICATE:
            return _certificates([self.other.issue(user_id, asked.public_key())])
        if any(done == occasion and key != public_key for done, key in self._enrolled):
            return self._refuse(Refusal(403, "enrolment_code_used"))
        if any(done != occasion and key == public_key for done, key in self._enrolled):
            return self._refuse(Refusal(400, "csr_key_reused"))
        if (occasion, public_key) not in self._enrolled:
            certificate = self.issuing.issue(user_id, asked.public_key())
            self.issued.append(certificate)
            self._enrolled[occasion, public_key] = certificate.public_bytes(Encoding.DER)
        return _certificates([x509.load_der_x509_certificate(self._enrolled[occasion, public_key])])

    @staticmethod
    def _refuse(refusal: Refusal) -> bytes:
        body = f"{refusal.code}\n{refusal.japanese}\n{refusal.english}\n".encode()
        more = f"Retry-After: {refusal.retry_after}" if refusal.retry_after else ""
        if refusal.status == 401:
            more = 'WWW-Authenticate: Basic realm="enrolment", charset="UTF-8"'
        return _response(refusal.status, "text/plain; charset=utf-8", body, more)


def _credentials(request: Request) -> str:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    return base64.b64decode(encoded).decode() if scheme == "Basic" else ""


def _certificates(certificates: list[x509.Certificate], *headers: str) -> bytes:
    der = pkcs7.serialize_certificates(certificates, Encoding.DER)
    text = base64.b64encode(der).decode()
    lines = "".join(f"{text[start : start + 64]}\n" for start in range(0, len(text), 64))
    media_type = "application/pkcs7-mime; smime-type=certs-only"
    return _response(200, media_type, lines.encode(), "Content-Transfer-Encoding: base64", *headers)


def _response(status: int, media_type: str, body: bytes, *headers: str) -> bytes:
    more = "".join(f"{header}\r\n" for header in headers if header)
    head = f"HTTP/1.1 {status} Answer\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{more}Connection: close\r\n\r\n".encode() + body
