"""SIGUSR2, or ``mtls-gateway upgrade``: another program takes over under load, or nothing changes (E.1)."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.run import left_running, port_is_taken, process, wait_until_it_answers
from mtls_gateway.demo.visit import place
from mtls_gateway.store.schema import REVISION
from tests.promises.clients import Clients
from tests.promises.tls_line import Line
from tests.promises.versions import Versions, versions
from tests.promises.whole_gateway import WholeGateway, eventually, mtls_gateway, whole_gateway

#: Seconds: until another program has taken over, and until the one before is gone.
TAKEN_OVER = 40.0
DRAIN = 6.0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versions]:
    with versions(tmp_path_factory.mktemp("opt") / "mtls-gateway") as made:
        made.install("0.0.1")
        made.use("0.0.1")
        yield made


class Manager:
    """systemd's part: hears only whom it takes for the main process (``NotifyAccess=main``)."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.settimeout(0.2)
        self._socket.bind(str(path))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._hear)
        #: 0: not started yet; whoever speaks first is taken for it.
        self.main = 0
        #: Of whom what was heard; and what was not meant to be heard.
        self.heard: list[tuple[int, str]] = []
        self.ignored: list[tuple[int, str]] = []

    def __enter__(self) -> Manager:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._socket.close()

    def _hear(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                octets, control, _, _ = self._socket.recvmsg(4_096, socket.CMSG_SPACE(12))
                sender: int = struct.unpack("3i", control[0][2])[0]
                said = octets.decode()
                self.main = self.main or sender
                (self.heard if sender == self.main else self.ignored).append((sender, said))
                found = re.search(r"^MAINPID=(\d+)$", said, re.MULTILINE)
                if found and sender == self.main:
                    self.main = int(found[1])

    def has_heard(self, word: str, pid: int, since: int = 0) -> bool:
        """Whether ``pid`` has said it as the main process."""
        return any(sender == pid and word in said.splitlines() for sender, said in self.heard[since:])


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    path = tmp_path_factory.mktemp("systemd") / "notify"
    with Manager(path) as manager, pytest.MonkeyPatch.context() as environment:
        environment.setenv("NOTIFY_SOCKET", str(path))
        yield manager


@pytest.fixture(scope="module")
def gateway(installed: Versions, systemd: Manager, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("upgraded"), {"timeouts": {"drain": DRAIN}}) as running:
        yield running


def master(gateway: WholeGateway) -> int:
    return int((gateway.material.directory / "state" / "run" / "master.pid").read_text())


def parent_and_state(pid: int) -> tuple[int, str]:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[1]), words[0]


def lives(pid: int) -> bool:
    """Whether it runs; one that nobody has asked for is dead all the same."""
    try:
        return parent_and_state(pid)[1] not in "ZX"
    except OSError:
        return False


def children(gateway: WholeGateway, pid: int) -> dict[int, str]:
    """The processes of a master."""
    found = {}
    for line in left_running([gateway.process.pid]):
        child, _, title = line.partition(" ")
        with suppress(OSError):
            if parent_and_state(int(child))[0] == pid and title.startswith("mtls-gateway: "):
                found[int(child)] = title
    return found


def running_version(gateway: WholeGateway) -> list[str]:
    """All that the metrics speak of."""
    return re.findall(r'mtls_gateway_build_info\{compiled="\w+",version="([^"]+)"\} 1', gateway.metrics())


def is_alone(gateway: WholeGateway, version: str) -> bool:
    """Whether one master with its four processes is left, of this version."""
    gateway.process.poll()
    return running_version(gateway) == [version] and len(left_running([gateway.process.pid])) == 5


class Watched:
    """Figures that are looked at all the time: counters that must not go back, and how many clerks lead."""

    def __init__(self, gateway: WholeGateway) -> None:
        self._gateway = gateway
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.went_back: list[str] = []
        self.leading: set[float] = set()
        self.looks = 0

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _watch(self) -> None:
        before: dict[str, float] = {}
        while not self._stop.wait(0.1):
            now = dict(re.findall(r"^(\w+_(?:total|count|bucket)(?:\{.*\})?) (\S+)$", self._gateway.metrics(), re.M))
            figures = {name: float(value) for name, value in now.items()}
            self.went_back += [name for name, value in before.items() if figures.get(name, 0.0) < value]
            before = figures
            self.leading.add(self._gateway.metric("mtls_gateway_clerk_leading"))
            self.looks += 1


