from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.signin.cookie_names import CookieNames
from mtls_gateway.signin.seal import NoSessionSeal, PortalSeal, SessionSeal

NAMES = CookieNames(["JSESSIONID", "ASP.NET_SessionId"], "__Host-ib-session")
KEY = b"k" * 32
SEAL = SessionSeal(NAMES, KEY)


def sealed(value: bytes, name: bytes = b"JSESSIONID", seal: SessionSeal = SEAL) -> bytes:
    """The pair that the browser keeps."""
    return seal.seal_header(b"%b=%b; Path=/" % (name, value)).partition(b";")[0]


def test_what_was_sealed_for_the_browser_is_opened_for_the_backend_by_every_worker() -> None:
    pair = sealed(b"0123.node1")
    assert pair != b"JSESSIONID=0123.node1"
    assert SessionSeal(NAMES, KEY).open_header(b"lang=ja; " + pair + b"; theme=dark") == (
        b"lang=ja; JSESSIONID=0123.node1; theme=dark"
    )


def test_the_same_header_again_is_opened_alike() -> None:
    seal = SessionSeal(NAMES, KEY)
    header = b"a=1; " + sealed(b"x")
    assert seal.open_header(header) == seal.open_header(header) == b"a=1; JSESSIONID=x"
    assert seal.open_header(b"") == b""


@given(st.binary(max_size=60).map(lambda value: value.translate(None, bytes(range(0x21)) + b";\x7f")))
def test_any_value_comes_back_as_the_backend_set_it(value: bytes) -> None:
    assert SEAL.open_header(sealed(value)) == b"JSESSIONID=" + value


@pytest.mark.parametrize(
    "forged",
    [
        b"JSESSIONID=0123",
        b"JSESSIONID",
        b"JSESSIONID=",
        b"JSESSIONID=0123.AAAAAAAAAAAAAAAAAAAAAA",
        b"JSESSIONID=.AAAAAAAAAAAAAAAAAAAAAA",
        b"jsessionid=0123",
        b"JSESSIONID =0123",
        b" JSESSIONID=0123",
        b"\tJSESSIONID\t=0123",
        b'"JSESSIONID"=0123',
        b"JSESSIONID%00=0123",
        b"%4aSESSIONID=0123",
        b"%254aSESSIONID=0123",
        b"JSESSIONID[0]=0123",
        b"ASP_NET_SessionId=0123",
        b"asp.net_sessionid=0123",
        b"ASP NET_SessionId=0123",
        b'other="x; JSESSIONID=0123; y"',
        b"other=x,JSESSIONID=0123",
        b"other=x, JSESSIONID =0123",
        b'other="x"JSESSIONID=0123',
        b"other=x JSESSIONID=0123",
        b"other=x\tASP.NET_SessionId=0123",
        b"$Version=1, JSESSIONID=0123",
        b"=JSESSIONID=0123",
    ],
)
def test_a_legacy_session_that_was_not_sealed_here_never_reaches_the_backend(forged: bytes) -> None:
    for seal in (SEAL, NoSessionSeal(NAMES)):
        opened = seal.open_header(b"a=1; " + forged + b"; b=2")
        assert b"0123" not in opened
        assert b"sessionid" not in opened.lower()
        assert opened.startswith(b"a=1")
        assert opened.endswith(b"b=2")


def test_only_sealed_ones_of_several_pass_and_the_first_of_them_wins() -> None:
    first, second = sealed(b"first"), sealed(b"second")
    header = b"JSESSIONID=forged; " + first + b"; JSESSIONID=forged; " + second
    assert SEAL.open_header(header) == b"JSESSIONID=first"
    assert SEAL.open_header(second + b"; " + first) == b"JSESSIONID=second"
    lower = sealed(b"lower", b"jsessionid")
    assert SEAL.open_header(first + b"; " + lower) == b"JSESSIONID=first"


