"""A backend that is given by name: its resolver may know nothing, be slow, hang, or say something else later."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.run import Running, process, wait_until_it_answers
from tests.promises.whole_gateway import WholeGateway, configure, eventually, prepared

pytestmark = pytest.mark.needs("namespaces")

NAME = "bank.test"
RESOLVER, HOME, ELSEWHERE = "127.0.0.99", "127.0.0.1", "127.0.0.5"
REFRESH, PATIENCE = 0.5, 2.0


class Resolver:
    """A DNS server that says what it is told to (RFC 1035, section 4)."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((RESOLVER, 53))
        #: None: there is no such name.
        self.address: str | None = None
        #: Seconds before it answers; None: never.
        self.delay: float | None = 0.0
        self.asked = 0

    def run(self) -> None:
        while True:
            try:
                question, client = self._socket.recvfrom(4096)
            except OSError:
                return
            self.asked += 1
            if self.delay is not None:
                timer = threading.Timer(self.delay, self._answer, (question, client))
                timer.daemon = True
                timer.start()

    def _answer(self, question: bytes, client: tuple[str, int]) -> None:
        end = question.index(b"\0", 12) + 5
        wanted = struct.unpack(">H", question[end - 4 : end - 2])[0]
        records = b""
        if wanted == 1 and self.address is not None:
            records = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(self.address)
        flags = 0x8180 if self.address is not None else 0x8183
        head = question[:2] + struct.pack(">HHHHH", flags, 1, bool(records), 0, 0)
        # It may have been closed meanwhile.
        with contextlib.suppress(OSError):
            self._socket.sendto(head + question[12:end] + records, client)

    def close(self) -> None:
        self._socket.close()


class Moved(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"moved")

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    threading.Thread(target=made.run, daemon=True).start()
    yield made
    made.close()


@contextmanager
def started(directory: Path) -> Iterator[WholeGateway]:
    material, ports = prepared(directory, {})
    # Checks that come often, and are only counted.
    checks = {"interval": 0.5, "timeout": 0.5, "fall": 1_000}
    legacy = {"backends": [f"http://{NAME}:{ports.bank}"], "name_refresh": REFRESH, "health_check": checks}
    timeouts = {"backend_connect": PATIENCE, "backend_first_octet": PATIENCE}
    configure(material.configuration, {"legacy": legacy, "timeouts": timeouts, "operations": {"workers": 1}})
    resolv = directory / "resolv.conf"
    resolv.write_text(f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\n")
    own = [str(Path(__file__).with_name("own_resolver.py")), str(resolv)]
    with ExitStack() as stack:
        words = ["-m", "mtls_gateway.demo.bank", "--port", str(ports.bank), "--accounts", str(material.accounts)]
        bank = stack.enter_context(process(material.log("bank"), words))
        wait_until_it_answers("the backend", bank, ports.bank, "/login", material.log("bank"))
        serve = [*own, "-m", "mtls_gateway", "--config", str(material.configuration), "serve"]
        gateway = stack.enter_context(process(material.log("gateway"), serve))
        wait_until_it_answers("the gateway", gateway, ports.operations, "/readyz", material.log("gateway"))
        yield WholeGateway(Running(material, ports, bank, gateway))


@pytest.fixture(scope="module")
def gateway(resolver: Resolver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    """It has started though nobody knew its backend's name."""
    with started(tmp_path_factory.mktemp("named")) as running:
        yield running


def asked(gateway: WholeGateway) -> tuple[int, float]:
    """The status of something of the backend's, and after how many seconds it came."""
    began = time.monotonic()
    return gateway.browser().get(PUBLIC_HOST, "/static/bank.css").status, time.monotonic() - began


def replace_worker(gateway: WholeGateway) -> None:
    """By one that has never heard of the name."""
    (before,) = gateway.workers()
    serving = gateway.log.count("gateway is serving")
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: gateway.log.count("gateway is serving") > serving, 20)


def test_a_name_that_nobody_knows_is_a_page_until_somebody_does(gateway: WholeGateway, resolver: Resolver) -> None:
    status, _ = asked(gateway)
    assert status == 502
    assert gateway.metric_reaches(1, "mtls_gateway_backend_failures_total", reason="resolve")
    person = gateway.newcomer()
    browser = gateway.browser(person)
    page = browser.get(CERTIFICATE_HOST, "/")
    assert browser.submit(page, page.form("password"), password=person.password).status == 503
    resolver.address = HOME
    assert eventually(lambda: asked(gateway)[0] == 200)
    # The portal's own patience with a name that it has just asked for in vain.
    assert eventually(lambda: bool(gateway.signed_in(person)) if asked(gateway)[0] == 200 else False, 20)
    assert f"the name {NAME} was not resolved" in gateway.log


def test_a_resolver_that_hangs_costs_nobody_who_has_an_answer(gateway: WholeGateway, resolver: Resolver) -> None:
    assert eventually(lambda: asked(gateway)[0] == 200)
    resolver.delay = None
    try:
        # Past the time for which the answer is fresh: seen by the next question.
        before = resolver.asked
        assert eventually(lambda: resolver.asked > before)
        well = gateway.metric("mtls_gateway_backend_checks_total", outcome="ok")
        assert gateway.metric_reaches(well + 3, "mtls_gateway_backend_checks_total", outcome="ok")
        with ThreadPoolExecutor(16) as pool:
            # At once, so that there are not enough connections for all.
            found = list(pool.map(lambda _: asked(gateway), range(32)))
        assert {status for status, _ in found} == {200}
        assert max(seconds for _, seconds in found) < PATIENCE
    finally:
        resolver.delay = 0.0


def test_a_resolver_that_hangs_before_it_ever_answered_holds_up_its_own_requests_only(
    gateway: WholeGateway, resolver: Resolver
) -> None:
    resolver.delay = None
    try:
        replace_worker(gateway)
        before = resolver.asked
        with ThreadPoolExecutor(24) as pool:
            waiting = [pool.submit(asked, gateway) for _ in range(24)]
            assert eventually(lambda: resolver.asked > before)
            own = []
            while not all(each.done() for each in waiting):
                began = time.monotonic()
                assert gateway.browser().get(PUBLIC_HOST, "/").status == 200
                own.append(time.monotonic() - began)
            # 503: three have failed, and the rest is told at once.
        assert {each.result()[0] for each in waiting} <= {502, 503, 504}
        assert sorted(own)[len(own) // 2] < PATIENCE / 2
        # One question at a time, for A and AAAA, not one for each request.
        assert resolver.asked - before < 24
    finally:
        resolver.delay = 0.0
    assert eventually(lambda: asked(gateway)[0] == 200)


def test_a_name_that_moves_is_followed_though_connections_to_the_old_address_are_open(
    gateway: WholeGateway, resolver: Resolver
) -> None:
    assert eventually(lambda: asked(gateway)[0] == 200)
    server = http.server.ThreadingHTTPServer((ELSEWHERE, gateway.ports.bank), Moved)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        resolver.delay = 0.5
        resolver.address = ELSEWHERE

        def has_moved() -> bool:
            answer = gateway.browser().get(PUBLIC_HOST, "/static/bank.css")
            assert answer.status == 200
            return answer.text == "moved"

        assert eventually(has_moved, 20)
    finally:
        resolver.address, resolver.delay = HOME, 0.0
        server.shutdown()
        server.server_close()
    assert eventually(lambda: gateway.browser().get(PUBLIC_HOST, "/static/bank.css").text not in ("moved", ""))
