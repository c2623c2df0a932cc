"""The walk's last part: a certificate is revoked, a worker killed, the bank stopped."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Browser, WebSocket
from mtls_gateway.demo.visit import Visit, place, within_a_second
from mtls_gateway.model import Code

#: Seconds: what is promised, and how long is waited before it counts as broken.
PROMISED: Final = 1.0
PATIENCE: Final = 8.0
#: The alerts that make Chromium forget the certificate it has chosen for a host.
_CERTIFICATE_ALERTS: Final = (
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV1_ALERT_UNKNOWN_CA",
    "TLSV1_ALERT_ACCESS_DENIED",
)


def health_and_metrics_answer(visit: Visit) -> None:
    """Clause E.3, as far as it is built."""
    for path in ("/healthz", "/readyz", "/metrics"):
        status, body = _operations(visit, path)
        visit.expect(f"operations: {path}", 200, status)
    named = [
        name for name in ("requests", "handshakes", "admissions", "crl_seconds_left") if f"mtls_gateway_{name}" in body
    ]
    visit.expect("metrics that answer", ["requests", "handshakes", "admissions", "crl_seconds_left"], named)
    status, _ = _operations(visit, "/home")
    visit.expect("operations: a page of the bank", 404, status)


def _operations(visit: Visit, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", visit.running.ports.operations, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def revocation_reaches_everything_within_a_second(visit: Visit) -> None:
    """Clause C.3: a new CRL, seen from a live connection, a download and a WebSocket under way."""
    browser = visit.signed_in("revoked-later")
    observers = {
        "the next request on a live connection": _next_request(browser),
        "a download under way": _download(browser),
        "a WebSocket under way": _web_socket(browser),
    }
    ended: dict[str, float] = {}

    def watch(name: str, wait: Callable[[float], None]) -> None:
        wait(time.monotonic() + PATIENCE)
        ended[name] = time.monotonic()

    threads = [threading.Thread(target=watch, args=item) for item in observers.items()]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    visit.material.certificates.revoke("revoked-later")
    for thread in threads:
        thread.join(PATIENCE + 5)
    for name in observers:
        took = ended.get(name, float("inf")) - began
        visit.expect(
            f"revoked by CRL: {name}",
            f"ends within {PROMISED:g} s",
            f"ends within {PROMISED:g} s" if took <= PROMISED else f"after {took:.1f} s",
        )
        visit.report.note(f"{name}: {took * 1000:.0f} ms")
    # Not on the first try: the connections that ended may all have been one worker's, and the promise is a second.
    visit.expect(
        "revoked by CRL: a new connection",
        Code.CERTIFICATE_REVOKED.value,
        within_a_second(lambda: place(browser.get(CERTIFICATE_HOST, "/home")), Code.CERTIFICATE_REVOKED.value),
    )


def _next_request(browser: Browser) -> Callable[[float], None]:
    connection = browser.connect(CERTIFICATE_HOST)
    if not place(browser.exchange(connection, "GET", "/home")).startswith("home"):
        raise RuntimeError("the live connection was not let in")

    def wait(until: float) -> None:
        try:
            while time.monotonic() < until and place(browser.exchange(connection, "GET", "/home")).startswith("home"):
                time.sleep(0.01)
        except (OSError, http.client.HTTPException):
            pass  # Cut between two requests: refused all the same.
        finally:
            connection.close()

    return wait


def _download(browser: Browser) -> Callable[[float], None]:
    connection = browser.connect(CERTIFICATE_HOST)
    connection.request(
        "GET", "/statements/large?octets=1000000000000", headers={"Cookie": browser.cookie_header(CERTIFICATE_HOST)}
    )
    answer = connection.getresponse()
    if answer.status != 200 or len(answer.read(65_536)) != 65_536:
        raise RuntimeError("the download did not begin")

    def wait(until: float) -> None:
        try:
            while time.monotonic() < until and answer.read1(65_536):
                time.sleep(0.002)
        except (OSError, http.client.HTTPException):
            pass  # Cut: what is waited for.
        finally:
            connection.close()

    return wait


def _web_socket(browser: Browser) -> Callable[[float], None]:
    web_socket = WebSocket(browser, CERTIFICATE_HOST, "/ws/rates")
    if not web_socket.opened or web_socket.hear() is None:
        raise RuntimeError("the WebSocket did not open")

    def wait(until: float) -> None:
        try:
            while time.monotonic() < until and web_socket.hear() is not None:
                pass
        finally:
            web_socket.close()

    return wait


def another_certificate_can_be_chosen(visit: Visit) -> None:
    """Clause A.2: the browser's choice is forgotten by ending a handshake in a certificate alert."""
    browser = visit.browser("expired")
    page = browser.get(CERTIFICATE_HOST, "/")
    browser.submit(page, page.form_to("/another-certificate"), follow=False)
    visit.expect(
        "the certificate that was not wanted any more",
        "certificate alert",
        within_a_second(lambda: _alert(browser), "certificate alert"),
    )
    other = visit.browser("good").get(CERTIFICATE_HOST, "/")
    visit.expect("another one from the same PC", "password page", place(other))