def test_a_seal_fits_one_session_one_name_and_one_value() -> None:
    pair = sealed(b"value")
    assert SessionSeal(NAMES, b"o" * 32).open_header(pair) == b""
    assert SEAL.open_header(pair.replace(b"JSESSIONID", b"ASP.NET_SessionId")) == b""
    assert SEAL.open_header(pair.replace(b"value", b"valu")) == b""
    assert SEAL.open_header(pair.replace(b"value", b"value.x")) == b""
    # The name and the value cannot be cut elsewhere.
    assert SEAL.open_header(pair.replace(b"JSESSIONID=value", b"JSESSIONID=alue")) == b""


@pytest.mark.parametrize(
    "own", [b"__Host-ib-session=t", b"__Host-ib-csrf=t", b"__host-ib-x=t", b"__Host-ib-session", b"%5f_Host-ib-x=t"]
)
def test_the_gateways_own_cookies_never_reach_the_backend(own: bytes) -> None:
    assert SEAL.open_header(b"a=1; " + own) == b"a=1"
    assert NoSessionSeal(NAMES).open_header(own) == b""
    assert PortalSeal().open_header(own) == own


def test_versions_and_paths_of_old_cookies_are_dropped() -> None:
    assert SEAL.open_header(b'$Version="1"; a=1; $Path="/"; $Domain=x') == b"a=1"


def test_other_cookies_of_the_backend_pass_as_they_are() -> None:
    header = b'lang=ja; q="a, b"; \xe3\x81\x82=1; empty=; flag; x=JSESSIONID; y=a=JSESSIONID=b'
    expected = header.replace(b"\xe3\x81\x82=1; ", b"")
    assert SEAL.open_header(header) == expected


def test_cookies_are_hardened() -> None:
    assert SEAL.seal_header(b"lang=ja") == b"lang=ja; Secure; SameSite=Lax"
    assert SEAL.seal_header(b"lang=ja; domain=.bank.example; path=/a; max-age=9; httponly; samesite=strict; Foo=1") == (
        b"lang=ja; Path=/a; Max-Age=9; Secure; HttpOnly; SameSite=Strict"
    )
    assert SEAL.seal_header(b"a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=relative; SameSite=what") == (
        b"a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure; SameSite=Lax"
    )
    bound = SEAL.seal_header(b"JSESSIONID=1; Path=/app")
    assert bound.endswith(b"; Path=/app; Secure; HttpOnly; SameSite=Lax")


@pytest.mark.parametrize(
    "mischief",
    [
        b"__Host-ib-session=; Max-Age=0; Path=/",
        b"__host-IB-session=x",
        b" __Host-ib-csrf=x",
        b"=__Host-ib-session=x",
        b"__Host-ib-session",
        b"nameless",
        b"a=b\r\nSet-Cookie: __Host-ib-session=x",
        b"a=b\x00",
        b"$Version=1",
    ],
)
def test_the_backend_can_neither_set_nor_clear_the_gateways_cookies(mischief: bytes) -> None:
    assert SEAL.seal_header(mischief) == b""
    assert NoSessionSeal(NAMES).seal_header(mischief) == b""


def test_without_a_session_no_legacy_session_passes_in_either_direction() -> None:
    seal = NoSessionSeal(NAMES)
    assert seal.seal_header(b"JSESSIONID=1; Path=/") == b""
    assert seal.seal_header(b"jsessionid=1; Path=/") == b""
    assert seal.seal_header(b"lang=ja") == b"lang=ja; Secure; SameSite=Lax"
    assert seal.open_header(sealed(b"1") + b"; lang=ja") == b"lang=ja"


def test_spellings_from_outside_fill_no_memory() -> None:
    names = CookieNames(["S"], "__Host-ib-session")
    seal = SessionSeal(names, KEY)
    for number in range(10_000):
        seal.open_header(b"n%d=1" % number)
    assert len(names.known) <= 4_096
