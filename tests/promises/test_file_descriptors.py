"""When descriptors run out new connections wait or are refused, and whoever is connected goes on."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Browser, Connection
from tests.promises.whole_gateway import WholeGateway, eventually, whole_gateway

BACKEND_CONNECTIONS = 8
REFUSALS = "mtls_gateway_limit_refusals_total"


@pytest.fixture(scope="module")
def scarce(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    settings = {
        "timeouts": {"handshake": 60.0},
        "operations": {"workers": 1},
        "limits": {"connections_per_address": 10_000, "backend_connections": BACKEND_CONNECTIONS},
    }
    with whole_gateway(tmp_path_factory.mktemp("scarce"), settings) as gateway:
        yield gateway


@contextmanager
def live(gateway: WholeGateway) -> Iterator[tuple[Browser, Connection]]:
    """Somebody signed in on a connection that stays open."""
    browser = gateway.signed_in(gateway.newcomer())
    connection = browser.connect(CERTIFICATE_HOST)
    try:
        assert browser.exchange(connection, "GET", "/home").status == 200
        yield browser, connection
    finally:
        connection.close()


@contextmanager
def knocking(port: int, times: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing."""
    with ExitStack() as stack:
        made = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(times)]
        for each in made:
            each.setblocking(False)
        yield made


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def descriptors(pid: int) -> list[int]:
    return [int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()]


def processor_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_out_of_descriptors_a_worker_lets_new_ones_wait_without_spinning_and_serves_the_rest(
    scarce: WholeGateway,
) -> None:
    (worker,) = scarce.workers()
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    lines = scarce.log.count("could not be accepted")
    with live(scarce) as (browser, connection), ThreadPoolExecutor(1) as pool:
        highest = max(descriptors(worker))
        free = highest + 6 - len(descriptors(worker))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (highest + 6, before[1]))
        try:
            with knocking(scarce.port, free + 20) as waiting:
                assert scarce.metric_reaches(1, REFUSALS, limit="accept")
                late = pool.submit(scarce.browser().get, PUBLIC_HOST, "/")
                spent, began = processor_seconds(worker), time.monotonic()
                while time.monotonic() < began + 2.0:
                    assert browser.exchange(connection, "GET", "/home").status == 200
                    time.sleep(0.1)
                # Twenty requests and eight looks; a loop that spins would have spent all of it.
                assert processor_seconds(worker) - spent < 1.0
                assert not any(is_closed(each) for each in waiting)
                assert not late.done()
        finally:
            resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
        # By itself: those who waited are served as soon as others have gone.
        assert late.result(timeout=20).status == 200
        assert browser.exchange(connection, "GET", "/home").status == 200
    assert scarce.workers() == [worker]
    assert 1 <= scarce.log.count("could not be accepted") - lines <= 2


def test_a_worker_that_is_given_few_descriptors_keeps_some_for_those_who_are_connected(scarce: WholeGateway) -> None:
    given, others = 160, 64 + 2 * BACKEND_CONNECTIONS
    (worker,) = scarce.workers()
    resource.prlimit(scarce.process.pid, resource.RLIMIT_NOFILE, (given, given))
    os.kill(worker, signal.SIGKILL)
    assert eventually(lambda: scarce.workers() not in ([], [worker]), 20)
    assert eventually(lambda: f"RLIMIT_NOFILE is {given}: a worker takes {given - others} connections" in scarce.log)
    assert eventually(lambda: scarce.log.count("gateway is serving") >= 2, 20)
    with live(scarce) as (browser, connection):
        refused = scarce.metric(REFUSALS, limit="connections")
        with knocking(scarce.port, given) as waiting:
            # Closed, not left to wait: there is no room for them.
            assert eventually(lambda: sum(is_closed(each) for each in waiting) == others + 1)
            assert scarce.metric_reaches(refused + others + 1, REFUSALS, limit="connections")
            for _ in range(5):
                assert browser.exchange(connection, "GET", "/home").status == 200
        assert eventually(lambda: scarce.browser().get(PUBLIC_HOST, "/").status == 200)
        assert browser.exchange(connection, "GET", "/home").status == 200
