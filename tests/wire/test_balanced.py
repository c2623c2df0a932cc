"""Connections that balancers hand on, through sockets: whose they are, and which are refused."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest

from mtls_gateway.errors import ConfigurationError
from mtls_gateway.wire.balanced import Introduction
from tests.wire.client import Client, client_context
from tests.wire.conftest import Counter, Gateway, OpenGateway, configure
from tests.wire.material import CERTIFICATE, PUBLIC, Material
from tests.wire.test_proxy_header import extension, header

BALANCER = {"proxy_protocol": ["127.0.0.1/32"]}
ELSEWHERE = {"proxy_protocol": ["192.0.2.16/29", "2001:db8::/64"]}
LOCAL = header(0x00, b"", command=0x20)


def of(client: str, *, extensions: bytes = b"") -> bytes:
    addresses = socket.inet_aton(client) + socket.inet_aton("192.0.2.1")
    return header(0x11, addresses + (4_711).to_bytes(2, "big") + (443).to_bytes(2, "big"), extensions=extensions)


async def plain(gateway: Gateway) -> socket.socket:
    """A TCP connection, nothing sent."""
    connected = socket.socket()
    connected.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", gateway.port))
    return connected


async def handed_on(gateway: Gateway, begun: bytes, host: str = CERTIFICATE) -> Client:
    """What a balancer makes of a client's connection."""
    connected = await plain(gateway)
    connected.send(begun)
    return await secured(gateway, connected, host)


async def secured(gateway: Gateway, connected: socket.socket, host: str = CERTIFICATE) -> Client:
    context = client_context(gateway.material, gateway.material.client if host == CERTIFICATE else None)
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(sock=connected, ssl=context, server_hostname=host), 10
    )
    client = Client(reader, writer, f"{host}:{gateway.port}")
    gateway.clients.append(client)
    return client


async def is_refused(gateway: Gateway, begun: bytes) -> bool:
    """Whether what begins so is closed without a word."""
    connected = await plain(gateway)
    with connected:
        try:
            connected.send(begun)
            async with asyncio.timeout(10):
                return await asyncio.get_running_loop().sock_recv(connected, 1) == b""
        except ConnectionError:
            return True


def introductions(gateway: Gateway) -> list[Introduction]:
    return [each for each in gateway.worker.deadlines._watched if isinstance(each, Introduction)]


@pytest.mark.parametrize("host", [PUBLIC, CERTIFICATE])
async def test_the_client_is_whom_the_balancer_names(open_gateway: OpenGateway, host: str) -> None:
    gateway = await open_gateway(host=BALANCER)
    client = await handed_on(gateway, of("203.0.113.77"), host)
    assert (await client.ask()).status == 200
    (peer,) = gateway.gate.peers
    assert (peer.address, peer.port) == ("203.0.113.77", 4_711)


