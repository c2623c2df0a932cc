"""Customers who each do one thing again and again while something is done to the gateway; nothing may fail for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Connection
from mtls_gateway.demo.visit import place
from tests.promises.whole_gateway import WholeGateway

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


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
