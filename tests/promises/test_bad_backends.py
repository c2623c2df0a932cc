"""A backend that is down, slow, half-answers or lies: a page or a cut, never a hang, never another user's (B.4)."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.visit import place
from tests.promises.tls_line import Answer, Line
from tests.promises.whole_gateway import Person, WholeGateway, eventually

#: Seconds: the backend is given one to begin and one of silence; a sweep and a busy machine come on top.
NO_HANG = 4.0
FAILURES = "mtls_gateway_backend_failures_total"


@pytest.fixture(scope="module")
def victim(odd: WholeGateway) -> Person:
    return odd.newcomer()


@pytest.fixture(scope="module")
def browsers(odd: WholeGateway, victim: Person) -> tuple[Browser, Browser]:
    """The victim's, and another person's."""
    return odd.signed_in(victim), odd.signed_in(odd.newcomer())


def ask(odd: WholeGateway, browser: Browser, target: str, method: str = "GET") -> Answer | None:
    """The answer; None: the connection was cut."""
    with Line(odd, CERTIFICATE_HOST, browser.context) as line:
        try:
            return line.ask(target, method=method, headers={"Cookie": browser.cookie_header(CERTIFICATE_HOST)})
        except (ConnectionError, ssl.SSLError, http.client.HTTPException):
            return None


#: What the backend does, and the status of the page that says so.
PAGES = {
    "hangs_up": 502,
    "resets": 502,
    "half_a_head": 502,
    "half_a_head_for_ever": 504,
    "says_nothing": 504,
    "two_lengths": 502,
    "length_and_chunks": 502,
    "no_http": 502,
    "a_huge_head": 502,
}
#: What the backend does after it has begun to answer: there is nothing left but to cut.
CUTS = ("half_a_body", "half_a_body_for_ever", "half_the_chunks", "no_chunks")


@pytest.mark.parametrize("how", PAGES)
def test_before_an_answer_has_begun_there_is_a_page_in_both_languages(
    odd: WholeGateway, browsers: tuple[Browser, Browser], how: str
) -> None:
    began = time.monotonic()
    answer = ask(odd, browsers[0], f"/bad/{how}")
    assert time.monotonic() - began < NO_HANG
    assert answer is not None
    assert answer.status == PAGES[how]
    assert "text/html" in answer.headers["Content-Type"]
    assert "お" in answer.text
    assert 'lang="en"' in answer.text
    assert "secret" not in answer.text
    # The next request is none the worse for it.
    assert place_of(odd, browsers[0]).startswith("home of")


def place_of(odd: WholeGateway, browser: Browser) -> str:
    return place(browser.get(CERTIFICATE_HOST, "/home"))


@pytest.mark.parametrize("how", CUTS)
def test_once_an_answer_has_begun_it_is_cut_and_never_looks_whole(
    odd: WholeGateway, browsers: tuple[Browser, Browser], how: str
) -> None:
    began = time.monotonic()
    answer = ask(odd, browsers[0], f"/bad/{how}")
    assert time.monotonic() - began < NO_HANG
    # A framing that is broken in its first octets may still be a page.
    assert answer is None or answer.status == 502
    assert place_of(odd, browsers[0]).startswith("home of")


@pytest.mark.parametrize("how", [*PAGES, *CUTS])
def test_a_post_is_not_sent_twice(odd: WholeGateway, browsers: tuple[Browser, Browser], how: str) -> None:
    """It may have been carried out: only what is safe to repeat is repeated."""
    path = f"/bad/{how}?post"
    before = asked(odd, path)
    place_of(odd, browsers[0])
    with Line(odd, CERTIFICATE_HOST, browsers[0].context) as line:
        try:
            headers = {"Cookie": browsers[0].cookie_header(CERTIFICATE_HOST)}
            status = line.ask(path, method="POST", headers=headers, body=b"amount=1").status
        except (ConnectionError, ssl.SSLError, http.client.HTTPException):
            status = 0
    assert status in (0, 502, 504)
    assert asked(odd, path) == before + 1


def asked(odd: WholeGateway, path: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{odd.ports.bank}/monitor", timeout=10) as answer:
        found: dict[str, int] = json.load(answer)["asked"]
        return found.get(path, 0)


def unasked(odd: WholeGateway) -> float:
    return sum(odd.metric(FAILURES, reason=reason) for reason in ("excess_octets", "unasked_octets"))


def has_risen(odd: WholeGateway, before: float) -> bool:
    return unasked(odd) > before


@pytest.mark.parametrize("how", ["more_than_it_said", "a_body_without_end", "more_later"])
def test_what_a_backend_says_unasked_reaches_nobody(
    odd: WholeGateway, browsers: tuple[Browser, Browser], how: str
) -> None:
    """A second answer behind the first is somebody else's answer as soon as the connection is used again."""
    victims, others = browsers
    method = "HEAD" if how == "a_body_without_end" else "GET"
    for _ in range(4):
        before = unasked(odd)
        first = ask(odd, victims, f"/bad/{how}", method)
        assert first is not None
        assert first.text in ("first", "")
        if how == "more_later":
            # What comes while somebody else's request is already on its way cannot be told from its answer.
            assert eventually(partial(has_risen, odd, before))
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: ask(odd, others, "/home"), range(8)))
        for answer in answers:
            assert answer is not None
            assert "secret" not in answer.text
            assert "ようこそ" in answer.text
    assert unasked(odd) > 0


def test_many_at_once_each_get_their_own_answer_while_the_backend_misbehaves(
    odd: WholeGateway, browsers: tuple[Browser, Browser], victim: Person
) -> None:
    victims, others = browsers
    bad = [f"/bad/{how}" for how in ("hangs_up", "more_than_it_said", "half_a_body", "two_lengths", "resets")]

    def visit(number: int) -> None:
        if number % 2:
            answer = ask(odd, victims, bad[number % len(bad)])
            assert answer is None or answer.status == 502 or answer.text == "first"
        else:
            browser = victims if number % 4 else others
            answer = ask(odd, browser, "/home")
            assert answer is not None
            assert (victim.user_id in answer.text) is (browser is victims)
            assert "secret" not in answer.text

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(120)))


def test_a_backend_that_hangs_as_a_whole_holds_nobody_for_ever(
    odd: WholeGateway, browsers: tuple[Browser, Browser]
) -> None:
    backend = odd.visit.running.bank
    os.kill(backend.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = ask(odd, browsers[0], "/home")
        assert answer is not None
        assert answer.status == 504
        assert time.monotonic() - began < NO_HANG
        # The gateway's own pages do not need it.
        answer = ask(odd, browsers[0], "/gateway/status")
        assert answer is not None
        assert answer.status == 200
    finally:
        os.kill(backend.pid, signal.SIGCONT)
    assert eventually(lambda: place_of(odd, browsers[0]).startswith("home of"))
