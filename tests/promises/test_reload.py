"""SIGHUP to a running gateway: a new generation takes over without one failed request; a bad one never does (E.4)."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mtls_gateway.clock import SystemClock
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Connection
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.run import left_running, port_is_taken
from mtls_gateway.demo.visit import place
from mtls_gateway.issuance.development_ca import DevelopmentAuthority
from mtls_gateway.model import Code
from mtls_gateway.store.certificates import NewCertificate
from tests.promises.authority import Authority
from tests.promises.tls_line import Line, client_context
from tests.promises.whole_gateway import WholeGateway, authorities, configure, eventually, whole_gateway

#: Seconds: until a new generation has taken over, and until the old one is gone.
TAKEN_OVER = 20.0
DRAIN = 8.0
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("reloaded"), {"timeouts": {"drain": DRAIN}}) as running:
        yield running


def processes(gateway: WholeGateway) -> dict[int, str]:
    """The master's children that serve, by process ID."""
    lines = [line.split(" ", 1) for line in left_running([gateway.process.pid])]
    return {int(pid): title for pid, title in lines if title.startswith("mtls-gateway: ")}


def reload(gateway: WholeGateway) -> None:
    """Tell the master, and wait until only the new generation is left."""
    old = processes(gateway)
    os.kill(gateway.process.pid, signal.SIGHUP)
    assert eventually(lambda: bool(now := processes(gateway)) and not old.keys() & now.keys(), TAKEN_OVER + DRAIN), (
        gateway.log[-3_000:]
    )


class Clients:
    """A bounded number of customers, each at one thing again and again; what goes wrong is kept."""

    def __init__(self, gateway: WholeGateway) -> None:
        self._gateway = gateway
        self._stop = threading.Event()
        self.done: dict[str, int] = {}
        self.failed: list[str] = []
        self._open: list[Connection] = []
        ways = {
            "sign in and out": self._sign_in_and_out,
            "sign in by password": self._sign_in_by_password,
            "new connections": self._new_connections,
            "keep-alive": self._keep_alive,
            "keep-alive, slowly": self._keep_alive_slowly,
            "forms on keep-alive": self._forms,
            "pages of the gateway's own": self._own_pages,
        }
        self._threads = [threading.Thread(target=self._repeat, args=item) for item in ways.items()]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        for connection in self._open:
            connection.close()

    def have_all_got_on_since(self, already: Mapping[str, int]) -> bool:
        """Whether each has done it three times more."""
        return all(self.done[name] > count + 2 for name, count in already.items())

    def _repeat(self, name: str, begin: Callable[[], Callable[[], None]]) -> None:
        self.done[name] = 0
        step = begin()
        while not self._stop.is_set():
            try:
                step()
            except Exception as error:
                self.failed.append(f"{name}: {error!r}")
                step = begin()
            self.done[name] += 1

    def _sign_in_and_out(self) -> Callable[[], None]:
        person = self._gateway.newcomer()

        def step() -> None:
            browser = self._gateway.signed_in(person)
            page = browser.get(CERTIFICATE_HOST, "/gateway/sign-out")
            answer = browser.submit(page, page.form_to("/sign-out"))
            assert answer.status == 200, answer.text

        return step

    def _sign_in_by_password(self) -> Callable[[], None]:
        def step() -> None:
            browser = self._gateway.browser()
            answer = self._gateway.visit.sign_in_by_password(browser, "tanaka01")
            if any(form.action.endswith("/takeover") for form in answer.forms()):
                answer = browser.submit(answer, answer.form_to("/takeover"))
            assert place(answer) == "home of tanaka01", answer.text

        return step

    def _new_connections(self) -> Callable[[], None]:
        person = self._gateway.newcomer()
        browser = self._gateway.signed_in(person)

        def step() -> None:
            answer = browser.get(CERTIFICATE_HOST, "/home")
            assert place(answer) == f"home of {person.user_id}", answer.text

        return step

    def _on_one_connection(
        self, path: str, *, pause: float = 0.0, form: bool = False, host: str = CERTIFICATE_HOST
    ) -> Callable[[], None]:
        """Reconnects only where the answer before has said so: anything else that ends the connection is a failure."""
        person = self._gateway.newcomer()
        browser = self._gateway.signed_in(person)
        connection = browser.connect(host)
        self._open.append(connection)

        def step() -> None:
            body = b"amount=1" if form else None
            answer = browser.exchange(connection, "POST" if form else "GET", path, body, FORM if form else None)
            assert answer.status < 500, answer.text
            if not form and host == CERTIFICATE_HOST:
                assert place(answer) == f"home of {person.user_id}", answer.text
            if answer.headers.get("Connection") == "close":
                # The next request opens it anew.
                connection.close()
            self._stop.wait(pause)

        return step

    def _keep_alive(self) -> Callable[[], None]:
        return self._on_one_connection("/home")

    def _keep_alive_slowly(self) -> Callable[[], None]:
        return self._on_one_connection("/home", pause=0.3)

    def _forms(self) -> Callable[[], None]:
        return self._on_one_connection("/transfer", form=True)

    def _own_pages(self) -> Callable[[], None]:
        return self._on_one_connection("/", host=PUBLIC_HOST)


