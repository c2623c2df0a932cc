"""Handshakes: what is offered to whom, what resumes where, and what is refused."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
import uvloop
from OpenSSL import SSL

from mtls_gateway.clock import SystemClock
from mtls_gateway.errors import ConfigurationError
from mtls_gateway.model import Site
from mtls_gateway.wire.gate import Refuse
from mtls_gateway.wire.listener import Listener
from mtls_gateway.wire.refusal import REASONS
from mtls_gateway.wire.sites import Sites
from mtls_gateway.wire.tls import Contexts, build_contexts
from mtls_gateway.wire.worker import Worker
from tests.wire.conftest import Counter, Gateway, OpenGateway, configure, contexts_for, port_of
from tests.wire.material import CERTIFICATE, PUBLIC, Material
from tests.wire.scripted import ScriptedGate
from tests.wire.tls_peer import TlsPeer

VERSIONS = pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["1.2", "1.3"])
#: Internet Explorer 11 on Windows 8.1, as the handshake simulators have it.
IE_11 = {
    "ciphers": "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES128-SHA:"
    "DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-GCM-SHA256:AES256-SHA256:"
    "AES128-SHA256:AES256-SHA:AES128-SHA:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA:ECDHE-ECDSA-AES128-SHA",
    "groups": "P-256:P-384",
    "signatures": "RSA+SHA256:RSA+SHA384:RSA+SHA1:ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA1:RSA+SHA512:ECDSA+SHA512",
}


def openssl(
    gateway: Gateway, *arguments: str, host: str = PUBLIC, said: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", host, *arguments]
    return subprocess.run(command, input=said, capture_output=True, timeout=20, check=False)


def request(authority: str) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.needs("openssl")
async def test_both_versions_are_spoken_and_older_ones_are_not(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway()
    for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
        answer, _ = await TlsPeer(gateway.material, gateway.port, version=version).request()
        assert answer.startswith(b"HTTP/1.1 200")
    assert [peer.tls_version for peer in gateway.gate.peers] == ["TLSv1.2", "TLSv1.3"]
    gateway.worker.add_up()
    assert grown("handshakes_total", site="certificate", outcome="full") == 2
    run = await asyncio.to_thread(openssl, gateway, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert b"protocol version" in run.stderr
    assert grown("handshakes_total", site="public", outcome="tls") == 1


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("host", [PUBLIC, CERTIFICATE])
async def test_internet_explorer_11_on_windows_8_1_completes_a_handshake(open_gateway: OpenGateway, host: str) -> None:
    gateway = await open_gateway()
    client = gateway.material.client
    run = await asyncio.to_thread(
        openssl, gateway, "-tls1_2", "-cipher", IE_11["ciphers"], "-groups", IE_11["groups"], "-sigalgs",
        IE_11["signatures"], "-cert", str(client.pem), "-key", str(client.key_pem), host=host,
    )  # fmt: skip
    assert b"Cipher is ECDHE-ECDSA-AES" in run.stdout, run.stderr
    await gateway.until(lambda: gateway.gate.peers)
    assert (gateway.gate.peers[0].certificate is not None) == (host == CERTIFICATE)


async def test_a_post_quantum_client_gets_a_post_quantum_key_exchange(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    peer = TlsPeer(gateway.material, gateway.port)
    await peer.request()
    assert peer.group == "X25519MLKEM768"


def update_keys(gateway: Gateway, authority: str) -> bytes:
    """Ask, agree on new keys for both directions (KeyUpdate), and ask again on the same connection."""
    client = gateway.material.client
    command = [
        "openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", CERTIFICATE, "-tls1_3",
        "-cert", str(client.pem), "-key", str(client.key_pem),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdin is not None and run.stdout is not None and run.stderr is not None
        watch = threading.Timer(20, run.kill)
        watch.start()
        try:
            run.stdin.write(f"GET /1 HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            run.stdin.flush()
            while b"HTTP/1.1 200" not in (line := run.stdout.readline()):
                assert line, run.stderr.read()
            run.stdin.write(b"K\n")
            run.stdin.flush()
            # A command is one only at the beginning of what is read at once.
            while b"KEYUPDATE" not in (line := run.stderr.readline()):
                assert line
            run.stdin.write(request(authority))
            run.stdin.flush()
            return run.stdout.read()
        finally:
            watch.cancel()
            run.kill()


@pytest.mark.needs("openssl")
async def test_a_client_may_change_its_keys_between_requests(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    said = await asyncio.to_thread(update_keys, gateway, f"{CERTIFICATE}:{gateway.port}")
    assert b"HTTP/1.1 200" in said
    assert len(gateway.gate.peers) == 1
    assert [head.target for head in gateway.gate.heads] == [b"/1", b"/"]


def renegotiate(gateway: Gateway) -> tuple[bytes, bytes]:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", PUBLIC, "-tls1_2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdin is not None
        run.stdin.write(b"R\n")
        run.stdin.flush()
        # Its input stays open: it ends because it was refused.
        run.wait(10)
        return run.communicate()


@pytest.mark.needs("openssl")
async def test_there_is_no_compression_no_renegotiation_and_no_early_data(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    said, complained = await asyncio.to_thread(renegotiate, gateway)
    assert b"Compression: NONE" in said
    assert b"no renegotiation" in complained
    assert gateway.gate.heads == []
    client = await gateway.connect(PUBLIC)
    assert client.writer.get_extra_info("ssl_object").compression() is None
    run = await asyncio.to_thread(openssl, gateway, "-tls1_3", "-ign_eof", said=request(client.authority))
    assert b"Max Early Data: 0" in run.stdout


@VERSIONS
async def test_a_certificate_is_asked_for_on_the_certificate_host_only_and_names_the_bank(
    open_gateway: OpenGateway, version: int
) -> None:
    gateway = await open_gateway()
    material = gateway.material
    for host, named in ((PUBLIC, []), (CERTIFICATE, ["Test CA"])):
        peer = TlsPeer(material, gateway.port, host=host, certificate=material.client, version=version)
        await peer.request()
        assert peer.named == named
    public, certificate = gateway.gate.peers
    assert (public.site, public.certificate) == (Site.PUBLIC, None)
    assert certificate.site is Site.CERTIFICATE
    assert certificate.certificate is not None
    assert certificate.certificate.der == material.client.der


@VERSIONS
async def test_any_certificate_or_none_reaches_the_gate_and_only_the_leaf(
    open_gateway: OpenGateway, version: int
) -> None:
    """Not trusted: ``trust`` judges. What else is sent along is never looked at (CVE-2023-2422)."""
    gateway = await open_gateway()
    material = gateway.material
    await TlsPeer(material, gateway.port, version=version).request()
    await TlsPeer(material, gateway.port, version=version, certificate=material.stranger).request()
    stuffed = TlsPeer(
        material,
        gateway.port,
        version=version,
        certificate=material.stranger,
        chain=(material.client, material.authority),
    )
    await stuffed.request()
    shown = [peer.certificate.der if peer.certificate else None for peer in gateway.gate.peers]
    assert shown == [None, material.stranger.der, material.stranger.der]


# --- resumption -----------------------------------------------------------------------------------


@VERSIONS
async def test_a_resumed_session_still_shows_the_leaf_to_the_gate(
    open_gateway: OpenGateway, version: int, grown: Counter
) -> None:
    gateway = await open_gateway()
    material = gateway.material
    peer = TlsPeer(material, gateway.port, certificate=material.client, version=version)
    _, peer.session = await peer.request()
    peer.certificate = None
    answer, _ = await peer.request()
    assert answer.startswith(b"HTTP/1.1 200")
    full, resumed = gateway.gate.peers
    assert (full.resumed, resumed.resumed) == (False, True)
    assert resumed.certificate is not None
    assert resumed.certificate.der == material.client.der
    gateway.worker.add_up()
    assert grown("handshakes_total", site="certificate", outcome="resumed") == 1


@VERSIONS
@pytest.mark.parametrize(("taken", "shown"), [(PUBLIC, CERTIFICATE), (CERTIFICATE, PUBLIC)])
async def test_a_session_of_one_host_does_not_resume_on_the_other(
    open_gateway: OpenGateway, version: int, taken: str, shown: str
) -> None:
    """CVE-2025-23419."""
    gateway = await open_gateway()
    material = gateway.material
    peer = TlsPeer(material, gateway.port, host=taken, certificate=material.client, version=version)
    _, session = await peer.request()
    other = TlsPeer(material, gateway.port, host=shown, version=version, session=session)
    _, of_other = await other.request()
    assert gateway.gate.peers[-1].certificate is None
    assert not gateway.gate.peers[-1].resumed
    assert of_other.__class__ is SSL.Session
    # The same session does resume where it was taken, so it was a good one.
    again = TlsPeer(material, gateway.port, host=taken, version=version, session=session)
    await again.request()
    assert gateway.gate.peers[-1].resumed == (taken == CERTIFICATE)


@VERSIONS
async def test_without_a_lifetime_no_session_resumes(open_gateway: OpenGateway, version: int) -> None:
    gateway = await open_gateway(tls={"session_seconds": 0})
    peer = TlsPeer(gateway.material, gateway.port, certificate=gateway.material.client, version=version)
    _, peer.session = await peer.request()
    await peer.request()
    assert [each.resumed for each in gateway.gate.peers] == [False, False]


@VERSIONS
def test_a_session_resumes_on_another_worker_that_was_forked_with_the_same_contexts(
    material: Material, tmp_path_factory: pytest.TempPathFactory, version: int
) -> None:
    state = tmp_path_factory.mktemp("workers")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    contexts = contexts_for(configure(material, state, port_of(sockets[0]), ["http://127.0.0.1:1"]), material)
    workers: list[int] = []
    try:
        for listening in sockets:
            child = os.fork()
            if not child:
                try:
                    serve_forked(material, state, listening, contexts)
                finally:
                    os._exit(1)
            workers.append(child)
        first = TlsPeer(material, port_of(sockets[0]), certificate=material.client, version=version)
        _, session = first._request()
        # The second worker sees no certificate but the one in the session.
        second = TlsPeer(material, port_of(sockets[1]), version=version, session=session)
        answer, _ = second._request()
        assert b"resumed with the certificate" in answer
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)
        for listening in sockets:
            listening.close()


def serve_forked(material: Material, state: Path, listening: socket.socket, contexts: Contexts) -> None:
    """A worker whose 401 page says how the handshake went."""
    port = port_of(listening)
    configuration = configure(material, state, port, ["http://127.0.0.1:1"])
    gate = ScriptedGate()

    def answer(head: object) -> Refuse:
        peer = gate.peers[-1]
        good = peer.resumed and peer.certificate is not None and peer.certificate.der == material.client.der
        return Refuse(401 if good else 403, "x")

    gate.answer = answer

    async def run() -> None:
        pages = dict.fromkeys(REASONS, b"page") | {401: b"resumed with the certificate"}
        loop = asyncio.get_running_loop()
        worker = Worker(configuration, gate=gate, pages=pages, clock=SystemClock(), loop=loop)
        sites = Sites(f"127.0.0.1:{port}", configuration.public, configuration.certificate)
        Listener(worker, listening, sites, contexts).start()
        await asyncio.sleep(20)

    uvloop.run(run())


# --- choosing another certificate -----------------------------------------------------------------


@VERSIONS
async def test_an_unwanted_certificate_gets_an_alert_and_another_passes(
    open_gateway: OpenGateway, version: int
) -> None:
    """Chromium forgets its choice for a host when a handshake there ends in a certificate alert (clause A.2)."""
    gateway = await open_gateway()
    material = gateway.material
    peer = TlsPeer(material, gateway.port, certificate=material.client, version=version)
    _, session = await peer.request()
    gateway.gate.ask_again = lambda address: address == "127.0.0.1"
    gateway.gate.unwanted = lambda certificate: certificate is not None and certificate.der == material.client.der

    # Not resumed either: the certificate is asked for again.
    peer.session = session
    with pytest.raises(SSL.Error, match="alert"):
        await peer.request()
    assert len(gateway.gate.peers) == 1

    other = TlsPeer(material, gateway.port, certificate=material.other_client, version=version, session=session)
    _, of_asking = await other.request()
    assert other.named == ["Test CA"]
    assert gateway.gate.peers[-1].certificate is not None
    assert gateway.gate.peers[-1].certificate.der == material.other_client.der
    assert not gateway.gate.peers[-1].resumed

    # Nothing taken while asking resumes, neither while asking nor afterwards.
    for asking in (True, False):
        gateway.gate.ask_again = lambda address, asking=asking: asking  # type: ignore[misc]
        await TlsPeer(material, gateway.port, version=version, session=of_asking).request()
        assert gateway.gate.peers[-1].certificate is None

    # The public host asks nobody.
    gateway.gate.ask_again = lambda address: True
    await TlsPeer(material, gateway.port, host=PUBLIC, certificate=material.client, version=version).request()


@VERSIONS
async def test_a_peer_that_showed_none_and_shall_choose_one_gets_an_alert_for_none(
    open_gateway: OpenGateway, version: int
) -> None:
    gateway = await open_gateway()
    gateway.gate.ask_again = lambda address: True
    gateway.gate.must_show = lambda address: True
    with pytest.raises(SSL.Error, match=r"alert|required"):
        await TlsPeer(gateway.material, gateway.port, version=version).request()
    assert gateway.gate.peers == []
    await TlsPeer(gateway.material, gateway.port, certificate=gateway.material.client, version=version).request()
    assert gateway.gate.peers[0].certificate is not None


# --- what is refused ------------------------------------------------------------------------------


async def test_an_unknown_server_name_is_refused_with_an_alert(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway()
    for name in ("elsewhere.example", "cert.bank.localhost.evil.example"):
        with pytest.raises(SSL.Error, match="unrecognized name"):
            await TlsPeer(gateway.material, gateway.port, host=name).request()
    assert grown("handshakes_total", site="unknown", outcome="unknown_server_name") == 2
    assert gateway.gate.peers == []


async def test_without_a_server_name_it_is_the_public_host_where_no_certificate_counts(
    open_gateway: OpenGateway,
) -> None:
    gateway = await open_gateway()
    await TlsPeer(gateway.material, gateway.port, host=None, certificate=gateway.material.client).request()
    assert (gateway.gate.peers[0].site, gateway.gate.peers[0].certificate) == (Site.PUBLIC, None)


def raising(*arguments: object) -> bool:
    raise ZeroDivisionError


@VERSIONS
@pytest.mark.parametrize("where", ["greet", "ask_again", "must_show", "unwanted"])
async def test_a_callback_that_raises_refuses_the_connection(
    open_gateway: OpenGateway, errors_expected: None, grown: Counter, version: int, where: str
) -> None:
    """CVE-2026-27448."""
    gateway = await open_gateway()
    if where == "greet":
        gateway.gate.on_greet = raising  # type: ignore[assignment]
    elif where == "ask_again":
        gateway.gate.ask_again = raising
    elif where == "must_show":
        gateway.gate.ask_again = lambda address: True
        gateway.gate.must_show = raising
    else:
        gateway.gate.ask_again = lambda address: True
        gateway.gate.unwanted = raising
    for _ in range(2):
        with pytest.raises(SSL.Error):
            await TlsPeer(
                gateway.material, gateway.port, certificate=gateway.material.client, version=version
            ).request()
    await gateway.until(lambda: gateway.worker.connections == 0)
    assert gateway.gate.heads == []
    assert gateway.legacy.sides == []
    assert grown("handshakes_total", site="certificate", outcome="internal_error") == 2
    # And only that connection: the public host goes on.
    gateway.gate.on_greet = lambda peer: None
    await TlsPeer(gateway.material, gateway.port, host=PUBLIC, version=version).request()


async def test_the_verify_callback_that_raises_refuses_the_connection(
    open_gateway: OpenGateway, errors_expected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_gateway.wire.tls._accept_for_judgement", raising)
    gateway = await open_gateway()
    with pytest.raises(SSL.Error):
        await TlsPeer(gateway.material, gateway.port, certificate=gateway.material.client).request()
    assert gateway.gate.peers == []


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"], ids=len)
async def test_a_handshake_that_takes_too_long_is_ended(open_gateway: OpenGateway, grown: Counter, said: bytes) -> None:
    gateway = await open_gateway()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(said)
    await gateway.until(lambda: gateway.worker.connections == 1)
    gateway.pass_time(9)
    assert gateway.worker.connections == 1
    gateway.pass_time(1.1)
    await gateway.until(lambda: gateway.worker.connections == 0)
    assert grown("timeouts_total", timeout="handshake") == 1
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"], ids=len)
async def test_a_peer_that_hangs_up_in_its_hello_is_let_go_at_once(
    open_gateway: OpenGateway, grown: Counter, said: bytes
) -> None:
    gateway = await open_gateway()
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(said)
    await gateway.until(lambda: gateway.worker.connections == 1)
    writer.close()
    await gateway.until(lambda: gateway.worker.connections == 0)
    assert grown("handshakes_total", site="unknown", outcome="lost") == 1


async def test_a_hello_may_come_octet_by_octet(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(gateway.material.authority.pem))
    tls = context.wrap_bio(incoming, outgoing, server_hostname=PUBLIC)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in outgoing.read():
        writer.write(bytes([octet]))
        await asyncio.sleep(0)
    incoming.write(await reader.readexactly(5))
    writer.close()


async def test_what_is_no_tls_is_refused(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway()
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await gateway.until(lambda: grown("handshakes_total", site="unknown", outcome="not_tls"))
    await gateway.until(lambda: gateway.worker.connections == 0)
    assert grown("handshakes_total", site="unknown", outcome="not_tls") == 1
    writer.close()


def test_what_a_client_stuffs_into_its_chain_is_not_verified(
    material: Material, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Only trust judges: the signatures of 22 keys of 16,384 bits took OpenSSL 0.13 s, whoever sent them."""
    configuration = configure(material, tmp_path_factory.mktemp("contexts"), 1, ["http://127.0.0.1:1"])
    contexts = build_contexts(configuration, [])
    asking = (contexts.certificate, contexts.asking, contexts.requiring)
    assert [context.get_verify_depth() for context in asking] == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tls": {"ciphers": "NO-SUCH-CIPHER"}}, "tls.ciphers"),
        ({"public": "missing.pem"}, "missing.pem"),
        ({"public": "swapped"}, "not the key of"),
    ],
)
def test_contexts_that_cannot_be_built_name_the_file_and_the_key(
    material: Material, tmp_path_factory: pytest.TempPathFactory, change: dict[str, object], said: str
) -> None:
    state = tmp_path_factory.mktemp("contexts")
    public = {"name": PUBLIC, "listen": ["127.0.0.1:1"], "certificate": str(material.server.pem)}
    if change.get("public") == "missing.pem":
        change = {"public": {**public, "certificate": "missing.pem", "key": str(material.server.key_pem)}}
    elif change.get("public") == "swapped":
        change = {"public": {**public, "key": str(material.client.key_pem)}}
    configuration = configure(material, state, 1, ["http://127.0.0.1:1"], **change)
    with pytest.raises(ConfigurationError, match=said):
        build_contexts(configuration, [])
