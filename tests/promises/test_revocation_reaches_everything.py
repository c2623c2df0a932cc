"""Whatever ends a person's right to be there ends all that is under way, on every worker, within a second (clause C.3).

Watched at once, on each of the two workers: a live keep-alive connection, a download, a WebSocket; and besides, a
TLS session that is resumed. The second begins when the operator's command has said that it is done.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from mtls_gateway.clock import SystemClock
from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import BROWSER, Browser
from mtls_gateway.model import Code, print_serial
from mtls_gateway.store.certificates import NewCertificate
from tests.promises.authority import Authority, now
from tests.promises.tls_line import Line
from tests.promises.whole_gateway import Person, WholeGateway, eventually

PROMISED = 1.0
#: A broken promise is told from a slow one.
PATIENCE = 6.0
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
#: What ended after how many milliseconds, over all tests of this file.
TOOK: dict[str, list[float]] = {}


class UnderWay:
    """Everything that a signed-in person may have open, on both workers, watched by a thread each."""

    def __init__(self, gateway: WholeGateway, browser: Browser) -> None:
        self._gateway = gateway
        self._browser = browser
        self._stack = ExitStack()
        self._cookies = {"Cookie": browser.cookie_header(CERTIFICATE_HOST), "User-Agent": BROWSER}
        self._watches: dict[str, Callable[[], None]] = {}
        self.ended: dict[str, float] = {}
        with Line(gateway, CERTIFICATE_HOST, browser.context) as line:
            assert "ようこそ" in line.as_browser(browser, CERTIFICATE_HOST).text
            session = line.session
        for kind, begin in (
            ("keep-alive", self._keep_alive),
            ("download", self._download),
            ("WebSocket", self._socket),
        ):
            for number, line in enumerate(self._one_for_each_worker()):
                self._watches[f"{kind} {number}"] = begin(line)
        self._watches["resumption"] = self._resumption(session)
        self._threads = [threading.Thread(target=self._watch, args=item) for item in self._watches.items()]

    def __enter__(self) -> UnderWay:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for thread in self._threads:
            thread.join(PATIENCE + 5)
        self._stack.close()

    def _one_for_each_worker(self) -> Iterator[Line]:
        seen: set[int] = set()
        while len(seen) < 2:
            line = self._stack.enter_context(Line(self._gateway, CERTIFICATE_HOST, self._browser.context))
            if line.worker not in seen:
                seen.add(line.worker)
                yield line

    def _watch(self, name: str, wait: Callable[[], None]) -> None:
        # Cut is refused all the same.
        with suppress(OSError, http.client.HTTPException):
            wait()
        self.ended[name] = time.monotonic()

    def _is_home(self, line: Line) -> bool:
        return "ようこそ" in line.as_browser(self._browser, CERTIFICATE_HOST).text

    def _keep_alive(self, line: Line) -> Callable[[], None]:
        assert self._is_home(line)

        def wait() -> None:
            while self._is_home(line):
                time.sleep(0.02)

        return wait

    def _download(self, line: Line) -> Callable[[], None]:
        target = "/statements/large?octets=1000000000000"
        fields = {"Host": line.host, **self._cookies}
        line.send(f"GET {target} HTTP/1.1\r\n{_lines(fields)}\r\n".encode())
        assert line.socket.recv(12) == b"HTTP/1.1 200"

        def wait() -> None:
            while line.socket.recv(16_384):
                time.sleep(0.005)

        return wait

    def _socket(self, line: Line) -> Callable[[], None]:
        line.send(f"GET /ws/rates HTTP/1.1\r\n{_lines({'Host': line.host, **self._cookies, **UPGRADE})}\r\n".encode())
        assert line.socket.recv(12) == b"HTTP/1.1 101"

        def wait() -> None:
            while line.socket.recv(16_384):
                pass

        return wait

    def _resumption(self, session: ssl.SSLSession) -> Callable[[], None]:
        def wait() -> None:
            refused_by: set[int] = set()
            while len(refused_by) < 2:
                with Line(self._gateway, CERTIFICATE_HOST, self._browser.context, session) as line:
                    worker = line.worker
                    home = self._is_home(line)
                    assert line.resumed
                if not home:
                    refused_by.add(worker)

        return wait

    def hold_after(self, act: Callable[[], object]) -> None:
        """All of them end within the promised time after ``act``, and none has before it."""
        assert not self.ended
        began_acting = time.monotonic()
        act()
        acted = time.monotonic()
        for thread in self._threads:
            thread.join(max(0.0, acted + PATIENCE - time.monotonic()))
        for name, at in self.ended.items():
            assert at > began_acting, f"{name} ended by itself"
            TOOK.setdefault(name.split(" ")[0], []).append(max(0.0, at - acted))
        late = {name: round(self.ended[name] - acted, 2) for name in self.ended if self.ended[name] > acted + PROMISED}
        assert not late
        assert self.ended.keys() == self._watches.keys(), "never ended"


def _lines(fields: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items())


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    yield
    for name, seconds in sorted(TOOK.items()):
        print(f"{name}: ended after at most {1000 * max(seconds):.0f} ms, over {len(seconds)}")


def test_the_operators_revocation(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    with UnderWay(gateway, gateway.signed_in(person)) as under_way:
        under_way.hold_after(lambda: gateway.cli("certificate", "revoke", print_serial(person.certificate.serial)))
    assert Code.CERTIFICATE_REVOKED.value in gateway.browser(person).get(CERTIFICATE_HOST, "/").text


def test_a_new_crl_in_the_files_place(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    with UnderWay(gateway, gateway.signed_in(person)) as under_way:
        under_way.hold_after(lambda: gateway.revoke_by_crl(person))
    assert Code.CERTIFICATE_REVOKED.value in gateway.browser(person).get(CERTIFICATE_HOST, "/").text


def test_a_user_is_stopped(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    with UnderWay(gateway, gateway.signed_in(person)) as under_way:
        under_way.hold_after(lambda: gateway.cli("user", "stop", person.user_id))
    assert Code.USER_STOPPED.value in gateway.browser(person).get(CERTIFICATE_HOST, "/").text


def test_a_company_is_suspended(gateway: WholeGateway) -> None:
    gateway.cli("company", "create", "shortlived", "--name-ja", "短命")
    gateway.cli("company", "method", "shortlived", "certificate")
    person, other = gateway.newcomer("shortlived"), gateway.newcomer()
    others = gateway.signed_in(other)
    with UnderWay(gateway, gateway.signed_in(person)) as under_way:
        under_way.hold_after(lambda: gateway.cli("company", "suspend", "shortlived"))
    assert Code.COMPANY_SUSPENDED.value in gateway.browser(person).get(CERTIFICATE_HOST, "/").text
    assert "ようこそ" in others.get(CERTIFICATE_HOST, "/home").text


def test_a_company_leaves_the_certificate_method(gateway: WholeGateway) -> None:
    gateway.cli("company", "create", "returning", "--name-ja", "復帰")
    gateway.cli("company", "method", "returning", "certificate")
    person = gateway.newcomer("returning")
    with UnderWay(gateway, gateway.signed_in(person)) as under_way:
        under_way.hold_after(lambda: gateway.cli("company", "method", "returning", "password"))
    answer = gateway.browser(person).get(CERTIFICATE_HOST, "/")
    assert Code.COMPANY_NOT_ON_CERTIFICATE_METHOD.value in answer.text


def test_an_operator_ends_the_session(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    with UnderWay(gateway, gateway.signed_in(person)) as under_way:
        under_way.hold_after(lambda: gateway.cli("session", "end", person.user_id))
    # The certificate is as good as before.
    gateway.signed_in(person)


def test_the_person_signs_out(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    browser = gateway.signed_in(person)

    def sign_out() -> None:
        # From a copy of the browser, so that the others go on with the cookies of the session that ends.
        copy = gateway.browser(person)
        copy.cookies = {host: dict(cookies) for host, cookies in browser.cookies.items()}
        page = copy.get(CERTIFICATE_HOST, "/gateway/sign-out")
        copy.submit(page, page.form_to("/sign-out"))

    with UnderWay(gateway, browser) as under_way:
        under_way.hold_after(sign_out)


def test_the_session_is_taken_over(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    elsewhere = gateway.browser(person)

    def take_over() -> None:
        page = elsewhere.get(CERTIFICATE_HOST, "/")
        page = elsewhere.submit(page, page.form("password"), password=person.password)
        elsewhere.submit(page, page.form_to("/takeover"))

    with UnderWay(gateway, gateway.signed_in(person)) as under_way:
        under_way.hold_after(take_over)
    assert person.user_id in elsewhere.get(CERTIFICATE_HOST, "/home").text


def test_the_certificate_expires(gateway: WholeGateway, tmp_path: Path) -> None:
    issuing = Authority.loaded(gateway.material.certificates.authority, "issuing")
    last_second = now() + timedelta(seconds=5)
    identity, pem = issuing.leaf(tmp_path, ends=last_second)
    user_id = gateway.new_user()
    gateway.register(NewCertificate(identity, user_id))
    ends = last_second.timestamp() + 1.0
    with UnderWay(gateway, gateway.signed_in(Person(user_id, identity, pem))) as under_way:
        assert SystemClock().now() < ends
        under_way.hold_after(lambda: eventually(lambda: SystemClock().now() >= ends))
    assert Code.CERTIFICATE_EXPIRED.value in gateway.browser(pem).get(CERTIFICATE_HOST, "/").text


def test_the_bank_stops_the_service(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    try:
        with UnderWay(gateway, browser) as under_way:
            under_way.hold_after(lambda: gateway.cli("emergency", "stop", "--all", "--note-ja", "障害対応中です。"))
        page = gateway.browser(person).get(CERTIFICATE_HOST, "/home")
        assert page.status == 503
        assert Code.EMERGENCY_STOP.value in page.text
        assert "障害対応中です。" in page.text
    finally:
        gateway.cli("emergency", "release", "--all")
    # The session was not ended: the customer goes on where it was.
    assert eventually(lambda: "ようこそ" in browser.get(CERTIFICATE_HOST, "/home").text)