def test_no_request_fails_while_new_generations_take_over(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    before = gateway.signed_in(person)
    with Clients(gateway) as clients:
        for _ in range(3):
            reload(gateway)
            already = dict(clients.done)
            # Everybody gets on with the new generation.
            assert eventually(partial(clients.have_all_got_on_since, already), 20.0), clients.done
    assert clients.failed == []
    # Who had signed in before all of them still is.
    assert place(before.get(CERTIFICATE_HOST, "/home")) == f"home of {person.user_id}"
    assert "Traceback" not in gateway.log


def test_what_is_under_way_is_finished_by_the_old_generation(gateway: WholeGateway) -> None:
    octets = 60_000_000
    browser = gateway.signed_in(gateway.newcomer())
    connection = browser.connect(CERTIFICATE_HOST)
    headers = {"Cookie": browser.cookie_header(CERTIFICATE_HOST)}
    connection.request("GET", f"/statements/large?octets={octets}", headers=headers)
    response = connection.getresponse()
    assert response.status == 200
    taken = gateway.metric("mtls_gateway_reloads_total", outcome="taken")
    os.kill(gateway.process.pid, signal.SIGHUP)
    assert gateway.metric_reaches(taken + 1, "mtls_gateway_reloads_total", outcome="taken")
    assert len(response.read()) == octets
    connection.close()
    assert eventually(lambda: len(processes(gateway)) == 4, DRAIN + 5.0)


def test_what_is_changed_takes_effect(gateway: WholeGateway, tmp_path: Path) -> None:
    """Words of a page, the number of workers, an address, a CA, a host's certificate: all with one signal."""
    file = gateway.material.configuration
    before = file.read_text(encoding="utf-8")
    second = Authority.made(tmp_path, "second")
    identity, pem = second.leaf(tmp_path)
    user_id = gateway.new_user()
    gateway.register(NewCertificate(identity, user_id))
    assert place(gateway.browser(pem).get(CERTIFICATE_HOST, "/")) == Code.ISSUER_UNKNOWN.value
    (port,) = free_ports(1)
    listen = [f"127.0.0.1:{gateway.port}", f"127.0.0.1:{port}"]
    material = gateway.material
    issued = DevelopmentAuthority(material.certificates.authority, SystemClock()).issue_server(
        (PUBLIC_HOST,), tmp_path / "renewed"
    )
    renewed = {"certificate": str(issued.certificate_file), "key": str(issued.key_file)}
    changes: dict[str, Any] = {
        "pages": {"bank_name_ja": "改名信用組合"},
        "operations": {"workers": 3},
        "public": {"listen": listen, **renewed},
        "certificate": {"listen": listen},
        "trust": {"authorities": [*authorities(file), second.settings()]},
    }
    old = host_certificate(gateway, gateway.port)
    try:
        configure(file, changes)
        reload(gateway)
        assert "改名信用組合" in gateway.browser().get(PUBLIC_HOST, "/").text
        assert sorted(processes(gateway).values()).count("mtls-gateway: gateway") == 3
        assert host_certificate(gateway, port) == host_certificate(gateway, gateway.port) != old
        with Line(gateway, PUBLIC_HOST, client_context(gateway), port=port) as line:
            line.host = f"{PUBLIC_HOST}:{gateway.port}"
            assert "改名信用組合" in line.ask().text
        assert place(gateway.browser(pem).get(CERTIFICATE_HOST, "/")) == "password page"
    finally:
        file.write_text(before, encoding="utf-8")
        reload(gateway)
    assert place(gateway.browser(pem).get(CERTIFICATE_HOST, "/")) == Code.ISSUER_UNKNOWN.value
    assert host_certificate(gateway, gateway.port) == old
    assert len(processes(gateway)) == 4
    # Nobody listens there any more, neither the master nor a child that was born in between.
    assert not port_is_taken(port)


def host_certificate(gateway: WholeGateway, port: int) -> bytes | None:
    """What the public host shows of itself at ``port``."""
    with Line(gateway, PUBLIC_HOST, client_context(gateway), port=port) as line:
        return line.socket.getpeercert(binary_form=True)


#: What is laid over the file, or written in its place; the key and the cause that the log must give.
BROKEN: dict[str, tuple[Mapping[str, Any] | str, str, str]] = {
    "not TOML": ("state = ", "", "is not TOML"),
    "an unknown key": ({"tls": {"minimun": "1.3"}}, "tls.minimun", "not permitted"),
    "a value out of range": ({"sessions": {"idle": -1}}, "sessions.idle", "greater than 0"),
    "another state directory": ({"state": "elsewhere"}, "state", "restart the gateway"),
    "an address of another machine": (
        {"public": {"listen": ["192.0.2.1:443"]}, "certificate": {"listen": ["192.0.2.1:443"]}},
        "public.listen",
        "192.0.2.1:443 cannot be listened on",
    ),
    "a user that does not exist": (
        {"operations": {"user": "nobody-of-that-name"}},
        "operations.user",
        "nobody-of-that",
    ),
}


@contextmanager
def nothing_changes(gateway: WholeGateway, repair: Callable[[], object]) -> Iterator[list[str]]:
    """The same processes serve the same customers as before; gives the line of the log that says why.

    ``repair`` is called once the reload was refused.
    """
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    before = processes(gateway)
    said = len(gateway.log)
    refused = gateway.metric("mtls_gateway_reloads_total", outcome="refused")
    why: list[str] = []
    try:
        yield why
        assert eventually(lambda: "reload refused, everything stays as it was: " in gateway.log[said:], TAKEN_OVER)
    finally:
        repair()
    why += [line for line in gateway.log[said:].splitlines() if "reload refused" in line]
    assert gateway.metric_reaches(refused + 1, "mtls_gateway_reloads_total", outcome="refused")
    assert eventually(lambda: processes(gateway) == before, DRAIN + 5.0)
    assert place(browser.get(CERTIFICATE_HOST, "/home")) == f"home of {person.user_id}"
    gateway.signed_in(gateway.newcomer())


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_configuration_changes_nothing_and_the_log_says_why(gateway: WholeGateway, how: str) -> None:
    change, key, cause = BROKEN[how]
    file = gateway.material.configuration
    before = file.read_text(encoding="utf-8")
    with nothing_changes(gateway, lambda: file.write_text(before, encoding="utf-8")) as why:
        if isinstance(change, str):
            file.write_text(change, encoding="utf-8")
        else:
            configure(file, change)
        os.kill(gateway.process.pid, signal.SIGHUP)
    (line,) = why
    assert f"{file}: {key}" in line
    assert cause in line


def test_a_missing_ca_changes_nothing_and_the_log_names_it(gateway: WholeGateway) -> None:
    file = gateway.material.directory / "ca" / "issuing.cert.pem"
    moved = file.with_name("moved.pem")
    with nothing_changes(gateway, lambda: moved.rename(file)) as why:
        file.rename(moved)
        os.kill(gateway.process.pid, signal.SIGHUP)
    assert str(file) in why[0]
    assert "trust.authorities.1.certificate" in why[0]


def test_a_generation_that_does_not_live_to_serve_changes_nothing(gateway: WholeGateway) -> None:
    """Whatever it is that a process stumbles over once it is born: here it is killed."""
    with nothing_changes(gateway, lambda: None) as why:
        born = set(left_running([gateway.process.pid]))
        os.kill(gateway.process.pid, signal.SIGHUP)
        assert eventually(lambda: bool(set(left_running([gateway.process.pid])) - born))
        for line in set(left_running([gateway.process.pid])) - born:
            os.kill(int(line.split(" ", 1)[0]), signal.SIGKILL)
    assert "one of its processes has ended" in why[0]
    # The next one is as good as any.
    reload(gateway)
    gateway.signed_in(gateway.newcomer())


def test_signals_that_come_fast_end_with_what_was_written_last(gateway: WholeGateway) -> None:
    file = gateway.material.configuration
    before = file.read_text(encoding="utf-8")
    try:
        for number in range(3):
            configure(file, {"pages": {"bank_name_ja": f"第{number}信用組合"}})
            os.kill(gateway.process.pid, signal.SIGHUP)
        assert eventually(lambda: "第2信用組合" in gateway.browser().get(PUBLIC_HOST, "/").text, 2 * TAKEN_OVER)
    finally:
        file.write_text(before, encoding="utf-8")
        reload(gateway)
    assert eventually(lambda: len(processes(gateway)) == 4, DRAIN + 5.0)
