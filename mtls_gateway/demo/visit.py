"""What every part of the walk needs: browsers, sign-ins, and a word for where one got to."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Answer, Browser
from mtls_gateway.demo.report import Report
from mtls_gateway.model import Code

if TYPE_CHECKING:
    from mtls_gateway.demo.run import Running

_CODES: Final = re.compile("|".join(sorted((code.value for code in Code), key=len, reverse=True)))
CHOICES: Final = ("電子証明書ログイン", "ID・パスワードログイン", "電子証明書発行")
WRONG: Final = "a wrong password"


class Visit:
    """What every part of the walk needs."""

    def __init__(self, running: Running, report: Report) -> None:
        self.running = running
        self.material = running.material
        self.report = report
        self.expect = report.expect

    def browser(self, certificate: str | None = None) -> Browser:
        """A browser with that certificate of the cast, or none."""
        shown = None if certificate is None else self.material.certificates.user(certificate)
        return Browser(self.running.ports.gateway, self.material.certificates.server_ca, shown)

    def signed_in(self, certificate: str) -> Browser:
        """A browser that has signed in with that certificate, taking an older session over.

        Raises:
            RuntimeError: it was not let in; says where it got.
        """
        browser = self.browser(certificate)
        answer = self.sign_in(browser, cast.certificate(certificate).user_id)
        if any(form.action.endswith("/takeover") for form in answer.forms()):
            answer = browser.submit(answer, answer.form_to("/takeover"))
        if not place(answer).startswith("home"):
            raise RuntimeError(f"sign-in with {certificate} got to: {place(answer)}")
        return browser

    def sign_in(self, browser: Browser, user_id: str, password: str | None = None) -> Answer:
        """From the front page over the password page to wherever that leads."""
        page = browser.get(CERTIFICATE_HOST, "/")
        given = cast.user(user_id).password if password is None else password
        return browser.submit(page, page.form("password"), password=given)

    def sign_in_by_password(self, browser: Browser, user_id: str, password: str | None = None) -> Answer:
        """The password method, on the public host."""
        given = cast.user(user_id).password if password is None else password
        page = browser.get(PUBLIC_HOST, "/gateway/password-sign-in")
        return browser.submit(page, page.form("password"), text=user_id, password=given)

    def bank(self, figure: str) -> int:
        """One of the bank's own figures, asked where its own operators ask."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.running.ports.bank}/monitor", timeout=10) as answer:
            return int(json.load(answer)[figure])


def within_a_second(look: Callable[[], str], wanted: str) -> str:
    """What ``look`` sees, as soon as that is ``wanted``; after a second, whatever it then is.

    Workers hear of changes ten times a second; a second is what is promised.
    """
    until = time.monotonic() + 1.0
    while (seen := look()) != wanted and time.monotonic() < until:
        time.sleep(0.02)
    return seen


def place(answer: Answer) -> str:
    """Where one got to, in a few words."""
    text = answer.text
    found = _CODES.search(text)
    welcomed = re.search(r"ようこそ、<span id=\"user\">([^<]*)</span>", text)
    if welcomed:
        return f"home of {welcomed[1]}"
    if found:
        return found[0]
    if any(form.action.endswith("/takeover") for form in answer.forms()):
        return "takeover page"
    if 'name="loginId"' in text:
        return "the bank's own login form"
    kinds = {kind for form in answer.forms() for kind in form.named}
    if "password" in kinds:
        return "page for ID and password" if "text" in kinds else "password page"
    if all(choice in text for choice in CHOICES):
        return "sign-in page"
    return f"status {answer.status}"
