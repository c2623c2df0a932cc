"""Socket-bound TLS against a memory BIO: the same exchanges over a socket pair, one process.

Run: ``python -m benchmarks.transports``. Prints microseconds of the server's side per exchange (400 octets in,
2,500 out), megabytes per second of bulk, and the ratio. This decided how ``wire.transport`` is made.
"""

from __future__ import annotations

import datetime
import socket
import time
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

_ROUNDS = 20_000
_BULK = 256


def _contexts() -> tuple[SSL.Context, SSL.Context]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    server = SSL.Context(SSL.TLS_SERVER_METHOD)
    server.use_certificate(crypto.X509.from_cryptography(certificate))
    server.use_privatekey(crypto.PKey.from_cryptography_key(key))
    return server, SSL.Context(SSL.TLS_CLIENT_METHOD)


class Bound:
    """OpenSSL reads and writes the socket."""

    def __init__(self, context: SSL.Context, connected: socket.socket) -> None:
        self.tls = SSL.Connection(context, connected)
        self.tls.set_accept_state()

    def step(self) -> None:
        """Go on with the handshake."""
        self.tls.do_handshake()

    def receive(self) -> bytes:
        """One record."""
        return self.tls.recv(16_384)

    def send(self, data: bytes) -> None:
        """All of ``data``."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.tls.send(rest) :]


class Buffered:
    """OpenSSL reads and writes memory; the socket is ours."""

    def __init__(self, context: SSL.Context, connected: socket.socket) -> None:
        self.socket = connected
        self.tls = SSL.Connection(context, None)
        self.tls.set_accept_state()

    def _flush(self) -> None:
        try:
            while True:
                self.socket.sendall(self.tls.bio_read(65_536))
        except SSL.WantReadError:
            pass

    def step(self) -> None:
        """Go on with the handshake."""
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            self.tls.bio_write(self.socket.recv(65_536))
            raise
        self._flush()

    def receive(self) -> bytes:
        """One record."""
        while True:
            try:
                return self.tls.recv(16_384)
            except SSL.WantReadError:
                self.tls.bio_write(self.socket.recv(65_536))

    def send(self, data: bytes) -> None:
        """All of ``data``."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.tls.send(rest) :]
            self._flush()


def _until_done(client: SSL.Connection, server: Bound | Buffered) -> None:
    done = False
    while not done:
        done = True
        for step in (client.do_handshake, server.step):
            try:
                step()
            except (SSL.WantReadError, BlockingIOError):
                done = False


def _measure(kind: Callable[[SSL.Context, socket.socket], Bound | Buffered]) -> tuple[float, float]:
    """(microseconds for an exchange, megabytes per second) of the server's side alone."""
    server_context, client_context = _contexts()
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_194_304)
    client = SSL.Connection(client_context, theirs)
    client.set_connect_state()
    server = kind(server_context, ours)
    _until_done(client, server)
    request, answer, bulk = b"r" * 400, b"a" * 2_500, b"b" * 65_536
    spent = 0.0
    for _ in range(_ROUNDS):
        client.send(request)
        began = time.perf_counter()
        server.receive()
        server.send(answer)
        spent += time.perf_counter() - began
        client.recv(16_384)
    exchange = spent / _ROUNDS * 1e6
    spent = 0.0
    for _ in range(_BULK):
        began = time.perf_counter()
        server.send(bulk)
        spent += time.perf_counter() - began
        left = len(bulk)
        while left:
            left -= len(client.recv(16_384))
    return exchange, len(bulk) * _BULK / spent / 1e6


def main() -> None:
    """Alternate the two and print the medians of five rounds."""
    figures: dict[str, list[tuple[float, float]]] = {"bound": [], "buffered": []}
    for _ in range(5):
        figures["bound"].append(_measure(Bound))
        figures["buffered"].append(_measure(Buffered))
    medians = {
        name: tuple(sorted(round_[index] for round_ in rounds)[2] for index in (0, 1))
        for name, rounds in figures.items()
    }
    for name, (exchange, bulk) in medians.items():
        print(f"{name:10} {exchange:6.1f} us per exchange {bulk:8.0f} MB/s")
    bound, buffered = medians["bound"], medians["buffered"]
    print(f"bound is {buffered[0] / bound[0]:.2f} x as fast per exchange, {bound[1] / buffered[1]:.2f} x in bulk")


if __name__ == "__main__":
    main()
