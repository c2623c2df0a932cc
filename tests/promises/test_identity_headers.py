"""What the client sends can never be taken for what the gateway says (clause B.2).

The backend behind this gateway says back the very octets of the request that reached it.
"""

from __future__ import annotations

import base64
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Browser
from tests.promises.tls_line import Line
from tests.promises.whole_gateway import Person, WholeGateway

SPOOF = "spoofed-by-the-client"

#: What backends take for the truth: of this gateway, of RFCs, and of other fronts that may have stood here before.
NAMES = [
    "X-User-ID",
    "Client-Cert",
    "Client-Cert-Chain",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Client-Cert",
    "X-Real-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Remote-User",
    "Remote-User",
    "X-SSL-Client-Cert",
    "X-SSL-Client-S-DN",
    "SSL-Client-Verify",
    "X-Client-Cert",
    "X-HTTP-Method-Override",
    "Gateway-Context",
    "Gateway-Connection",
    "Gateway-User",
    "Proxy-Authorization",
]


def spellings(name: str) -> list[str]:
    """Every way to write it that reaches some backend as the same variable."""
    separated = {name.replace("-", separator) for separator in "-_."} | {name.replace("-", "_", 1)}
    return sorted({spelt for one in separated for spelt in (one, one.lower(), one.upper(), one.swapcase())})


@pytest.fixture(scope="module")
def person(odd: WholeGateway) -> Person:
    return odd.newcomer()


@pytest.fixture(scope="module")
def browser(odd: WholeGateway, person: Person) -> Browser:
    return odd.signed_in(person)


def received(
    odd: WholeGateway, browser: Browser, fields: list[tuple[str, str]], request: str = "GET /echo", body: bytes = b""
) -> str:
    """The request as it reached the backend, head and body."""
    head = f"{request} HTTP/1.1\r\nHost: {CERTIFICATE_HOST}:{odd.port}\r\n"
    head += f"Cookie: {browser.cookie_header(CERTIFICATE_HOST)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields)
    with Line(odd, CERTIFICATE_HOST, browser.context) as line:
        line.send(f"{head}\r\n".encode() + body)
        answer = line.answer()
    assert answer.status == 200, answer.text
    assert answer.text.startswith(request)
    return answer.text


def values(request: str, name: str) -> list[str]:
    return re.findall(rf"(?im)^{re.escape(name)}: (.*?)\r?$", request)


def test_an_ordinary_header_arrives(odd: WholeGateway, browser: Browser) -> None:
    """Or else the tests below would say nothing."""
    assert values(received(odd, browser, [("X-Ordinary", SPOOF)]), "X-Ordinary") == [SPOOF]


def test_the_backend_is_told_who_it_is_once_and_by_the_gateway(
    odd: WholeGateway, browser: Browser, person: Person
) -> None:
    request = received(odd, browser, [])
    der = x509.load_pem_x509_certificate(person.pem.read_bytes()).public_bytes(Encoding.DER)
    assert values(request, "X-User-ID") == [person.user_id]
    assert values(request, "Client-Cert") == [f":{base64.b64encode(der).decode()}:"]
    assert values(request, "X-Forwarded-For") == ["127.0.0.1"]
    assert values(request, "X-Forwarded-Proto") == ["https"]
    assert values(request, "X-Forwarded-Host") == [f"{CERTIFICATE_HOST}:{odd.port}"]
    assert values(request, "Forwarded") == [f'for=127.0.0.1;host="{CERTIFICATE_HOST}:{odd.port}";proto=https']


@pytest.mark.parametrize("name", NAMES)
def test_no_spelling_of_an_identity_header_arrives(
    odd: WholeGateway, browser: Browser, person: Person, name: str
) -> None:
    request = received(odd, browser, [(spelling, SPOOF) for spelling in spellings(name)])
    assert SPOOF not in request
    assert values(request, "X-User-ID") == [person.user_id]


@pytest.mark.parametrize("name", ["X-User-ID", "Client-Cert", "X-Forwarded-For", "Gateway-Context"])
def test_not_twice_and_not_among_many_either(odd: WholeGateway, browser: Browser, person: Person, name: str) -> None:
    fields = [(name, SPOOF), ("X-Ordinary", "1"), (name, SPOOF), (name.lower(), SPOOF), (f"{name}", f"a, {SPOOF}")]
    request = received(odd, browser, fields)
    assert SPOOF not in request
    assert values(request, "X-User-ID") == [person.user_id]


@pytest.mark.parametrize("named", ["X-User-ID", "x-user-id", "Client-Cert", "Host", "Cookie", "X-Forwarded-For"])
def test_connection_cannot_take_the_gateways_headers_away(
    odd: WholeGateway, browser: Browser, person: Person, named: str
) -> None:
    request = received(odd, browser, [("Connection", f"keep-alive, {named}"), ("X-Ordinary", "1")])
    assert values(request, "X-User-ID") == [person.user_id]
    assert len(values(request, "Client-Cert")) == 1
    assert len(values(request, "Host")) == 1
    assert len(values(request, "Cookie")) == 1
    assert len(values(request, "X-Forwarded-For")) == 1


def test_connection_takes_away_what_it_names_of_the_clients(odd: WholeGateway, browser: Browser) -> None:
    request = received(odd, browser, [("Connection", "X-Hop"), ("X-Hop", "1"), ("X-Ordinary", "1")])
    assert values(request, "X-Hop") == []
    assert values(request, "X-Ordinary") == ["1"]
    assert "x-hop" not in request.lower()


@pytest.mark.parametrize("name", ["X-User-ID", "X_User_ID", "Client-Cert", "Gateway-Context", "X-Ordinary"])
def test_no_trailer_arrives(odd: WholeGateway, browser: Browser, person: Person, name: str) -> None:
    body = f"5\r\nhello\r\n0\r\n{name}: {SPOOF}\r\n\r\n".encode()
    request = received(
        odd, browser, [("Transfer-Encoding", "chunked"), ("Trailer", name)], request="POST /echo", body=body
    )
    assert "hello" in request
    assert SPOOF not in request
    assert values(request, "Trailer") == []
    assert values(request, "X-User-ID") == [person.user_id]


def test_the_gateways_own_cookie_and_the_seal_stay_with_the_gateway(
    odd: WholeGateway, browser: Browser, person: Person
) -> None:
    request = received(odd, browser, [("Cookie", f"ibsession={SPOOF}; ordinary=1; $Version=1")])
    assert "__Host-ib-session" not in request
    # What the browser holds is sealed; what the backend gets is its own again, and nobody else's.
    assert browser.cookies[CERTIFICATE_HOST]["ibsession"] != person.user_id
    assert re.findall(r"ibsession=([^;\r]*)", request) == [person.user_id]
    assert "ordinary=1" in request
    assert SPOOF not in request


def test_a_line_break_in_a_value_makes_no_header(odd: WholeGateway, browser: Browser) -> None:
    for value in (
        "a%0d%0aX-User-ID: evil",
        "a\\r\\nX-User-ID: evil",
        "a\u0085X-User-ID: evil",
        "a\u2028X-User-ID: evil",
    ):
        request = received(odd, browser, [("X-Ordinary", value)], request=f"GET /echo?q={'%0d%0aX-User-ID:evil'}")
        assert "evil" not in values(request, "X-User-ID")