def test_no_request_fails_while_another_program_takes_over(
    gateway: WholeGateway, installed: Versions, systemd: Manager
) -> None:
    """With keep-alive connections, new handshakes, sign-ins and forms; and systemd always knows who the master is."""
    person = gateway.newcomer()
    signed_in = gateway.signed_in(person)
    with Line(gateway, CERTIFICATE_HOST, signed_in.context) as line:
        assert "ようこそ" in line.as_browser(signed_in, CERTIFICATE_HOST).text
        ticket = line.session
    first = master(gateway)
    assert running_version(gateway) == ["0.0.1"]
    assert first == gateway.process.pid == systemd.main
    installed.install("0.0.2")
    installed.use("0.0.2")
    with Watched(gateway) as watched, Clients(gateway) as clients:
        said = gateway.cli("upgrade")
        second = master(gateway)
        assert second != first and f"version 0.0.2 serves (pid {second})" in said
        assert eventually(lambda: not lives(first), DRAIN + 20.0), gateway.log[-3_000:]
        assert eventually(partial(is_alone, gateway, "0.0.2"), 20.0), left_running([gateway.process.pid])
        already = dict(clients.done)
        assert eventually(partial(clients.have_all_got_on_since, already), 20.0), clients.done
        # A ticket of the program before: resumed or not, it serves.
        with Line(gateway, CERTIFICATE_HOST, signed_in.context, ticket) as line:
            assert "ようこそ" in line.as_browser(signed_in, CERTIFICATE_HOST).text
    assert clients.failed == []
    assert gateway.process.returncode == 0
    assert watched.went_back == []
    assert watched.leading <= {0.0, 1.0} and watched.looks > 5
    assert gateway.metric("mtls_gateway_reloads_total", outcome="taken") == 1
    assert place(signed_in.get(CERTIFICATE_HOST, "/home")) == f"home of {person.user_id}"
    assert "Traceback" not in gateway.log
    assert systemd.main == second and systemd.has_heard("READY=1", second)
    assert systemd.has_heard(f"MAINPID={second}", first)
    # Nobody has spoken out of turn: neither the new one too early nor the old one too late.
    assert systemd.ignored == []
    heard = len(systemd.heard)
    assert eventually(lambda: systemd.has_heard("WATCHDOG=1", second, heard))


