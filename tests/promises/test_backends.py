"""Several backends: a session lives on one, what is out is not waited for, and no POST is ever sent twice."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Answer, Browser
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.run import end, process, wait_until_it_answers
from mtls_gateway.demo.visit import place
from mtls_gateway.model import SessionState
from tests.promises.tls_line import Line
from tests.promises.whole_gateway import (
    ODD_BACKEND,
    STRANGERS,
    Person,
    WholeGateway,
    eventually,
    password_of,
    whole_gateway,
)

#: Seconds: much sooner than any time-out of the gateway's, much later than a busy machine needs.
AT_ONCE = 4.0
PATIENCE = 30.0
QUICK = {
    "health_check": {"interval": 1.0, "timeout": 1.0, "rise": 1, "fall": 3},
    "ejection": {"failures": 2, "shortest": 1.0, "longest": 2.0},
    "slow_start": 0,
}


class Second:
    """Another backend than the one that every gateway of these tests has; it can be killed and started again."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "second.log"
        accounts = folder / "accounts.json"
        accounts.write_text(json.dumps({name: password_of(name) for name in STRANGERS}), encoding="utf-8")
        self._words = [*words, "--port", str(self.port), "--accounts", str(accounts)]

    @contextmanager
    def running(self) -> Iterator[None]:
        with process(self._log, self._words) as child:
            wait_until_it_answers("the second backend", child, self.port, "/login", self._log)
            self.process = child
            yield


class Both:
    """A gateway with two backends that know nothing of each other."""

    def __init__(self, gateway: WholeGateway, second: Second) -> None:
        self.gateway = gateway
        self.second = second
        self.first_url = f"http://127.0.0.1:{gateway.ports.bank}"

    def home_of(self, person: Person) -> str:
        """The address of the backend that the person's session lives on, as it was written down."""
        rows = self.gateway.store(lambda store: store.sessions.all(user_id=person.user_id, state=SessionState.LIVE))
        return rows[0].backend

    def sign_in_until_both_have(self, wanted: int) -> dict[str, list[tuple[Person, Browser]]]:
        """People by the backend that their session lives on."""
        found: dict[str, list[tuple[Person, Browser]]] = {self.first_url: [], self.second.url: []}
        for _ in range(24):
            person = self.gateway.newcomer()
            browser = self.gateway.signed_in(person)
            found[self.home_of(person)].append((person, browser))
            if min(map(len, found.values())) >= wanted:
                return found
        raise AssertionError({url: len(people) for url, people in found.items()})

    def usable(self, url: str) -> float:
        return self.gateway.metric("mtls_gateway_backend_usable", backend=url)


def monitor(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/monitor", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def both(
    folder: Path, words: list[str], backend: str, tables: dict[str, Any] | None = None, **legacy: Any
) -> Iterator[Both]:
    second = Second(folder, words)
    with second.running():

        def settings(material: Any) -> dict[str, Any]:
            first = material.configuration.read_text(encoding="utf-8").split('backends = ["')[1].split('"')[0]
            return {"legacy": {"backends": [first, second.url], **QUICK, **legacy}, **(tables or {})}

        with whole_gateway(folder / "gateway", settings, backend=backend) as gateway:
            yield Both(gateway, second)


def readyz(gateway: WholeGateway) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ports.operations, timeout=10)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def home(browser: Browser) -> Answer:
    return browser.get(CERTIFICATE_HOST, "/home", follow=False)


def is_home(browser: Browser, person: Person) -> bool:
    return place(home(browser)) == f"home of {person.user_id}"


def says_come_again(answer: Answer) -> bool:
    """The friendly page in both languages, and when to come again."""
    return (
        answer.status == 503
        and int(answer.headers.get("Retry-After", "0")) >= 1
        and "ただいまご利用いただけません" in answer.text
        and "Not available at the moment" in answer.text
    )