def _alert(browser: Browser) -> str:
    """How a handshake ends when nothing is sent after it, so that nothing can overtake the alert."""
    connection = browser.connect(CERTIFICATE_HOST)
    try:
        connection.connect()
        connection.sock.settimeout(0.2)
        connection.sock.recv(1)
    except TimeoutError:
        return "no alert"
    except ssl.SSLError as error:
        return "certificate alert" if error.reason in _CERTIFICATE_ALERTS else str(error)
    finally:
        connection.close()
    return "no alert"


def a_killed_worker_is_replaced(visit: Visit) -> None:
    """Clause E.4: kill -9 of a worker loses nothing; sessions live on."""
    browser = visit.signed_in("good")
    before = gateway_workers(visit)
    visit.expect("gateway workers", 2, len(before))
    os.kill(before[0], signal.SIGKILL)
    got = []
    for _ in range(10):
        try:
            got.append(place(browser.get(CERTIFICATE_HOST, "/home")))
        except OSError:
            got.append("no answer")
    # A connection that the dead worker had accepted, or that waited for it, is lost; the next one is not.
    visit.expect("the session after a worker was killed", "home of yamada01", got[-1])
    visit.report.note(f"of 10 requests right after the kill, {got.count('home of yamada01')} were answered")
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        now = gateway_workers(visit)
        if len(now) == 2 and before[0] not in now:
            break
        time.sleep(0.05)
    visit.expect("workers after a moment", 2, len(gateway_workers(visit)))
    visit.expect("the session then", "home of yamada01", place(browser.get(CERTIFICATE_HOST, "/home")))


def gateway_workers(visit: Visit) -> list[int]:
    """The processes that ``serve`` has named gateway workers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            title = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        # proc(5): behind the name stand state, parent, process group, session.
        ours = int(words[3]) == visit.running.gateway.pid and words[0] not in "ZX"
        if ours and title.startswith(b"mtls-gateway: gateway"):
            found.append(int(entry.name))
    return sorted(found)


def a_bank_that_is_down_is_said_to_be(visit: Visit) -> None:
    """Clause B.4: a page, not a hang; and no attempt is counted."""
    browser = visit.signed_in("good")
    visit.running.bank.terminate()
    visit.running.bank.wait(20)
    began = time.monotonic()
    answer = browser.get(CERTIFICATE_HOST, "/home")
    visit.expect(
        "the bank is down: a page", (502, True), (answer.status, "<html" in answer.text and "ja" in answer.text)
    )
    answer = visit.sign_in(visit.browser("newer"), cast.certificate("newer").user_id)
    visit.expect("the bank is down: signing in", False, place(answer).startswith("home"))
    visit.expect("the bank is down: no hang", True, time.monotonic() - began < PATIENCE)
