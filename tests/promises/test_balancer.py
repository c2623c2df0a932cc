"""Behind a balancer that passes TLS on, every customer keeps an address of its own: HAProxy, as a bank sets it up."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mtls_gateway.config import read_configuration
from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Connection
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.material import Material
from mtls_gateway.demo.run import end
from tests.promises.distant import DistantBrowser, DistantConnection
from tests.promises.whole_gateway import Person, WholeGateway, eventually, whole_gateway

pytestmark = pytest.mark.needs("haproxy")

BALANCER = "127.0.0.2"
AT_HOME, AT_THE_OFFICE = "127.0.0.77", "127.0.0.78"
CONNECTIONS, ATTEMPTS = 6, 4
HAPROXY = """
global
    stats socket {folder}/stats mode 600
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend customers
    bind 127.0.0.1:{outside}
    default_backend gateways
backend gateways
    source {balancer}
    server one 127.0.0.1:{inside} send-proxy-v2 {options} check check-send-proxy inter 200ms fall 2 rise 1
"""


class Balanced:
    """A gateway with HAProxy in front."""

    def __init__(self, gateway: WholeGateway, inside: int, folder: Path) -> None:
        self.gateway = gateway
        self.inside = inside
        self.folder = folder

    def browser(self, source: str, person: Person | None = None) -> DistantBrowser:
        browser = DistantBrowser(self.gateway.port, self.gateway.server_ca, None if person is None else person.pem)
        browser.source = source
        return browser

    def is_up(self) -> bool:
        """What HAProxy's health checks say of the gateway."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(10)
            asking.connect(str(self.folder / "stats"))
            asking.sendall(b"show stat\n")
            told = b""
            while data := asking.recv(65_536):
                told += data
        (line,) = [line.split(",") for line in told.decode().splitlines() if line.startswith("gateways,one,")]
        return line[17] == "UP"

    def logged(self) -> list[dict[str, Any]]:
        file = self.gateway.material.directory / "access.log"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextmanager
def haproxy(folder: Path, **words: object) -> Iterator[None]:
    file = folder / "haproxy.cfg"
    file.write_text(HAPROXY.format(folder=folder, balancer=BALANCER, **words))
    with (folder / "haproxy.log").open("wb") as log:
        # In the foreground, one process.
        child = subprocess.Popen(["haproxy", "-db", "-f", str(file)], stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        end(child)


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    (inside,) = free_ports(1)
    outside = 0

    def settings(material: Material) -> Mapping[str, Any]:
        nonlocal outside
        outside = read_configuration(material.configuration).public.browser_port
        host = {"listen": [f"127.0.0.1:{inside}"], "port": outside, "proxy_protocol": [BALANCER]}
        return {
            "public": host,
            "certificate": host,
            "limits": {"connections_per_address": CONNECTIONS},
            "lockout": {"attempts_per_address": ATTEMPTS, "wrong_passwords": 100},
            "operations": {"access_log": "access.log", "workers": 1},
            "legacy": {"seen": {"forwarded_headers": True}},
        }

    with ExitStack() as stack:
        running = stack.enter_context(whole_gateway(tmp_path_factory.mktemp("balanced"), settings, backend="odd"))
        # A path of a unix socket has 108 octets at most.
        folder = tmp_path_factory.mktemp("haproxy")
        stack.enter_context(
            haproxy(folder, inside=inside, outside=outside, options="proxy-v2-options crc32c,unique-id")
        )
        found = Balanced(running, inside, folder)
        assert eventually(lambda: (folder / "stats").exists()), (folder / "haproxy.log").read_text()
        assert eventually(found.is_up)
        yield found


def signed_in(balanced: Balanced, source: str, person: Person) -> DistantBrowser:
    browser = balanced.browser(source, person)
    page = browser.get(CERTIFICATE_HOST, "/")
    browser.submit(page, page.form("password"), password=person.password)
    return browser


def test_the_customers_address_reaches_the_backend_the_access_log_and_the_session(balanced: Balanced) -> None:
    person = balanced.gateway.newcomer()
    browser = signed_in(balanced, AT_HOME, person)
    told = browser.get(CERTIFICATE_HOST, "/echo").text.lower()
    assert f"x-forwarded-for: {AT_HOME}\r\n" in told
    assert f'forwarded: for={AT_HOME};host="{CERTIFICATE_HOST}:{balanced.gateway.port}";proto=https\r\n' in told
    assert eventually(lambda: any(line["path"] == "/echo" for line in balanced.logged()))
    (line,) = [line for line in balanced.logged() if line["path"] == "/echo"]
    assert (line["address"], line["user"]) == (AT_HOME, person.user_id)


def test_wrong_passwords_from_one_address_slow_down_that_one_only(balanced: Balanced) -> None:
    person = balanced.gateway.newcomer()
    browser = balanced.browser(AT_HOME, person)
    page = browser.get(CERTIFICATE_HOST, "/")
    statuses = [browser.submit(page, page.form("password"), password="wrong").status for _ in range(ATTEMPTS + 2)]
    assert statuses[-1] == 429, statuses
    elsewhere = signed_in(balanced, AT_THE_OFFICE, person)
    assert f">{person.user_id}<" in elsewhere.get(CERTIFICATE_HOST, "/home").text


def test_one_address_that_takes_all_it_may_locks_out_neither_others_nor_the_balancer(balanced: Balanced) -> None:
    kept: list[Connection] = []
    try:
        for _ in range(CONNECTIONS):
            kept.append(balanced.browser(AT_HOME).connect(CERTIFICATE_HOST))
            kept[-1].connect()
        with pytest.raises(OSError):
            balanced.browser(AT_HOME).get(CERTIFICATE_HOST, "/")
        assert balanced.gateway.metric_reaches(1, "mtls_gateway_limit_refusals_total", limit="connections_per_address")
        # More of them than an address may have, none of them refused.
        for _ in range(2 * CONNECTIONS):
            assert balanced.browser(AT_THE_OFFICE).get(CERTIFICATE_HOST, "/").status == 403
        assert balanced.is_up()
    finally:
        for connection in kept:
            connection.close()


def test_whoever_goes_round_the_balancer_is_refused_whatever_it_claims(balanced: Balanced) -> None:
    before = balanced.gateway.metric("mtls_gateway_proxy_header_refusals_total", reason="not_a_balancer")
    claimed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes((10, 0, 0, 1)) * 2 + bytes((200, 1, 1, 187))
    for begun in (claimed, b""):
        with socket.create_connection(("127.0.0.1", balanced.inside), 10) as around:
            try:
                around.sendall(begun)
                assert around.recv(1) == b""
            except ConnectionError:
                pass
    assert balanced.gateway.metric_reaches(
        before + 2, "mtls_gateway_proxy_header_refusals_total", reason="not_a_balancer"
    )


def test_a_balancer_that_forgets_the_header_is_refused(balanced: Balanced) -> None:
    connection = DistantConnection(CERTIFICATE_HOST, balanced.inside, balanced.browser(BALANCER).context)
    connection.source = BALANCER
    with pytest.raises(OSError):
        connection.connect()
    assert balanced.gateway.metric_reaches(1, "mtls_gateway_proxy_header_refusals_total", reason="no_header")


def test_health_checks_are_no_refusals(balanced: Balanced) -> None:
    lost = balanced.gateway.metric("mtls_gateway_handshakes_total", outcome="lost")
    # Each is a header that says LOCAL, and an end: a handshake that nobody began.
    assert balanced.gateway.metric_reaches(lost + 3, "mtls_gateway_handshakes_total", outcome="lost")
    assert balanced.is_up()