async def test_an_ipv6_client_is_named_too(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(host=BALANCER)
    wide = socket.inet_pton(socket.AF_INET6, "2001:db8::77")
    assert (await (await handed_on(gateway, header(0x21, wide * 2 + bytes(4)))).ask()).status == 200
    assert gateway.gate.peers[0].address == "2001:db8::77"


async def test_a_health_check_of_the_balancers_is_the_balancers(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(host=BALANCER)
    assert (await (await handed_on(gateway, LOCAL)).ask()).status == 200
    assert gateway.gate.peers[0].address == "127.0.0.1"


async def test_a_header_that_comes_in_pieces_is_put_together(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(host=BALANCER)
    whole = of("203.0.113.77", extensions=extension(4, bytes(200)))
    connected = await plain(gateway)
    sent: list[int] = [0]
    for end in (1, 12, 15, 16, 17, 40, len(whole) - 1):
        connected.send(whole[sent[0] : end])
        sent[0] = end
        await gateway.until(lambda: [len(each._came) for each in introductions(gateway)] == sent)
    connected.send(whole[-1:])
    assert (await (await secured(gateway, connected)).ask()).status == 200
    assert gateway.gate.peers[0].address == "203.0.113.77"


async def test_a_header_may_come_in_one_segment_with_what_the_client_says(open_gateway: OpenGateway) -> None:
    """Not an octet of the ClientHello may be lost: OpenSSL reads the socket itself."""
    gateway = await open_gateway(host=BALANCER)
    context = client_context(gateway.material, gateway.material.client)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=CERTIFICATE)
    loop = asyncio.get_running_loop()
    connected = await plain(gateway)
    said = of("203.0.113.77")
    with connected:
        for _ in range(10):
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(connected, said + outgoing.read())
                said = b""
                async with asyncio.timeout(10):
                    incoming.write(await loop.sock_recv(connected, 65_536))
            else:
                break
        assert tls.version() == "TLSv1.3"
        await loop.sock_sendall(connected, outgoing.read())
        await gateway.until(lambda: gateway.gate.peers)
    assert gateway.gate.peers[0].address == "203.0.113.77"


@pytest.mark.parametrize(
    ("begun", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "no_header"),
        (b"PROXY TCP4 203.0.113.77 192.0.2.1 4711 443\r\n", "no_header"),
        (header(command=0x31), "version"),
        (header(0x12), "family"),
        (header(0x00, b""), "family"),
        (header(0x11, bytes(11)), "malformed"),
        (of("203.0.113.77", extensions=extension(3, bytes(4))), "checksum"),
        (header(length=65_535), "oversized"),
    ],
)
async def test_what_is_no_good_header_is_refused_at_once_and_counted(
    open_gateway: OpenGateway, grown: Counter, begun: bytes, reason: str
) -> None:
    gateway = await open_gateway(host=BALANCER)
    assert await is_refused(gateway, begun)
    assert grown("proxy_header_refusals_total", reason=reason) == 1
    assert gateway.gate.peers == [] and gateway.worker.connections == 0


async def test_a_header_longer_than_the_limit_counts_against_it(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(host=BALANCER, limits={"proxy_header_octets": 100})
    assert await is_refused(gateway, of("203.0.113.77", extensions=extension(4, bytes(100))))
    assert grown("limit_refusals_total", limit="proxy_header_octets") == 1
    assert (
        await (await handed_on(gateway, of("203.0.113.77", extensions=extension(4, bytes(60))))).ask()
    ).status == 200


async def test_nobody_but_the_balancers_may_connect_with_or_without_a_header(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    gateway = await open_gateway(host=ELSEWHERE)
    assert await is_refused(gateway, of("203.0.113.77"))
    assert await is_refused(gateway, LOCAL)
    with pytest.raises(ConnectionError):
        await gateway.connect()
    assert grown("proxy_header_refusals_total", reason="not_a_balancer") == 3
    assert gateway.gate.peers == []


async def test_without_balancers_a_header_is_no_clients_hello(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway()
    assert await is_refused(gateway, of("203.0.113.77"))
    assert grown("handshakes_total", site="unknown", outcome="not_tls") == 1


async def test_header_and_handshake_together_have_the_handshakes_time(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    gateway = await open_gateway(host=BALANCER, timeouts={"handshake": 10})
    silent = await plain(gateway)
    slow = await plain(gateway)
    slow.send(of("203.0.113.77")[:-1])
    await gateway.until(lambda: len(introductions(gateway)) == 2 and any(each._came for each in introductions(gateway)))
    gateway.pass_time(6)
    slow.send(of("203.0.113.77")[-1:])
    await gateway.until(lambda: len(introductions(gateway)) == 1)
    assert gateway.worker.connections == 2
    gateway.pass_time(5)
    assert gateway.worker.connections == 0
    assert grown("proxy_header_refusals_total", reason="timeout") == 1
    assert grown("handshakes_total", site="unknown", outcome="timeout") == 1
    silent.close()
    slow.close()


async def test_a_balancer_that_only_knocks_is_no_error(
    open_gateway: OpenGateway, grown: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await open_gateway(host=BALANCER)
    (await plain(gateway)).close()
    await gateway.until(lambda: grown("proxy_header_refusals_total", reason="lost") == 1)
    assert gateway.worker.connections == 0
    assert caplog.records == []


async def test_the_limit_for_each_address_is_the_clients_and_never_the_balancers(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    gateway = await open_gateway(host=BALANCER, limits={"connections_per_address": 2})
    for client in ("203.0.113.77", "203.0.113.77", "203.0.113.78"):
        assert (await (await handed_on(gateway, of(client))).ask()).status == 200
    with pytest.raises((ConnectionError, OSError)):
        await handed_on(gateway, of("203.0.113.77"))
    assert grown("limit_refusals_total", limit="connections_per_address") == 1
    # Headers that have not come, and health checks: as many as there are.
    waiting = [await plain(gateway) for _ in range(5)]
    for _ in range(3):
        assert (await (await handed_on(gateway, LOCAL)).ask()).status == 200
    assert (await (await handed_on(gateway, of("203.0.113.79"))).ask()).status == 200
    for each in waiting:
        each.close()


async def test_the_limit_for_all_holds_before_anybody_is_named(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(host=BALANCER, limits={"connections": 2})
    waiting = [await plain(gateway) for _ in range(2)]
    await gateway.until(lambda: gateway.worker.connections == 2)
    assert await is_refused(gateway, of("203.0.113.77"))
    assert grown("limit_refusals_total", limit="connections") == 1
    for each in waiting:
        each.close()
    await gateway.until(lambda: gateway.worker.connections == 0)
    assert (await (await handed_on(gateway, of("203.0.113.77"))).ask()).status == 200


async def test_thousands_of_refusals_are_one_line_of_the_log(
    open_gateway: OpenGateway, caplog: pytest.LogCaptureFixture, grown: Counter
) -> None:
    gateway = await open_gateway(host=BALANCER)
    for _ in range(20):
        assert await is_refused(gateway, b"GET / HTTP/1.1\r\n")
    assert grown("proxy_header_refusals_total", reason="no_header") == 20
    gateway.clock.advance(11)
    assert await is_refused(gateway, b"GET / HTTP/1.1\r\n")
    assert [record.getMessage() for record in caplog.records] == [
        "a connection from 127.0.0.1 was refused, by its PROXY header: no_header",
        "a connection from 127.0.0.1 was refused, by its PROXY header: no_header (and 19 times since the last"
        " such line)",
    ]


@pytest.mark.parametrize(
    ("network", "cause"),
    [
        ("0.0.0.0/0", "is everybody"),
        ("::/0", "is everybody"),
        ("192.0.2.17/29", "host bits set"),
        ("balancer.example.jp", "is no network"),
    ],
)
def test_a_network_that_is_none_or_everybody_is_refused(material: Material, network: str, cause: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"public\.proxy_protocol\.0.*{cause}"):
        configure(material, material.server.pem.parent, 443, ["http://127.0.0.1"], host={"proxy_protocol": [network]})


def test_hosts_on_one_endpoint_have_the_same_balancers(material: Material) -> None:
    host: dict[str, Any] = {
        "name": PUBLIC,
        "listen": ["127.0.0.1:443"],
        "certificate": str(material.server.pem),
        "key": str(material.server.key_pem),
        "proxy_protocol": ["192.0.2.16/29"],
    }
    with pytest.raises(ConfigurationError, match="must be the same where the hosts share endpoints"):
        configure(material, material.server.pem.parent, 443, ["http://127.0.0.1"], public=host)