def test_a_revocation_reaches_what_the_program_before_still_finishes(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    connection = browser.connect(CERTIFICATE_HOST)
    headers = {"Cookie": browser.cookie_header(CERTIFICATE_HOST)}
    connection.request("GET", "/statements/large?octets=1000000000000", headers=headers)
    response = connection.getresponse()
    assert response.read(1_000)
    before = master(gateway)
    os.kill(before, signal.SIGUSR2)
    assert eventually(lambda: master(gateway) != before, TAKEN_OVER), gateway.log[-3_000:]
    assert lives(before)
    gateway.store(lambda store: store.certificates.revoke(person.certificate, actor="test", reason="unspecified"))
    revoked = time.monotonic()
    with suppress(OSError):
        while response.read(65_536):
            assert time.monotonic() < revoked + DRAIN, "the download goes on"
    assert time.monotonic() < revoked + 3.0
    assert "did not end within" not in gateway.log
    connection.close()
    # With nothing under way any more it has no reason to stay.
    assert eventually(lambda: not lives(before), DRAIN + 10.0)


BROKEN_TABLES = {"store/schema.py": (f'"{REVISION}"', '"tables-of-tomorrow"')}
BEGIN = "        self.take()\n"
DIES_YOUNG = {"app/clerk.py": (BEGIN, f"{BEGIN}        os._exit(7)\n")}
NEVER_SERVES = {"app/clerk.py": (BEGIN, f"{BEGIN}        await asyncio.sleep(600)\n")}


def spoiled(gateway: WholeGateway, change: tuple[str, str]) -> Callable[[], object]:
    """Change the configuration; gives what puts it right again."""
    file = gateway.material.configuration
    before = file.read_text(encoding="utf-8")
    assert change[0] in before
    file.write_text(before.replace(*change, 1), encoding="utf-8")
    return lambda: file.write_text(before, encoding="utf-8")


#: What is wrong with the program, or else with the configuration; and what is said of that.
BROKEN: dict[str, tuple[Mapping[str, object], tuple[str, str], str]] = {
    "a program that does not begin": ({"init": "raise RuntimeError('not today')"}, ("", ""), "ended with status 1"),
    "tables of another version": ({"replaced": BROKEN_TABLES}, ("", ""), "this program needs tables-of-tomorrow"),
    "an unknown key": ({}, ("timeouts = {", "timeouts = { soon = 1,"), "timeouts.soon"),
    "another state directory": ({}, ('state = "', 'state = "elsewhere-'), "state cannot be changed by an upgrade"),
}


@contextmanager
def nothing_changes(gateway: WholeGateway) -> Iterator[list[str]]:
    """The same processes serve the same customers as before; gives the line of the log that says why."""
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    pid = master(gateway)
    before, said = children(gateway, pid), len(gateway.log)
    version = running_version(gateway)
    refused = gateway.metric("mtls_gateway_reloads_total", outcome="refused")
    why: list[str] = []
    yield why
    assert eventually(lambda: "upgrade refused" in gateway.log[said:], TAKEN_OVER), gateway.log[said:]
    why += [line for line in gateway.log[said:].splitlines() if "ERROR" in line and "upgrade refused" in line]
    assert gateway.metric_reaches(refused + 1, "mtls_gateway_reloads_total", outcome="refused")
    assert master(gateway) == pid and children(gateway, pid) == before
    assert place(browser.get(CERTIFICATE_HOST, "/home")) == f"home of {person.user_id}"
    # What had already been born of the new one goes by itself.
    assert eventually(partial(is_alone, gateway, *version), DRAIN + 20.0)


@pytest.mark.parametrize("what", BROKEN)
def test_a_program_that_cannot_serve_changes_nothing_and_the_log_says_why(
    gateway: WholeGateway, installed: Versions, what: str
) -> None:
    how, change, cause = BROKEN[what]
    version, in_use = what.replace(" ", "-"), installed.current.readlink().name
    installed.install(version, **how)  # type: ignore[arg-type]
    with nothing_changes(gateway) as why:
        said = len(gateway.log)
        repair = spoiled(gateway, change)
        installed.use(version)
        try:
            os.kill(master(gateway), signal.SIGUSR2)
            assert eventually(lambda: "upgrade refused" in gateway.log[said:], TAKEN_OVER), gateway.log[said:]
        finally:
            installed.use(in_use)
            repair()
    (line,) = why
    assert cause in line


def test_the_command_says_why_where_a_process_does_not_live_to_serve(
    gateway: WholeGateway, installed: Versions
) -> None:
    in_use = installed.current.readlink().name
    installed.install("dies-young", DIES_YOUNG)
    with nothing_changes(gateway):
        installed.use("dies-young")
        done = mtls_gateway(gateway.material.configuration, "upgrade")
        installed.use(in_use)
    assert done.returncode == 1
    assert "upgrade refused, everything stays as it was: one of its processes has ended" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_new_master_that_is_killed_while_it_rises_changes_nothing(gateway: WholeGateway, installed: Versions) -> None:
    in_use = installed.current.readlink().name
    installed.install("never-serves", NEVER_SERVES)
    with nothing_changes(gateway) as why:
        installed.use("never-serves")
        before = len(left_running([gateway.process.pid]))
        os.kill(master(gateway), signal.SIGUSR2)
        assert eventually(lambda: len(left_running([gateway.process.pid])) == before + 5, TAKEN_OVER)
        installed.use(in_use)
        (new,) = (pid for pid in map(process_id, left_running([gateway.process.pid])) if is_second(gateway, pid))
        os.kill(new, signal.SIGKILL)
    assert "it ended by SIGKILL before it served" in why[0]


def process_id(line: str) -> int:
    return int(line.split(" ", 1)[0])


def is_second(gateway: WholeGateway, pid: int) -> bool:
    """Whether it is a master, but not the one that serves."""
    return pid != master(gateway) and bool(children(gateway, pid))


def test_a_new_master_takes_over_from_one_that_is_killed(gateway: WholeGateway) -> None:
    before = master(gateway)
    os.kill(before, signal.SIGUSR2)
    assert eventually(lambda: len(left_running([gateway.process.pid])) > 5, TAKEN_OVER)
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: master(gateway) != before, TAKEN_OVER), gateway.log[-3_000:]
    gateway.process.poll()
    assert eventually(lambda: len(left_running([gateway.process.pid])) == 5, DRAIN + 20.0)
    gateway.signed_in(gateway.newcomer())


def test_with_both_masters_killed_the_port_is_free_and_the_next_one_starts(
    gateway: WholeGateway, tmp_path: Path
) -> None:
    """What is left goes by itself, as when systemd starts the service again."""
    before = master(gateway)
    os.kill(before, signal.SIGUSR2)
    assert eventually(lambda: master(gateway) != before, TAKEN_OVER), gateway.log[-3_000:]
    for pid in (master(gateway), before):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # Long before those who drain have done so.
    ports = (gateway.port, gateway.ports.operations)
    assert eventually(lambda: not any(map(port_is_taken, ports)), 20.0)
    words = ["-m", "mtls_gateway", "--config", str(gateway.material.configuration), "serve"]
    log = tmp_path / "again.log"
    with process(log, words) as again:
        wait_until_it_answers("the gateway", again, gateway.ports.operations, "/readyz", log)
        gateway.signed_in(gateway.newcomer())
        assert eventually(lambda: not left_running([gateway.process.pid]), DRAIN + 20.0)
        again.terminate()
        assert again.wait(DRAIN + 20.0) == 0
        assert not left_running([again.pid])
    run = gateway.material.directory / "state" / "run"
    assert not list(run.glob("portal.sock")) and not list(run.glob("master.pid*"))
