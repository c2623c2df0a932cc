"""No parser of the ``Cookie`` header finds a legacy session in it that was not sealed here."""

from __future__ import annotations

import http.cookies
import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote

from django.http.cookie import parse_cookie
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtls_gateway.signin.cookie_names import BOUND, DROP, PASS, CookieNames
from mtls_gateway.signin.seal import NoSessionSeal, SessionSeal

NAMES = CookieNames(["SID", "ASP.NET_SessionId"], "__Host-ib-session")
SEAL = SessionSeal(NAMES, b"k" * 32)
SEALED = SEAL.seal_header(b"SID=good").partition(b";")[0].decode()
Pairs = Iterable[tuple[str, str]]


def rfc_6265(header: str) -> Pairs:
    for part in header.split(";"):
        name, _, value = part.partition("=")
        yield name.strip(), value.strip()


def rfc_2109(header: str) -> Pairs:
    """Commas separate too, quotes hold a value together (Tomcat's legacy processor, ASP.NET Core)."""
    for match in re.finditer(r'([^=;,\s]+)\s*(?:=\s*("(?:\\.|[^"\\])*"|[^;,\s]*))?', header):
        yield match[1], match[2] or ""


def php(header: str) -> Pairs:
    for name, value in rfc_6265(header):
        decoded = unquote(name).split("\0")[0]
        yield re.sub(r"[ .]", "_", decoded.lstrip()).partition("[")[0], unquote(value)


def ignoring_case(header: str) -> Pairs:
    for name, value in rfc_6265(header):
        for bound in ("SID", "ASP.NET_SessionId"):
            if name.lower() == bound.lower():
                yield bound, value


def standard_library(header: str) -> Pairs:
    try:
        return [(name, morsel.value) for name, morsel in http.cookies.SimpleCookie(header).items()]
    except http.cookies.CookieError:
        return []


def django(header: str) -> Pairs:
    found: dict[str, str] = parse_cookie(header)
    return found.items()


PARSERS: tuple[Callable[[str], Pairs], ...] = (rfc_6265, rfc_2109, php, ignoring_case, standard_library, django)
TOKENS = [
    "SID", "sid", "S%49D", "ASP.NET_SessionId", "ASP_NET_SessionId", "evil", "=", "=evil", ";", "; ", ",", ", ", '"',
    "\\", " ", "\t", "$Version=1", "other", "a=b", "%00", "[0]", "[", ".", SEALED, "__Host-ib-session", "%3d", "%2c",
]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join))
@example('other="x; SID=evil"')
@example('other="x", SID=evil')
@example("SID =evil")
@settings(max_examples=1_500, deadline=None)
def test_no_parser_finds_a_session_that_was_not_sealed(header: str) -> None:
    # A name without a value opens nothing.
    for seal, allowed in ((SEAL, {"good", ""}), (NoSessionSeal(NAMES), {""})):
        opened = seal.open_header(header.encode()).decode()
        for parser in PARSERS:
            for name, value in parser(opened):
                if name in ("SID", "ASP.NET_SessionId", "ASP_NET_SessionId"):
                    assert value.strip('"') in allowed, (parser.__name__, opened)
                if parser is rfc_6265:
                    assert not name.lower().startswith("__host-ib-")


def test_each_name_has_its_fate() -> None:
    assert NAMES.decide(b"SID") is NAMES.decide(b"sid") is NAMES.decide(b"asp_net_sessionid") is BOUND
    assert NAMES.decide(b"lang") is NAMES.decide(b"SIDE") is PASS
    for own in (b"__Host-ib-session", b"__HOST-IB-anything", b"", b"$Path", b"\xe3\x81\x82", b"%20"):
        assert NAMES.decide(own) is DROP
