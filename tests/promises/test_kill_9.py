"""kill -9 of any process at any moment: it is replaced, and what was acknowledged is there (clause E.4)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.run import left_running, port_is_taken, process, wait_until_it_answers
from mtls_gateway.demo.visit import place, within_a_second
from mtls_gateway.model import Code, SessionState
from mtls_gateway.store.users import NewUser
from tests.promises.tls_line import Line
from tests.promises.whole_gateway import COMPANY, Person, WholeGateway, eventually, whole_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("killed"), {}) as running:
        yield running


def processes(gateway: WholeGateway, role: str) -> list[int]:
    """The processes of a role, by what they call themselves."""
    lines = [line.split(" ", 1) for line in left_running([gateway.process.pid])]
    return sorted(int(pid) for pid, title in lines if title.startswith(f"mtls-gateway: {role}"))


def kill(gateway: WholeGateway, role: str) -> None:
    """Kill one of a role and wait for its successor."""
    before = processes(gateway, role)
    assert before, f"there is no {role}"
    os.kill(before[0], signal.SIGKILL)
    assert eventually(lambda: len(now := processes(gateway, role)) == len(before) and before[0] not in now, 20.0), (
        f"{role} was not replaced"
    )


@pytest.mark.parametrize("role", ["gateway", "portal", "clerk"])
def test_a_killed_process_is_replaced_and_nobody_is_signed_out(gateway: WholeGateway, role: str) -> None:
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    kill(gateway, role)
    assert eventually(lambda: _is_home(browser, person.user_id))
    # Whatever it did is done again: a new sign-in needs worker and portal, a CRL the clerk.
    newcomer = gateway.newcomer()
    assert eventually(lambda: _signs_in(gateway, newcomer))
    gateway.revoke_by_crl(newcomer)
    assert eventually(lambda: _is_refused(gateway, newcomer))


def _is_refused(gateway: WholeGateway, person: Person) -> bool:
    try:
        return place(gateway.browser(person).get(CERTIFICATE_HOST, "/")) == Code.CERTIFICATE_REVOKED.value
    except OSError:
        return False  # The revocation came between handshake and request, and has cut this very connection.


def _is_home(browser: Browser, user_id: str) -> bool:
    try:
        return place(browser.get(CERTIFICATE_HOST, "/home")) == f"home of {user_id}"
    except OSError:
        return False  # A connection that had waited for the one that was killed.


def _signs_in(gateway: WholeGateway, person: Person) -> bool:
    try:
        gateway.signed_in(person)
    except (OSError, LookupError, AssertionError):
        return False
    return True


def test_a_killed_worker_takes_only_its_own_connections_along(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    lines: dict[int, Line] = {}
    while len(lines) < 2:
        line = Line(gateway, CERTIFICATE_HOST, browser.context)
        if line.worker in lines:
            line.close()
        else:
            lines[line.worker] = line
            assert "ようこそ" in line.as_browser(browser, CERTIFICATE_HOST).text
    killed, spared = lines
    os.kill(killed, signal.SIGKILL)
    assert lines[killed].is_closed()
    assert "ようこそ" in lines[spared].as_browser(browser, CERTIFICATE_HOST).text
    # Its session resumes at once, with whoever is there.
    session = lines[spared].session
    for line in lines.values():
        line.close()
    with Line(gateway, CERTIFICATE_HOST, browser.context, session) as line:
        assert "ようこそ" in line.as_browser(browser, CERTIFICATE_HOST).text
        assert line.resumed
    assert eventually(lambda: len(gateway.workers()) == 2 and killed not in gateway.workers(), 20.0)


def revoke(gateway: WholeGateway, person: Person) -> None:
    gateway.store(lambda store: store.certificates.revoke(person.certificate, actor="test", reason="unspecified"))


def front(browser: Browser) -> str:
    return place(browser.get(CERTIFICATE_HOST, "/home"))


def test_a_revocation_while_a_worker_is_being_replaced_is_not_missed(gateway: WholeGateway) -> None:
    """The new worker begins with what it finds, and hears of what comes after; nothing falls between the two."""
    people = [gateway.newcomer() for _ in range(4)]
    browsers = [gateway.signed_in(person) for person in people]
    os.kill(processes(gateway, "gateway")[0], signal.SIGKILL)
    for person in people:
        revoke(gateway, person)
        # Longer than a worker's poll: each revocation meets another stage of the replacement.
        time.sleep(0.15)
    assert eventually(lambda: len(gateway.workers()) == 2, 20.0)
    revoked = Code.CERTIFICATE_REVOKED.value
    for person, browser in zip(people, browsers, strict=True):
        for _ in range(4):
            assert within_a_second(partial(front, browser), revoked) == revoked
        assert person.user_id not in browser.get(CERTIFICATE_HOST, "/home").text


def add_user(gateway: WholeGateway, name: str) -> None:
    gateway.store(lambda store: store.users.add([NewUser(name, COMPANY)], actor="test"))


def test_rows_that_were_acknowledged_are_there_after_everything_was_killed(gateway: WholeGateway) -> None:
    """Written as fast as they go, by people and operators at once, until the whole group dies at one moment."""
    person = gateway.newcomer()
    acknowledged: list[str] = []
    sessions: list[str] = []
    stop = threading.Event()

    def add_users() -> None:
        number = 0
        while not stop.is_set():
            name = f"acknowledged{number}"
            add_user(gateway, name)
            acknowledged.append(name)
            number += 1

    def sign_in_and_out() -> None:
        try:
            while not stop.is_set():
                browser = gateway.signed_in(person)
                sessions.append(browser.cookies[CERTIFICATE_HOST]["__Host-ib-session"])
                gateway.store(lambda store: store.sessions.end_all_of(person.user_id, actor="test"))
        except (OSError, LookupError, AssertionError):
            return  # The gateway is gone.

    threads = [threading.Thread(target=work) for work in (add_users, sign_in_and_out)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(sessions) > 3 and len(acknowledged) > 3, 20.0)
    os.killpg(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait(10)
    stop.set()
    for thread in threads:
        thread.join(30)
    users = gateway.store(lambda store: store.users.all(COMPANY))
    assert set(acknowledged) <= {listed.user.user_id for listed in users}
    kept = gateway.store(lambda store: store.sessions.all(user_id=person.user_id, state=None))
    assert len(kept) >= len(sessions)
    assert sum(row.state is SessionState.LIVE for row in kept) <= 1


def test_with_the_master_killed_no_process_is_left(gateway: WholeGateway, tmp_path: Path) -> None:
    words = ["-m", "mtls_gateway", "--config", str(gateway.material.configuration), "serve"]
    log = tmp_path / "again.log"
    gateway.process.kill()
    with process(log, words) as master:
        wait_until_it_answers("the gateway", master, gateway.ports.operations, "/readyz", log)
        assert len(left_running([master.pid])) == 5
        os.kill(master.pid, signal.SIGKILL)
        master.wait(10)
        assert eventually(lambda: not left_running([master.pid]), 15.0), left_running([master.pid])
        assert not port_is_taken(gateway.port)
        # The next one starts on what was left, without help.
    with process(log, words) as master:
        wait_until_it_answers("the gateway", master, gateway.ports.operations, "/readyz", log)
        gateway.signed_in(gateway.newcomer())
        assert "Traceback" not in log.read_text()
