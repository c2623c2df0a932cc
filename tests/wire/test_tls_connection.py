"""Our binding of OpenSSL against pyOpenSSL's, its oracle: the same dialogue gives the same, whichever serves."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from OpenSSL import SSL

from mtls_gateway.wire.gate import Gate
from mtls_gateway.wire.tls import AskingConnection
from mtls_gateway.wire.tls_connection import (
    AT_ONCE,
    RECORD,
    Inbox,
    TlsConnection,
    ask_for_certificate,
    send_in_one_call,
)
from tests.wire.material import Material, Pair
from tests.wire.scripted import ScriptedGate
from tests.wire.tls_peer import _context as client_side

GATE: Gate = ScriptedGate()


@dataclass
class Dialogue:
    """A client that was written elsewhere, and a server's end of one of two kinds, on one pair of sockets."""

    material: Material
    ours: bool
    version: int = SSL.TLS1_3_VERSION
    accept: Callable[[], bool] = lambda: True
    at_once: bool = False
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ends: list[socket.socket] = []
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate_file(str(self.material.server.pem))
        self.context.use_privatekey_file(str(self.material.server.key_pem))
        self.context.set_session_id(b"dialogue")
        if self.ours:
            ask_for_certificate(self.context, lambda: self.accept())
        else:
            self.context.set_verify(SSL.VERIFY_PEER, lambda *arguments: self.accept())
        if self.at_once:
            send_in_one_call(self.context)
        self.connect(None)

    def connect(self, certificate: Pair | None, session: SSL.Session | None = None) -> None:
        self.near, self.far = socket.socketpair()
        for end in (self.near, self.far):
            end.setblocking(False)
            self.ends.append(end)
        self.server: TlsConnection | AskingConnection
        if self.ours:
            self.server = TlsConnection(self.context, self.near.fileno(), Inbox())
        else:
            self.server = AskingConnection(self.context, self.near, "127.0.0.1", GATE)
        self.client = SSL.Connection(client_side(self.version, ()), self.far)
        self.client.set_connect_state()
        if certificate is not None:
            self.client.use_certificate(certificate.certificate)
            self.client.use_privatekey(certificate.key)
        if session is not None:
            self.client.set_session(session)

    def another(self) -> Dialogue:
        """A second one, which ends with this one."""
        made = Dialogue(self.material, self.ours)
        made.ends, more = self.ends, made.ends
        self.ends += more
        return made

    def shake(self) -> None:
        waiting = [self.client.do_handshake, self.server.do_handshake]
        for _ in range(20):
            for step in tuple(waiting):
                try:
                    step()
                    waiting.remove(step)
                except SSL.WantReadError:
                    pass
            if not waiting:
                return
        raise AssertionError("the handshake does not end")

    def hear(self, bufsiz: int = AT_ONCE) -> bytes:
        return self.server.recv(bufsiz)

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.fixture(params=["ours", "pyOpenSSL"])
def dialogue(request: pytest.FixtureRequest, material: Material) -> Iterator[Dialogue]:
    made = Dialogue(material, request.param == "ours")
    yield made
    made.close()


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["1.2", "1.3"])
@pytest.mark.parametrize("shows", [True, False], ids=["certificate", "none"])
def test_a_handshake_tells_who_came_and_how(dialogue: Dialogue, version: int, shows: bool) -> None:
    dialogue.version = version
    client = dialogue.material.client
    dialogue.connect(client if shows else None)
    dialogue.shake()
    server = dialogue.server
    assert server.peer_certificate() == (client.der if shows else None)
    assert server.version() == {SSL.TLS1_2_VERSION: "TLSv1.2", SSL.TLS1_3_VERSION: "TLSv1.3"}[version]
    assert server.cipher() == dialogue.client.get_cipher_name()
    assert not server.is_resumed


def test_octets_come_as_they_were_sent_and_nothing_is_not_yet(dialogue: Dialogue) -> None:
    dialogue.shake()
    with pytest.raises(SSL.WantReadError):
        dialogue.hear()
    dialogue.client.send(b"hello")
    assert dialogue.hear() == b"hello"
    for data in (b"to you", bytearray(b"and"), memoryview(b"you")):
        assert dialogue.server.send(data) == len(data)
        assert dialogue.client.recv(100) == bytes(data)


