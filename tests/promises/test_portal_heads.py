"""What a browser may send, the portal takes: it never quotes a session's cookie, in an answer or in the log."""

from __future__ import annotations

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Browser
from tests.promises.whole_gateway import WholeGateway

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def signed_in(gateway: WholeGateway) -> Browser:
    return gateway.signed_in(gateway.newcomer())


def test_cookies_as_long_as_a_head_may_be_keep_nobody_from_the_portal(
    gateway: WholeGateway, signed_in: Browser
) -> None:
    """A compromised page of the backend can set so many (a "cookie bomb"); signing out must still be possible."""
    session = signed_in.cookies[CERTIFICATE_HOST]["__Host-ib-session"]
    for number in range(7):
        signed_in.cookies[CERTIFICATE_HOST][f"padding{number}"] = "x" * 4_000
    answer = signed_in.get(CERTIFICATE_HOST, "/gateway/sign-out")
    assert answer.status == 200
    assert signed_in.submit(answer, answer.form_to("/gateway/sign-out")).status == 200
    assert session[:16] not in answer.text + gateway.log


def test_a_long_user_agent_gets_its_page(gateway: WholeGateway) -> None:
    answer = gateway.browser().get(PUBLIC_HOST, "/", headers={"User-Agent": "x" * 20_000})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "other"])
def test_a_compressed_form_is_not_unpacked(gateway: WholeGateway, coding: str) -> None:
    browser = gateway.browser()
    url = browser.url(PUBLIC_HOST, "/gateway/password-sign-in")
    answer = browser.request("POST", url, b"0123456789", {**FORM, "Content-Encoding": coding}, False)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert "Traceback" not in gateway.log
