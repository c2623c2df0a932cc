"""Clients that are slow on purpose hold up nobody: slowhttptest in its four ways at once, while others work."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.run import end
from tests.promises.distant import DistantBrowser
from tests.promises.test_est_clients import NSS_WRAPPER
from tests.promises.whole_gateway import WholeGateway

pytestmark = pytest.mark.needs("slowhttptest", "nss-wrapper")

HONEST = "127.0.0.77"
SECONDS = 8
#: Of each way, as fast as it can.
CONNECTIONS = 150
WAYS = {
    "slowloris": ["-H", "-i", "1", "-x", "8"],
    "slow bodies": ["-B", "-i", "1", "-s", "8192", "-t", "POST"],
    "ranges": ["-R", "-a", "1", "-b", "3000"],
    "slow readers": ["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "5", "-k", "3"],
}
#: Seconds. Generous: without the attack it is some hundredths, on a machine that does nothing else.
BOUND = 2.0


def attack(gateway: WholeGateway, folder: Path, words: list[str]) -> subprocess.Popen[bytes]:
    # One for each: while it is written anew, the attacker that was started before finds nobody, and gives up.
    hosts = folder / f"hosts{words[0]}"
    hosts.write_text(f"127.0.0.1 {PUBLIC_HOST}\n")
    command = ["slowhttptest", *words, "-c", str(CONNECTIONS), "-r", str(CONNECTIONS), "-l", str(SECONDS), "-p", "3"]
    return subprocess.Popen(
        [*command, "-u", f"https://{PUBLIC_HOST}:{gateway.port}/"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LD_PRELOAD": NSS_WRAPPER, "NSS_WRAPPER_HOSTS": str(hosts)},
        start_new_session=True,
    )


def took(browser: DistantBrowser, user_id: str) -> float:
    """Seconds for one page of somebody signed in, with a new connection and its handshake."""
    began = time.monotonic()
    answer = browser.get(CERTIFICATE_HOST, "/home")
    assert answer.status == 200 and user_id in answer.text
    return time.monotonic() - began


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


def test_honest_customers_hardly_notice_slow_headers_bodies_ranges_and_readers(
    gateway: WholeGateway, tmp_path: Path
) -> None:
    workers, timeouts = gateway.workers(), gateway.metric("mtls_gateway_timeouts_total", timeout="head")
    person = gateway.newcomer()
    browser = DistantBrowser(gateway.port, gateway.server_ca, person.pem)
    browser.source = HONEST
    page = browser.get(CERTIFICATE_HOST, "/")
    browser.submit(page, page.form("password"), password=person.password)
    before = [took(browser, person.user_id) for _ in range(60)]
    during = []
    most = 0.0
    with ExitStack() as stack:
        running = [attack(gateway, tmp_path, words) for words in WAYS.values()]
        for each in running:
            stack.callback(end, each)
        until = time.monotonic() + SECONDS + 10
        while any(each.poll() is None for each in running) and time.monotonic() < until:
            during.append(took(browser, person.user_id))
            if len(during) % 20 == 0:
                most = max(most, gateway.metric("mtls_gateway_connections"))
    print(f"p99 before {p99(before):.3f} s, during {p99(during):.3f} s; {len(during)} requests, {most:g} connections")
    assert p99(during) < max(BOUND, 10 * p99(before))
    # It was an attack: hundreds at once, ended for being slow; the limit for each address, of each worker, is above.
    assert most > CONNECTIONS
    assert gateway.metric("mtls_gateway_timeouts_total", timeout="head") > timeouts
    assert gateway.workers() == workers