def test_a_session_that_resumes_is_told(dialogue: Dialogue) -> None:
    dialogue.connect(dialogue.material.client)
    dialogue.shake()
    dialogue.server.send(b"x")
    dialogue.client.recv(1)
    session = dialogue.client.get_session()
    dialogue.client.shutdown()
    dialogue.connect(None, session)
    dialogue.shake()
    assert dialogue.server.is_resumed
    assert dialogue.server.peer_certificate() == dialogue.material.client.der


def test_a_goodbye_a_disappearance_and_rubbish_are_told_apart(dialogue: Dialogue) -> None:
    dialogue.shake()
    dialogue.client.shutdown()
    for _ in range(2):
        with pytest.raises(SSL.ZeroReturnError):
            dialogue.hear()
    dialogue.server.shutdown()

    dialogue.connect(None)
    dialogue.shake()
    dialogue.far.close()
    with pytest.raises(SSL.SysCallError):
        while True:
            dialogue.server.send(bytes(100_000))
    other = dialogue.another()
    other.shake()
    other.far.close()
    with pytest.raises(SSL.SysCallError):
        other.hear()


def test_rubbish_is_an_error_and_says_so_once(dialogue: Dialogue) -> None:
    dialogue.shake()
    dialogue.far.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(SSL.Error) as raised:
        dialogue.hear()
    assert type(raised.value) is SSL.Error
    assert raised.value.args[0][0][2]
    # Nothing is left in OpenSSL's queue of errors, which is the thread's: the next connection must not be blamed.
    other = dialogue.another()
    other.shake()
    with pytest.raises(SSL.WantReadError):
        other.hear()


def test_a_peer_that_takes_nothing_wants_a_writer(dialogue: Dialogue) -> None:
    dialogue.shake()
    data, written = bytes(50_000), 0
    with pytest.raises(SSL.WantWriteError):
        while True:
            written += dialogue.server.send(data)
    # The same data again, from elsewhere: nothing is lost, nothing doubled.
    heard = 0
    done = False
    while not done:
        with pytest.raises(SSL.WantReadError):
            while True:
                heard += len(dialogue.client.recv(65_536))
        try:
            written += dialogue.server.send(bytes(50_000))
            done = True
        except SSL.WantWriteError:
            pass
    while heard < written:
        heard += len(dialogue.client.recv(65_536))
    assert heard == written


@pytest.mark.parametrize("answer", [False, ZeroDivisionError("in the callback")], ids=["no", "raises"])
def test_a_certificate_that_is_not_accepted_ends_the_handshake(dialogue: Dialogue, answer: bool | Exception) -> None:
    def accept() -> bool:
        if isinstance(answer, Exception):
            raise answer
        return answer

    dialogue.accept = accept
    dialogue.connect(dialogue.material.client)
    with pytest.raises((SSL.Error, ZeroDivisionError)) as raised:
        dialogue.shake()
    assert isinstance(raised.value, ZeroDivisionError) == isinstance(answer, Exception)
    # What one connection's callback has raised is not another's.
    dialogue.accept = lambda: True
    other = dialogue.another()
    other.connect(dialogue.material.client)
    other.shake()


# --- what only ours does ----------------------------------------------------------------------------


@pytest.fixture
def ours(material: Material) -> Iterator[Dialogue]:
    made = Dialogue(material, True, at_once=True)
    made.shake()
    yield made
    made.close()


def test_full_records_come_together_up_to_the_limit(ours: Dialogue) -> None:
    sent = bytes(range(256)) * (RECORD // 256)
    for _ in range(5):
        ours.client.send(sent)
    ours.client.send(b"the end")
    assert ours.hear(2 * RECORD + 1) == sent * 2
    assert ours.hear() == sent * 3 + b"the end"
    assert ours.server.pending() == 0
    with pytest.raises(SSL.WantReadError):
        ours.hear()


def test_what_comes_behind_a_full_record_is_told_after_it(ours: Dialogue) -> None:
    """No event of the socket's will announce a goodbye that was read already."""
    ours.client.send(bytes(RECORD))
    ours.client.shutdown()
    assert ours.hear() == bytes(RECORD)
    assert ours.server.pending() == 1
    with pytest.raises(SSL.ZeroReturnError):
        ours.hear()


def test_several_records_are_sent_in_one_call(ours: Dialogue) -> None:
    assert ours.server.send(bytes(3 * RECORD)) == 3 * RECORD
    assert sum(len(ours.client.recv(RECORD)) for _ in range(3)) == 3 * RECORD
