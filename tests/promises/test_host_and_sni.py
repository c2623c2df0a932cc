"""The host that TLS was made for is the host that the request is for, or there is no answer but 421 (clause B.3)."""

from __future__ import annotations

import re
import ssl

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from tests.promises.tls_line import Line, client_context
from tests.promises.whole_gateway import WholeGateway

#: What is certain of each host's front page for a visitor without a session.
SIGN_IN_PAGE = "電子証明書ログイン"


def connect(gateway: WholeGateway, sni: str | None) -> Line:
    context = client_context(gateway, gateway.material.certificates.user("good"))
    context.check_hostname = False
    return Line(gateway, sni, context)


def hello_of(sni: str) -> bytes:
    """What a client of that server name says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=sni).do_handshake()
    return out.read()


@pytest.mark.parametrize("spelling", ["{host}:{port}", "{upper}:{port}", "{mixed}:{port}", "{host}:{port} \t"])
@pytest.mark.parametrize("host", [PUBLIC_HOST, CERTIFICATE_HOST])
def test_the_same_name_in_other_letters_is_the_same_host(gateway: WholeGateway, host: str, spelling: str) -> None:
    written = spelling.format(host=host, upper=host.upper(), mixed=host.title(), port=gateway.port)
    with connect(gateway, host) as line:
        line.host = written
        answer = line.ask()
    if host == PUBLIC_HOST:
        assert SIGN_IN_PAGE in answer.text
    else:
        assert answer.status == 303
        # The answer speaks of the host as it is configured, whatever the request said.
        assert re.fullmatch(r"/gateway/password(\?next=%2F)?", answer.headers["Location"])


@pytest.mark.parametrize("sni", [CERTIFICATE_HOST.upper(), CERTIFICATE_HOST.title()])
def test_a_server_name_in_other_letters_asks_for_a_certificate_just_the_same(gateway: WholeGateway, sni: str) -> None:
    assert sni.encode() in hello_of(sni), "or else this test would say nothing"
    with connect(gateway, sni) as line:
        line.host = f"{CERTIFICATE_HOST}:{gateway.port}"
        assert line.ask().status == 303


@pytest.mark.parametrize(
    ("sni", "host"),
    [
        (PUBLIC_HOST, "{certificate}:{port}"),
        (CERTIFICATE_HOST, "{public}:{port}"),
        (PUBLIC_HOST, "{CERTIFICATE}:{port}"),
        (CERTIFICATE_HOST, "{certificate}.:{port}"),
        (PUBLIC_HOST, "{public}.:{port}"),
        (CERTIFICATE_HOST, "{certificate}"),
        (CERTIFICATE_HOST, "{certificate}:443"),
        (CERTIFICATE_HOST, "{certificate}:{port}1"),
        (CERTIFICATE_HOST, "{certificate}:0{port}"),
        (CERTIFICATE_HOST, "{certificate}:"),
        (CERTIFICATE_HOST, "127.0.0.1:{port}"),
        (CERTIFICATE_HOST, "evil.example"),
        (CERTIFICATE_HOST, "{certificate}:{port}@evil.example"),
        (CERTIFICATE_HOST, "evil.example/{certificate}:{port}"),
        (CERTIFICATE_HOST, "{certificate}:{port}, {public}:{port}"),
        (CERTIFICATE_HOST, ""),
        (None, "{certificate}:{port}"),
    ],
)
def test_another_host_than_the_server_name_is_misdirected(gateway: WholeGateway, sni: str | None, host: str) -> None:
    names = {"public": PUBLIC_HOST, "certificate": CERTIFICATE_HOST, "CERTIFICATE": CERTIFICATE_HOST.upper()}
    before = gateway.metric("mtls_gateway_malformed_requests_total", reason="host_is_not_the_sites")
    with connect(gateway, sni) as line:
        line.host = host.format(**names, port=gateway.port)
        answer = line.ask()
        assert answer.status == 421
        assert line.is_closed()
    assert gateway.metric_reaches(before + 1, "mtls_gateway_malformed_requests_total", reason="host_is_not_the_sites")


def test_without_a_server_name_there_is_only_the_public_host(gateway: WholeGateway) -> None:
    with connect(gateway, None) as line:
        line.host = f"{PUBLIC_HOST}:{gateway.port}"
        answer = line.ask()
    assert SIGN_IN_PAGE in answer.text


@pytest.mark.parametrize("sni", [f"{CERTIFICATE_HOST}.", f"{PUBLIC_HOST}.", "evil.example", "localhost"])
def test_a_server_name_that_is_not_served_ends_the_handshake(gateway: WholeGateway, sni: str) -> None:
    assert sni.encode() in hello_of(sni)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(gateway, sni).close()


def test_each_request_of_a_connection_is_held_against_its_server_name(gateway: WholeGateway) -> None:
    with connect(gateway, CERTIFICATE_HOST) as line:
        assert line.ask().status == 303
        line.host = f"{PUBLIC_HOST}:{gateway.port}"
        assert line.ask().status == 421
        assert line.is_closed()


@pytest.mark.parametrize("target", ["https://{certificate}:{port}/", "http://{public}:{port}/", "//{public}:{port}/"])
def test_a_host_in_the_request_line_changes_nothing(gateway: WholeGateway, target: str) -> None:
    names = {"public": PUBLIC_HOST, "certificate": CERTIFICATE_HOST}
    with connect(gateway, CERTIFICATE_HOST) as line:
        answer = line.ask(target.format(**names, port=gateway.port))
    # The absolute form is refused; two slashes are a path, and without a session no path leads past the password.
    assert answer.status == (303 if target.startswith("//") else 400)
    assert not answer.headers.get("Location", "/gateway/").partition("?")[0].startswith("//")


def test_no_certificate_is_asked_for_on_the_public_host(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    browser.cookies[PUBLIC_HOST] = browser.cookies[CERTIFICATE_HOST]
    answer = browser.get(PUBLIC_HOST, "/home")
    assert SIGN_IN_PAGE in answer.text
    assert "ようこそ" not in answer.text