def took(work: Any) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_a_session_lives_on_one_of_two_backends_and_what_is_out_is_not_waited_for(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with both(tmp_path_factory.mktemp("strict"), ["-m", "mtls_gateway.demo.bank"], "bank") as two:
        gateway, second = two.gateway, two.second
        people = two.sign_in_until_both_have(2)
        # Where the login was replayed, the session's requests go: on new connections, so to any worker.
        for url, there in people.items():
            assert monitor(url)["signed_in"] == len(there)
            for person, browser in there:
                assert all(is_home(browser, person) for _ in range(4))
        # A sign-out ends the legacy session where it lives.
        person, browser = people[second.url].pop()
        before = monitor(second.url)["sign_outs"]
        browser.get(CERTIFICATE_HOST, "/logout")
        assert eventually(lambda: bool(monitor(second.url)["sign_outs"] == before + 1))

        os.kill(second.process.pid, signal.SIGKILL)
        second.process.wait()
        lost, lost_browser = people[second.url][0]
        # Each worker learns it by itself.
        assert eventually(lambda: (two.usable(two.first_url), two.usable(second.url)) == (2, 0), PATIENCE)
        refused = home(lost_browser)
        assert says_come_again(refused), gateway.log[-4_000:]
        for person, browser in people[two.first_url]:
            assert all(is_home(browser, person) for _ in range(4))
        # Who signs in, again or anew, does so where it works.
        page = lost_browser.get(CERTIFICATE_HOST, "/gateway/password")
        lost_browser.submit(page, page.form("password"), password=lost.password)
        assert two.home_of(lost) == two.first_url and is_home(lost_browser, lost)
        newcomer = gateway.newcomer()
        assert is_home(gateway.signed_in(newcomer), newcomer)

        with second.running():
            assert eventually(lambda: two.usable(second.url) == 2, PATIENCE)
            for there in two.sign_in_until_both_have(1).values():
                assert all(is_home(browser, person) for person, browser in there)

            for child in (second.process, gateway.visit.running.bank):
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
            assert eventually(lambda: two.usable(second.url) + two.usable(two.first_url) == 0, PATIENCE)
            answers: list[Answer] = []
            assert took(lambda: answers.extend(home(lost_browser) for _ in range(3))) < 3 * AT_ONCE
            assert all(map(says_come_again, answers))
            page = gateway.browser(newcomer).get(CERTIFICATE_HOST, "/gateway/password")
            undecided: list[Answer] = []

            def try_to_sign_in() -> None:
                browser = gateway.browser(newcomer)
                form = browser.get(CERTIFICATE_HOST, "/gateway/password")
                undecided.append(browser.submit(form, form.form("password"), password=newcomer.password))

            assert took(try_to_sign_in) < AT_ONCE
            assert undecided[0].status == 503
            # The node stays in the balancer, whose customers then see the page, and says what is wrong.
            status, said = readyz(gateway)
            assert status == 200 and said["ready"]
            assert said["advice"]["backends"].startswith("no backend can be used: ")
            assert gateway.metric("mtls_gateway_backend_refusals_total", out="every") >= 3


def asked(two: Both, path: str) -> int:
    """How often the backends together were asked for it."""
    return sum(monitor(url)["asked"].get(path, 0) for url in (two.first_url, two.second.url))


def test_sessions_that_backends_share_go_on_at_another_and_no_post_is_sent_twice(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    words = [str(ODD_BACKEND)]
    # Without checks, only requests tell; and a node that reaches no backend shall take itself out.
    tables = {"operations": {"ready_needs_backend": True}}
    folder = tmp_path_factory.mktemp("prefer")
    with both(folder, words, "odd", tables, affinity="prefer", health_check={"active": False}) as two:
        gateway, second = two.gateway, two.second
        people = two.sign_in_until_both_have(1)
        person, browser = people[second.url][0]
        with Line(gateway, CERTIFICATE_HOST, browser.context) as line:
            cookies = {"Cookie": browser.cookie_header(CERTIFICATE_HOST)}
            # On a connection to the backend that was used a moment ago, and then is closed without an answer.
            assert line.ask("/home", headers=cookies).status == 200
            assert line.ask("/bad/hangs_up?get", headers=cookies).status == 502
        assert asked(two, "/bad/hangs_up?get") == 2
        for method in ("POST", "PUT", "DELETE"):
            with Line(gateway, CERTIFICATE_HOST, browser.context) as line:
                assert line.ask("/home", headers=cookies).status == 200
                target = f"/bad/hangs_up?{method}"
                assert line.ask(target, method=method, headers={**cookies, "Content-Length": "0"}).status == 502
            assert asked(two, target) == 1

        end(second.process)
        # What was not sent yet may be sent elsewhere, whatever it is: nobody sees that the backend is gone.
        for number in range(6):
            body = b"amount=1"
            url = browser.url(CERTIFICATE_HOST, f"/echo?{number}")
            answer = browser.request("POST", url, body, {"Content-Type": "text/plain"}, False)
            assert answer.status == 200, answer.text
            assert monitor(two.first_url)["asked"][f"/echo?{number}"] == 1
            assert is_home(browser, person)

        assert readyz(gateway)[0] == 200
        end(gateway.visit.running.bank)

        def says_no() -> bool:
            home(browser)
            return readyz(gateway)[0] == 503

        assert eventually(says_no, PATIENCE)
        assert "no backend can be used" in gateway.log
