"""Two machines, one PostgreSQL: what holds on one holds on the other, and a machine that is cut off fails closed.

Real network namespaces with wires of their own to the database and to the bank, so that one can be cut.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mtls_gateway.clock import SystemClock
from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.material import Material, Ports
from mtls_gateway.demo.run import end
from mtls_gateway.demo.visit import place
from mtls_gateway.model import Code
from tests.postgres_server import PostgresServer, postgres_server
from tests.promises.namespaces import Machine, Wire, lab
from tests.promises.whole_gateway import configure, eventually, prepared

pytestmark = [pytest.mark.needs("postgres", "namespaces"), pytest.mark.timeout(240)]

#: How long a worker goes on with what it knows, seconds.
SILENCE = 4.0


class Node:
    """One gateway on a machine of its own."""

    def __init__(self, machine: Machine, store: Wire, material: Material, ports: Ports) -> None:
        self.machine = machine
        #: The wire to the database.
        self.store = store
        self.material = material
        self.ports = ports

    def browser(self, name: str) -> Browser:
        certificates = self.material.certificates
        return Browser(self.ports.gateway, certificates.server_ca, certificates.user(name))

    def seen(self, browser: Browser) -> str:
        """Where a browser gets that asks for the home page here."""
        return self.machine.do(lambda: place(browser.get(CERTIFICATE_HOST, "/home")))

    def sign_in(self, name: str, user_id: str) -> Browser:
        def sign_in() -> Browser:
            browser = self.browser(name)
            page = browser.get(CERTIFICATE_HOST, "/")
            browser.submit(page, page.form("password"), password=f"demo-{user_id}")
            return browser

        return self.machine.do(sign_in)

    def cli(self, *words: str) -> None:
        done = self.machine.run(
            sys.executable, "-m", "mtls_gateway", "--config", str(self.material.configuration), *words
        )
        assert done.returncode == 0, done.stderr

    def ready(self) -> tuple[int, Any]:
        def ask() -> tuple[int, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", self.ports.operations, timeout=10)
            try:
                connection.request("GET", "/readyz")
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())
            except OSError:
                return 0, None
            finally:
                connection.close()

        return self.machine.do(ask)

    def becomes_ready(self, seconds: float) -> bool:
        return eventually(lambda: self.ready()[0] == 200, seconds)


def carried_over(browser: Browser, other: Node, name: str) -> Browser:
    """The same browser at another node, as a balancer would send it there."""
    copy = other.browser(name)
    copy.cookies = browser.cookies
    return copy


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    directory = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        made = stack.enter_context(lab())
        store, bank = made.hub("store", "10.77.0"), made.hub("bank", "10.78.0")
        server = stack.enter_context(postgres_server("10.77.0.1", store.before))
        # One worker each: what a node goes on with is what that very worker knows.
        quick = {"store": {"silence": SILENCE, "busy_timeout": 2.0}, "operations": {"workers": 1}}
        material, ports = prepared(directory / "a", quick)
        database = _moved(server, store, material)
        configure(
            material.configuration,
            {"store": {"url": database}, "legacy": {"backends": [f"http://10.78.0.1:{ports.bank}"]}},
        )
        (material.directory / "state" / "gateway.sqlite3").unlink()
        shutil.copytree(directory / "a", directory / "b")
        second = Material(directory / "b", SystemClock())
        words = ["mtls_gateway.demo.bank", "--address", "10.78.0.1", "--port", str(ports.bank)]
        _start(stack, bank, material.log("bank"), [*words, "--accounts", str(material.accounts)])
        found = []
        for number, each in enumerate((material, second), start=2):
            machine = made.machine(f"node{number}")
            wire = made.wire(machine, store, number)
            made.wire(machine, bank, number)
            node = Node(machine, wire, each, ports)
            _start(stack, machine, each.log("gateway"), ["mtls_gateway", "--config", str(each.configuration), "serve"])
            found.append(node)
        for node in found:
            assert node.becomes_ready(40), node.material.log("gateway").read_text()
        yield found


def _moved(server: PostgresServer, store: Machine, material: Material) -> str:
    """The demo's rows, moved to PostgreSQL by the command that operators have."""
    url = server.url(server.new_database())
    command = [sys.executable, "-m", "mtls_gateway", "--config", str(material.configuration)]
    done = store.run(*command, "store", "copy", "--to", url)
    assert done.returncode == 0, done.stderr
    return url


def _start(stack: ExitStack, machine: Machine, log: Path, words: list[str]) -> None:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*machine.before, sys.executable, "-m", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stack.callback(end, process)


def test_a_session_of_one_node_is_one_of_the_other(nodes: list[Node]) -> None:
    here, there = nodes
    browser = here.sign_in("good", "yamada01")
    assert here.seen(browser) == "home of yamada01"
    assert there.seen(carried_over(browser, there, "good")) == "home of yamada01"


def test_a_revocation_reaches_both_within_a_second(nodes: list[Node]) -> None:
    here, there = nodes
    browser = here.sign_in("revoked-later", "yamada12")
    copies = [(here, browser), (there, carried_over(browser, there, "revoked-later"))]
    assert [node.seen(copy) for node, copy in copies] == ["home of yamada12"] * 2
    here.cli("certificate", "revoke", "--user", "yamada12")
    revoked = time.monotonic()
    for node, copy in copies:
        assert eventually(lambda: node.seen(copy) == Code.CERTIFICATE_REVOKED.value, 1.0)  # noqa: B023
    assert time.monotonic() - revoked < 1.5


def test_a_node_that_is_cut_off_fails_closed_and_catches_up_without_a_restart(nodes: list[Node]) -> None:
    here, there = nodes
    browser = there.sign_in("good-second-user", "yamada02")
    stopped = there.sign_in("newer", "yamada09")
    assert there.seen(browser) == "home of yamada02"
    assert there.seen(stopped) == "home of yamada09"
    there.store.cut()
    try:
        # For a while it goes on with what it knows, for those whom it knows.
        assert there.seen(browser) == "home of yamada02"
        assert eventually(lambda: there.ready()[0] == 503, 10)
        here.cli("user", "stop", "yamada09")
        # Then for nobody.
        assert eventually(lambda: there.seen(browser) == "status 503", SILENCE + 4)
        assert there.seen(there.browser("good")) == "status 503"
        # The other one has not noticed.
        elsewhere = here.sign_in("migrating-company", "sato01")
        assert here.seen(elsewhere) == "home of sato01"
        assert here.ready()[0] == 200
    finally:
        there.store.mend()
    assert eventually(lambda: there.seen(browser) == "home of yamada02", 30)
    assert there.seen(stopped) == Code.USER_STOPPED.value
    assert there.becomes_ready(20)
    assert there.seen(carried_over(elsewhere, there, "migrating-company")) == "home of sato01"
