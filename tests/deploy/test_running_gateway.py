"""What a running gateway tells of itself: to a real Prometheus, to systemd; through kills and reloads (clause E.3)."""

from __future__ import annotations

import http.client
import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.run import left_running
from tests.deploy.alerts import alerts
from tests.deploy.prometheus_server import PrometheusServer, prometheus_server
from tests.deploy.test_dashboard import expressions
from tests.promises.tls_line import Line
from tests.promises.whole_gateway import WholeGateway, configure, eventually, whole_gateway

#: In everything that a stranger sends; never in a metric.
MARK = "zzmarkzz"


class Manager:
    """A service manager's notification socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.05)
        self.told: list[str] = []

    def heard(self, pattern: str) -> bool:
        """Whether it was told so since the last time that it was forgotten."""
        while True:
            try:
                self.told.append(self._socket.recv(65_536).decode())
            except TimeoutError:
                return any(re.search(pattern, one) for one in self.told)

    def close(self) -> None:
        self._socket.close()

    def forget(self) -> None:
        self.heard("")
        self.told.clear()


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    found = Manager(tmp_path_factory.mktemp("manager") / "notify")
    os.environ["NOTIFY_SOCKET"] = str(found.path)
    yield found
    os.environ.pop("NOTIFY_SOCKET", None)
    found.close()


@pytest.fixture(scope="module")
def gateway(manager: Manager, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("watched"), {"operations": {"census_every": 1.0}}) as running:
        os.environ.pop("NOTIFY_SOCKET")
        yield running


@pytest.fixture(scope="module")
def prometheus(gateway: WholeGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    [port] = free_ports(1)
    with prometheus_server(tmp_path_factory.mktemp("prometheus"), port, gateway.ports.operations) as server:
        yield server


def metrics_text(gateway: WholeGateway) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ports.operations, timeout=10)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200, gateway.log[-3_000:]
        return answer.read().decode()
    finally:
        connection.close()


def figures(gateway: WholeGateway) -> dict[str, float]:
    """Every series by its name and labels."""
    lines = (line.rpartition(" ") for line in metrics_text(gateway).splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}


def replaced(gateway: WholeGateway, role: str, victim: int, wanted: int) -> bool:
    now = processes(gateway, role)
    return victim not in now and len(now) == wanted


def forgotten(directory: Path, pid: int) -> bool:
    """Whether a process has no files of its own any more."""
    return not list(directory.glob(f"*_{pid}.db"))


def answers(gateway: WholeGateway) -> bool:
    """Whether there is a portal to ask."""
    try:
        metrics_text(gateway)
    except (OSError, http.client.HTTPException):
        return False
    return True


def is_counter(series: str) -> bool:
    return series.partition("{")[0].endswith(("_total", "_bucket", "_count", "_sum"))


def processes(gateway: WholeGateway, role: str) -> list[int]:
    lines = [line.split(" ", 1) for line in left_running([gateway.process.pid])]
    return sorted(int(pid) for pid, title in lines if title.startswith(f"mtls-gateway: {role}"))


# --- to a service manager ------------------------------------------------------------------------


def test_the_service_manager_is_told_that_it_is_ready_and_that_it_lives(
    gateway: WholeGateway, manager: Manager
) -> None:
    assert manager.heard(r"^READY=1\b")
    manager.forget()
    for _ in range(2):
        assert eventually(lambda: manager.heard(r"^WATCHDOG=1$"))
        manager.forget()


def test_a_reload_is_told_with_what_came_of_it(gateway: WholeGateway, manager: Manager) -> None:
    file = gateway.material.configuration
    good = file.read_text(encoding="utf-8")
    before = gateway.metric("mtls_gateway_generation_loaded_timestamp_seconds")
    manager.forget()
    configure(file, {"limits": {"connections": -1}})
    os.kill(gateway.process.pid, signal.SIGHUP)
    assert eventually(lambda: manager.heard(r"^RELOADING=1\nMONOTONIC_USEC=\d+"))
    assert eventually(lambda: manager.heard(r"^READY=1\nSTATUS=.*refused: .*limits\.connections"))
    assert gateway.metric_reaches(1.0, "mtls_gateway_reloads_total", outcome="refused")
    assert gateway.metric("mtls_gateway_generation_loaded_timestamp_seconds") == before
    file.write_text(good, encoding="utf-8")
    os.kill(gateway.process.pid, signal.SIGHUP)
    assert eventually(lambda: manager.heard(r"^READY=1\nSTATUS=.*was taken"), 45.0), manager.told
    assert gateway.metric_reaches(1.0, "mtls_gateway_reloads_total", outcome="taken")
    assert gateway.metric("mtls_gateway_generation_loaded_timestamp_seconds") > before
    # Those of the generation before have ended, and nobody counts them as dead.
    assert gateway.metric_reaches(4.0, "mtls_gateway_worker_exits_total", cause="asked")
    assert gateway.metric("mtls_gateway_worker_exits_total", cause="died") == 0


# --- to whoever asks for the metrics -------------------------------------------------------------


def test_what_ends_and_what_is_in_force_is_told_by_the_process_that_knows(gateway: WholeGateway) -> None:
    now = time.time()
    for site in ("public", "certificate"):
        assert gateway.metric("mtls_gateway_host_certificate_not_after_seconds", site=site) > now
    for authority in ("demo-root", "demo-issuing"):
        assert gateway.metric_reaches(now, "mtls_gateway_authority_not_after_seconds", authority=authority)
        assert gateway.metric("mtls_gateway_crl_next_update_timestamp_seconds", authority=authority) > now
        assert 0 < gateway.metric("mtls_gateway_crl_this_update_timestamp_seconds", authority=authority) <= now
    assert gateway.metric("mtls_gateway_changes_polled_timestamp_seconds", role="gateway") > now - 10
    for check in ("database", "revocation", "state"):
        assert gateway.metric_reaches(1.0, "mtls_gateway_ready", check=check)
    assert gateway.metric("mtls_gateway_workers", role="gateway") == 2
    assert gateway.metric("mtls_gateway_state_free_octets") > 0


def test_sessions_are_counted_while_they_live(gateway: WholeGateway) -> None:
    before = gateway.metric("mtls_gateway_sessions", method="certificate")
    person = gateway.newcomer()
    gateway.signed_in(person)
    assert gateway.metric_reaches(before + 1, "mtls_gateway_sessions", method="certificate")
    gateway.cli("session", "end", person.user_id)
    assert eventually(lambda: gateway.metric("mtls_gateway_sessions", method="certificate") == before)


def test_nothing_that_a_stranger_sends_becomes_a_label(gateway: WholeGateway) -> None:
    """Otherwise anybody could fill the memory of whoever stores the metrics."""
    browser = gateway.browser()
    for place in range(12):
        mark = f"{MARK}{place}"
        for host in (PUBLIC_HOST, CERTIFICATE_HOST):
            browser.get(host, f"/{mark}?{mark}")
        raw(gateway, f"{mark.upper()} /{mark} HTTP/1.1\r\nHost: {PUBLIC_HOST}\r\n\r\n", PUBLIC_HOST)
        raw(gateway, f"GET / HTTP/1.1\r\nHost: {mark}\r\n{mark}: {mark}\r\nCookie: {mark}={mark}\r\n\r\n", PUBLIC_HOST)
        raw(gateway, "", f"{mark}.example")
    assert gateway.metric_reaches(24.0, "mtls_gateway_requests_total", site="public")
    assert gateway.metric_reaches(12.0, "mtls_gateway_handshakes_total", outcome="unknown_server_name")
    assert MARK not in metrics_text(gateway).lower()


def raw(gateway: WholeGateway, request: str, name: str) -> None:
    """Send what no client sends."""
    words = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{gateway.port}", "-servername", name]
    subprocess.run(words, input=request.encode(), capture_output=True, timeout=20, check=False)


def test_counters_never_go_back_or_vanish_and_live_gauges_drop_when_a_process_is_killed(gateway: WholeGateway) -> None:
    browser = gateway.signed_in(gateway.newcomer())
    lines = [Line(gateway, CERTIFICATE_HOST, browser.context) for _ in range(4)]
    for line in lines:
        assert "ようこそ" in line.as_browser(browser, CERTIFICATE_HOST).text
    assert gateway.metric_reaches(4.0, "mtls_gateway_connections", site="certificate")
    seen: list[dict[str, float]] = []
    stop = threading.Event()

    def watch() -> None:
        # A portal that is killed answers nothing for a moment: only what is answered counts.
        while not stop.is_set():
            try:
                seen.append(figures(gateway))
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)

    watching = threading.Thread(target=watch)
    watching.start()
    directory = gateway.material.directory / "state" / "metrics"
    try:
        workers = processes(gateway, "gateway")
        for role, victim in [("gateway", pid) for pid in workers] + [
            (role, processes(gateway, role)[0]) for role in ("clerk", "portal")
        ]:
            wanted = len(processes(gateway, role))
            os.kill(victim, signal.SIGKILL)
            assert eventually(partial(replaced, gateway, role, victim, wanted), 20.0)
            assert eventually(lambda: answers(gateway), 20.0)
            # What it has counted is in the file for all who have ended.
            assert eventually(partial(forgotten, directory, victim), 20.0)
        # Both workers that held them are gone.
        assert eventually(lambda: gateway.metric("mtls_gateway_connections", site="certificate") == 0)
        assert gateway.metric_reaches(2.0, "mtls_gateway_worker_exits_total", role="gateway", cause="died")
        assert gateway.metric_reaches(1.0, "mtls_gateway_workers", role="clerk")
        assert eventually(lambda: gateway.metric("mtls_gateway_workers", role="gateway") == 2.0)
    finally:
        stop.set()
        watching.join(20)
        for line in lines:
            line.close()
    assert len(seen) > 20
    for earlier, later in itertools.pairwise(seen):
        back = {name: (value, later.get(name)) for name, value in earlier.items() if is_counter(name)}
        assert {name: pair for name, pair in back.items() if pair[1] is None or pair[1] < pair[0]} == {}
    owners = {file.name.rpartition("_")[2] for file in directory.glob("*.db")}
    # Master, two workers, portal, clerk; and all that have ended.
    assert len(owners) <= 6, owners


# --- to a real Prometheus ------------------------------------------------------------------------


@pytest.mark.needs("prometheus", "promtool")
def test_prometheus_scrapes_it_and_every_rule_evaluates(gateway: WholeGateway, prometheus: PrometheusServer) -> None:
    gateway.signed_in(gateway.newcomer())
    assert eventually(lambda: prometheus.query('up{job="mtls-gateway"} == 1') != [], 30.0)
    wanted = {alert.name for alert in alerts()}

    def evaluated() -> bool:
        groups = prometheus.api("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert [rule for rule in rules if rule["health"] == "err"] == []
        return {rule["name"] for rule in rules if rule["health"] == "ok"} == wanted

    assert eventually(evaluated, 30.0)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics_text(gateway), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.needs("prometheus")
def test_every_panel_of_the_dashboard_is_a_question_that_prometheus_answers(
    gateway: WholeGateway, prometheus: PrometheusServer
) -> None:
    assert eventually(lambda: prometheus.query('up{job="mtls-gateway"} == 1') != [], 30.0)
    empty = set()
    for title, expression in expressions():
        plain = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
        if not prometheus.query(plain):
            empty.add(title)
    # What has not happened has no figure; all that always is has.
    always = {"Answers", "Ready", "Live sessions", "Open connections", "CRL: until nextUpdate", "CRL: age"}
    always |= {"CA certificates end", "Host certificates end", "Users locked", "Certificates by state"}
    always |= {"Since the changes feed was read", "Disk of the state directory"}
    always |= {"Version, and since when this generation is in force"}
    assert always & empty == set()


@pytest.mark.needs("prometheus")
def test_an_alert_reaches_whoever_asks_prometheus(gateway: WholeGateway, prometheus: PrometheusServer) -> None:
    """The easiest to bring about: a reload that is refused."""
    file = gateway.material.configuration
    good = file.read_text(encoding="utf-8")
    # Prometheus has to have seen the counter before it grows.
    seen = 'mtls_gateway_reloads_total{outcome="refused"}'
    assert eventually(lambda: prometheus.query(seen) != [], 30.0)
    try:
        configure(file, {"limits": {"connections": -1}})
        os.kill(gateway.process.pid, signal.SIGHUP)
        firing = 'ALERTS{alertname="MtlsGatewayReloadRefused", alertstate="firing", severity="warning"}'
        assert eventually(lambda: prometheus.query(firing) != [], 40.0)
    finally:
        file.write_text(good, encoding="utf-8")
