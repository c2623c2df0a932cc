"""TLS on a non-blocking socket: nothing lost, nothing unbounded, and every end noticed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from OpenSSL import SSL

from mtls_gateway.wire.linger import Lingering
from mtls_gateway.wire.readiness import Readiness
from mtls_gateway.wire.stream import Receiver, Stream
from mtls_gateway.wire.tls_connection import AT_ONCE, Inbox, Tls, TlsConnection
from mtls_gateway.wire.transport import TlsTransport
from tests.wire.client import client_context
from tests.wire.conftest import Counter
from tests.wire.material import PUBLIC, Material

# A compiled class has no subclass that is not: the recorder is one.
pytestmark = pytest.mark.interpreted

LINGERING = Lingering(octets=16_000_000, silence=1.0, seconds=3.0)


class Recorder(Receiver):
    def __init__(self) -> None:
        self.data = bytearray()
        self.events: list[str] = []
        self.lost = asyncio.Event()
        #: The same for a thread.
        self.lost_soon = threading.Event()
        self.error: Exception | None = None
        self.on_data: Callable[[bytes], None] = lambda data: None
        self.on_resume: Callable[[], None] = lambda: None

    def connection_made(self, stream: Stream) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.on_data(data)

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")
        self.on_resume()

    def connection_lost(self, error: Exception | None) -> None:
        self.error = error
        self.events.append("lost")
        self.lost.set()
        self.lost_soon.set()


class Ends:
    """A transport of the gateway's, and a blocking TLS socket at the other end that is used from a thread."""

    def __init__(self, transport: TlsTransport, protocol: Recorder, client: ssl.SSLSocket) -> None:
        self.transport = transport
        self.protocol = protocol
        self.client = client

    async def receive(self, octets: int = 1 << 30) -> tuple[int, bool]:
        """How many octets came until there were so many or the end, and whether that was one in order."""

        def run() -> tuple[int, bool]:
            got = 0
            try:
                while got < octets:
                    data = self.client.recv(min(65_536, octets - got))
                    if not data:
                        break
                    got += len(data)
            except (ssl.SSLError, ConnectionError):
                return got, False
            return got, True

        return await asyncio.wait_for(asyncio.to_thread(run), 20)

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(asyncio.to_thread(self.client.sendall, data), 20)

    async def until(self, predicate: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not predicate():  # noqa: ASYNC110  # states that set no event
                await asyncio.sleep(0)


@pytest.fixture(params=["pyOpenSSL", "TlsConnection"])
async def ends(material: Material, request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    """Over the plain connection of pyOpenSSL, and over ours: what a transport promises it promises with both."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.settimeout(15)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_file(str(material.server.pem))
    context.use_privatekey_file(str(material.server.key_pem))
    tls: Tls
    if request.param == "pyOpenSSL":
        tls = SSL.Connection(context, near)
        tls.set_accept_state()
    else:
        tls = TlsConnection(context, near.fileno(), Inbox())
    readiness = Readiness(asyncio.get_running_loop())
    wrap = client_context(material, None).wrap_socket
    shake = asyncio.to_thread(wrap, far, server_hostname=PUBLIC, suppress_ragged_eofs=False)
    shaking = asyncio.ensure_future(shake)
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(SSL.WantReadError):
                tls.do_handshake()
                break
            await asyncio.sleep(0)
    protocol = Recorder()
    transport = TlsTransport(asyncio.get_running_loop(), readiness, near, tls, protocol, 65_536, LINGERING)
    transport.start()
    made = Ends(transport, protocol, await shaking)
    yield made
    transport.abort()
    await protocol.lost.wait()
    readiness.close()
    made.client.close()


async def test_octets_arrive_both_ways_in_order(ends: Ends) -> None:
    sent = bytes(range(256)) * 20_000
    await ends.send(sent)
    await ends.until(lambda: len(ends.protocol.data) == len(sent))
    assert hash(bytes(ends.protocol.data)) == hash(sent)
    ends.transport.write(b"hello ")
    ends.transport.write(b"world")
    assert await ends.receive(11) == (11, True)
    assert ends.protocol.events == ["made"]


async def test_a_slow_peer_pauses_the_protocol_and_a_taken_queue_resumes_it(ends: Ends) -> None:
    written = 0
    while "pause" not in ends.protocol.events:
        ends.transport.write(bytes(30_000))
        written += 30_000
    assert 65_536 < ends.transport.get_write_buffer_size() <= 65_536 + 30_000
    assert await ends.receive(written) == (written, True)
    await ends.until(lambda: "resume" in ends.protocol.events)
    assert ends.transport.get_write_buffer_size() <= 16_384
    assert ends.protocol.events == ["made", "pause", "resume"]


async def test_while_reading_is_paused_nothing_is_delivered_and_the_peer_is_held(ends: Ends) -> None:
    ends.transport.pause_reading()
    assert not ends.transport.is_reading()
    sending = asyncio.ensure_future(ends.send(bytes(4 << 20)))
    for _ in range(200):
        await asyncio.sleep(0)
    assert not ends.protocol.data
    assert not sending.done()
    ends.transport.resume_reading()
    await sending
    await ends.until(lambda: len(ends.protocol.data) == 4 << 20)


async def test_pausing_while_being_told_stops_at_once(ends: Ends) -> None:
    ends.protocol.on_data = lambda data: ends.transport.pause_reading()
    sending = asyncio.ensure_future(ends.send(bytes(100_000)))
    await ends.until(lambda: ends.protocol.data)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(ends.protocol.data) <= AT_ONCE
    ends.protocol.on_data = lambda data: None
    ends.transport.resume_reading()
    await sending
    await ends.until(lambda: len(ends.protocol.data) == 100_000)


async def test_close_flushes_what_is_queued_and_ends_in_order(ends: Ends) -> None:
    ends.transport.write(bytes(3 << 20))
    ends.transport.close()
    ends.transport.write(b"too late")
    ends.transport.close()
    assert ends.transport.is_closing()
    assert ends.transport.get_write_buffer_size() > 0
    assert await ends.receive() == (3 << 20, True)
    ends.client.close()
    await asyncio.wait_for(ends.protocol.lost.wait(), 5)
    assert ends.protocol.error is None


@pytest.mark.parametrize("unread", [100_000, 8_000_000])
async def test_close_lingers_so_that_unread_input_does_not_reset_the_answer(ends: Ends, unread: int) -> None:
    await ends.send(b"more than anybody reads")
    ends.transport.pause_reading()
    ends.transport.write(b"answer")
    ends.transport.close()
    await ends.send(bytes(unread))
    assert await ends.receive() == (6, True)


async def test_a_peer_that_neither_reads_nor_closes_is_not_waited_for_for_ever(ends: Ends, grown: Counter) -> None:
    """After the goodbye it has a time in silence; the writer of a queue is watched by the frontend's deadline."""
    ends.transport.close()
    await asyncio.wait_for(ends.protocol.lost.wait(), LINGERING.silence + 5)
    assert (ends.protocol.events, ends.protocol.error) == (["made", "lost"], None)
    assert grown("timeouts_total", timeout="linger_silence") == 1


async def test_a_peer_that_never_stops_is_not_listened_to_for_ever(ends: Ends, grown: Counter) -> None:
    ends.transport.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await ends.send(bytes(LINGERING.octets + (8 << 20)))
    await asyncio.wait_for(ends.protocol.lost.wait(), LINGERING.seconds + 5)
    assert grown("limits_reached_total", limit="linger_octets") == 1


async def test_a_peer_that_says_a_little_now_and_then_has_its_time_in_all(ends: Ends, grown: Counter) -> None:
    ends.transport.close()

    def drip() -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while not ends.protocol.lost_soon.wait(LINGERING.silence / 4):
                ends.client.sendall(b"x")

    dripping = asyncio.ensure_future(asyncio.to_thread(drip))
    await asyncio.wait_for(ends.protocol.lost.wait(), LINGERING.seconds + 5)
    await dripping
    assert grown("timeouts_total", timeout="linger") == 1


async def test_abort_ends_at_once_and_not_in_order(ends: Ends) -> None:
    ends.transport.write(bytes(3 << 20))
    ends.transport.abort()
    ends.transport.abort()
    ends.transport.write(b"too late")
    ends.transport.resume_reading()
    got, in_order = await ends.receive()
    assert not in_order
    assert got < 3 << 20
    await asyncio.wait_for(ends.protocol.lost.wait(), 5)
    assert ends.protocol.events.count("lost") == 1


async def test_a_goodbye_is_answered(ends: Ends) -> None:
    unwrapping = asyncio.ensure_future(asyncio.to_thread(ends.client.unwrap))
    await asyncio.wait_for(unwrapping, 5)
    await ends.until(lambda: "eof" in ends.protocol.events)
    ends.client.close()
    await asyncio.wait_for(ends.protocol.lost.wait(), 5)
    assert ends.protocol.error is None


async def test_a_peer_that_vanishes_is_noticed_while_reading(ends: Ends) -> None:
    ends.client.shutdown(socket.SHUT_RDWR)
    ends.client.close()
    await asyncio.wait_for(ends.protocol.lost.wait(), 5)
    assert isinstance(ends.protocol.error, ConnectionResetError)


async def test_a_peer_that_vanishes_is_noticed_while_writing(ends: Ends) -> None:
    ends.transport.pause_reading()
    ends.transport.write(bytes(3 << 20))
    ends.client.close()
    await asyncio.wait_for(ends.protocol.lost.wait(), 5)
    assert isinstance(ends.protocol.error, ConnectionResetError)
    ends.transport.write(b"into the void")


async def test_garbage_instead_of_a_record_ends_the_connection(ends: Ends) -> None:
    raw = socket.socket(fileno=ends.client.detach())
    raw.sendall(b"this is no TLS record" * 10)
    await asyncio.wait_for(ends.protocol.lost.wait(), 5)
    assert isinstance(ends.protocol.error, ConnectionAbortedError)
    raw.close()


async def test_a_protocol_that_aborts_when_resumed_touches_the_socket_no_more(ends: Ends) -> None:
    """The descriptor may belong to another connection by then."""
    ends.protocol.on_resume = ends.transport.abort
    while "pause" not in ends.protocol.events:
        ends.transport.write(bytes(30_000))
    await ends.receive(1 << 20)
    await asyncio.wait_for(ends.protocol.lost.wait(), 5)
    assert ends.protocol.events == ["made", "pause", "resume", "lost"]


async def test_one_connections_failure_is_not_blamed_on_another(material: Material, ends: Ends) -> None:
    """OpenSSL keeps its errors for the thread, not for the connection."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_file(str(material.server.pem))
    context.use_privatekey_file(str(material.server.key_pem))
    for damage in (b"garbage garbage garbage", b"\x15\x03\x01\x00\x02\x02\x28", b""):
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            other = SSL.Connection(context, near)
            other.set_accept_state()
            far.sendall(damage)
            far.shutdown(socket.SHUT_WR)
            with pytest.raises(SSL.Error):
                other.do_handshake()
            ends.transport._readable()
            ends.transport.write(b"x")
            assert await ends.receive(1) == (1, True)
    assert ends.protocol.events == ["made"]
