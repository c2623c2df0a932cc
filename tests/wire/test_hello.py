"""The server name is read from real ClientHellos; whatever else comes is refused, or more is asked for."""

from __future__ import annotations

import socket
import ssl
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from mtls_gateway.wire.hello import MAXIMUM_HELLO, Hello, HelloRefused, Incomplete, read_hello


def hello_of_ssl(name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    if name is None:
        context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def hello_of_pyopenssl(name: bytes) -> bytes:
    """With a post-quantum key share, which alone has more than a thousand octets."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    connection.set_connect_state()
    connection.set_tlsext_host_name(name)
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(16_384)


NAMED = hello_of_ssl("cert.bank.localhost")


def rebuilt(hello: bytes, *, records: tuple[int, ...] = (), body: bytes | None = None) -> bytes:
    """The same message in records of the given lengths, the last one taking the rest."""
    message = hello[5:] if body is None else b"\x01" + len(body).to_bytes(3, "big") + body
    octets = b""
    for length in (*records, len(message)):
        piece, message = message[:length], message[length:]
        if piece:
            octets += b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece
    return octets


def with_extension(hello: bytes, kind: int, content: bytes) -> bytes:
    """One more extension at the end."""
    body = hello[9:]
    at = 34
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    at += 1 + body[at]
    extensions = body[at + 2 :] + kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content
    return rebuilt(hello, body=body[:at] + len(extensions).to_bytes(2, "big") + extensions)


def server_name(name: bytes, kind: int = 0) -> bytes:
    entry = bytes([kind]) + len(name).to_bytes(2, "big") + name
    return len(entry).to_bytes(2, "big") + entry


def test_the_name_is_found_in_the_hellos_of_two_libraries() -> None:
    assert read_hello(NAMED) == Hello("cert.bank.localhost")
    assert len(hello_of_pyopenssl(b"Bank.LOCALHOST")) > 1_200
    assert read_hello(hello_of_pyopenssl(b"Bank.LOCALHOST")) == Hello("bank.localhost")


def test_no_name_is_none() -> None:
    assert read_hello(hello_of_ssl(None)) == Hello(None)


@pytest.mark.needs("openssl")
def test_the_name_is_found_in_the_hello_of_the_openssl_command() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "bank.localhost", "-tls1_2"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as run:
            listening.settimeout(10)
            connected, _ = listening.accept()
            with connected:
                connected.settimeout(10)
                assert read_hello(connected.recv(16_384)) == Hello("bank.localhost")
            run.wait(10)


@pytest.mark.parametrize("records", [(1,), (3,), (4, 1), (100,), (100, 1, 1)])
def test_a_hello_may_be_spread_over_records(records: tuple[int, ...]) -> None:
    assert read_hello(rebuilt(NAMED, records=records)) == Hello("cert.bank.localhost")


def test_a_hello_in_very_many_records_is_refused() -> None:
    with pytest.raises(HelloRefused, match="malformed"):
        read_hello(rebuilt(NAMED, records=(1,) * 100))


@pytest.mark.parametrize("hello", [NAMED, rebuilt(NAMED, records=(60, 70))])
def test_every_beginning_asks_for_more_and_says_how_much(hello: bytes) -> None:
    for octets in range(1, len(hello)):
        answer = read_hello(hello[:octets])
        assert isinstance(answer, Incomplete)
        assert octets < answer.octets <= len(hello)


@pytest.mark.parametrize(
    "extension",
    [
        server_name(b"bank.localhost."),
        server_name(b""),
        server_name("bänk".encode()),
        server_name(b"bank\x00.localhost"),
        server_name(b"bank localhost"),
        server_name(b"bank.localhost", kind=1),
        server_name(b"a")[:2] + server_name(b"a")[2:] * 2,
        b"",
        b"\x00",
        server_name(b"bank.localhost")[:-1],
        server_name(b"bank.localhost") + b"x",
    ],
)
def test_a_malformed_name_is_refused(extension: bytes) -> None:
    with pytest.raises(HelloRefused, match="malformed"):
        read_hello(with_extension(hello_of_ssl(None), 0, extension))


def test_two_names_are_refused() -> None:
    with pytest.raises(HelloRefused, match="malformed"):
        read_hello(with_extension(NAMED, 0, server_name(b"bank.localhost")))


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "not_tls"),
        (b"\x80\x2e\x01\x03\x01", "not_tls"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "not_tls"),
        (b"\x16\x03\x01\x00\x00", "malformed"),
        (b"\x16\x03\x01\x40\x01", "malformed"),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "malformed"),
        (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", "oversized"),
        (b"\x16\x03\x01\x00\x06\x01\x00\x00\x02ab", "malformed"),
    ],
)
def test_what_is_no_hello_is_refused(octets: bytes, reason: str) -> None:
    with pytest.raises(HelloRefused, match=reason):
        read_hello(octets)


@given(st.binary(max_size=400))
def test_any_octets_are_refused_or_incomplete_or_a_hello(octets: bytes) -> None:
    outcome(octets)


@given(st.integers(0, len(NAMED) - 1), st.binary(max_size=4), st.integers(0, 4))
def test_any_damage_is_refused_or_incomplete_or_a_hello(at: int, put: bytes, cut: int) -> None:
    outcome(NAMED[:at] + put + NAMED[at + cut :])


def outcome(octets: bytes) -> None:
    try:
        answer = read_hello(octets)
    except HelloRefused:
        return
    if isinstance(answer, Incomplete):
        assert len(octets) < answer.octets <= MAXIMUM_HELLO + 64
    else:
        name = answer.server_name
        assert name is None or (name.isascii() and name == name.lower() and name and not name.endswith("."))
