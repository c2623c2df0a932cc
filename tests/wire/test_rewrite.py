"""The two faces: whatever names the backend comes back under the site's name, and the other way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mtls_gateway.config import Host, Seen
from mtls_gateway.wire.answer import AnswerReader
from mtls_gateway.wire.gate import Forward, Page, RequestHead, Route
from mtls_gateway.wire.rewrite import Face, built_in_answer
from tests.wire.scripted import SEAL

BACKEND = "http://10.0.0.1:8080"
SITE = "https://bank.example:8443"


def face(backend: str = BACKEND, **seen: Any) -> Face:
    site = Host(name="bank.example", listen=("127.0.0.1:8443",), certificate=Path("c"), key=Path("k"))
    return Face(site, Seen(**seen), backend)


def head(**parts: Any) -> RequestHead:
    made = RequestHead()
    default = {
        "method": b"GET", "target": b"/", "headers": [], "cookies": b"", "length": 0, "upgrade": b"",
        "origin": b"", "referer": b"", "written": None,
    }  # fmt: skip
    for name, value in (default | parts).items():
        setattr(made, name, value)
    return made


PASS = Forward(route=Route.LEGACY, seal=SEAL)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://10.0.0.1:8080/a?b#c", f"{SITE}/a?b#c"),
        ("HTTP://10.0.0.1:8080/a", f"{SITE}/a"),
        ("https://10.0.0.1:8080/a", f"{SITE}/a"),
        ("//10.0.0.1:8080/a", f"{SITE}/a"),
        ("http://10.0.0.1:8080", SITE),
        ("http://10.0.0.1:8080?x=/y", f"{SITE}?x=/y"),
        ("http://bank.example:8443/a", f"{SITE}/a"),
        ("http://BANK.example/a", f"{SITE}/a"),
        ("/a", "/a"),
        ("a/b", "a/b"),
        ("?x", "?x"),
        ("", ""),
        ("https://elsewhere.example/a", "https://elsewhere.example/a"),
        ("http://10.0.0.1:9090/a", "http://10.0.0.1:9090/a"),
        ("http://10.0.0.1:8080@evil.example/a", "http://10.0.0.1:8080@evil.example/a"),
        ("http://10.0.0.1:8080.evil.example/a", "http://10.0.0.1:8080.evil.example/a"),
        ("javascript:alert(1)", "javascript:alert(1)"),
    ],
)
def test_urls_of_the_backend_come_back_under_the_sites_name(url: str, seen: str) -> None:
    answer = AnswerReader().read(
        f"HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Location: {url}\r\nX-Url: {url}\r\n\r\n".encode()
    )
    lines = face().answer(answer, SEAL, b"").decode().split("\r\n")
    assert f"Location: {seen}" in lines
    assert f"Content-Location: {seen}" in lines
    assert f"X-Url: {url}" in lines


@pytest.mark.parametrize("spelt", ["http://10.0.0.1/a", "http://10.0.0.1:80/a"])
@pytest.mark.parametrize("backend", ["http://10.0.0.1", "http://10.0.0.1:80"])
def test_a_default_port_may_be_spelt_out_or_not(backend: str, spelt: str) -> None:
    assert face(backend).location(spelt.encode()).decode() == f"{SITE}/a"


@pytest.mark.parametrize(
    ("refresh", "seen"),
    [
        ("5", "5"),
        ("0; url=http://10.0.0.1:8080/a", f"0; url={SITE}/a"),
        ("0;URL='http://10.0.0.1:8080/a'", f"0;URL='{SITE}/a'"),
        ('0 , url = "http://10.0.0.1:8080"', f'0 , url = "{SITE}"'),
        ("3; http://10.0.0.1:8080/a", f"3; {SITE}/a"),
        ("0; url=/a", "0; url=/a"),
        ("0; url=https://elsewhere.example/", "0; url=https://elsewhere.example/"),
        ("0; url=" + " " * 10_000 + "x", None),
    ],
)
def test_refresh_is_rewritten(refresh: str, seen: str | None) -> None:
    answer = AnswerReader().read(f"HTTP/1.1 200 OK\r\nRefresh: {refresh}\r\n\r\n".encode())
    assert f"Refresh: {seen or refresh}" in face().answer(answer, SEAL, b"").decode().split("\r\n")


@pytest.mark.parametrize(
    ("mode", "host", "origin", "referer"),
    [
        ("rewrite", "public", "http://bank.example:8443", "http://bank.example:8443/a"),
        ("rewrite", "backend", "http://10.0.0.1:8080", "http://10.0.0.1:8080/a"),
        ("rewrite", "internal.example", "http://internal.example", "http://internal.example/a"),
        ("pass", "backend", SITE, f"{SITE}/a"),
        ("remove", "backend", None, None),
    ],
)
def test_the_backend_sees_the_origin_that_the_settings_say(
    mode: str, host: str, origin: str | None, referer: str | None
) -> None:
    request = head(origin=SITE.encode(), referer=f"{SITE}/a".encode())
    lines = face(origin=mode, host=host).request(request, PASS).decode().split("\r\n")
    assert [line for line in lines if line.startswith("Origin")] == ([f"Origin: {origin}"] if origin else [])
    assert [line for line in lines if line.startswith("Referer")] == ([f"Referer: {referer}"] if referer else [])


@pytest.mark.parametrize(
    "foreign", ["https://evil.example", "null", f"{SITE}.evil.example", "http://bank.example:8443"]
)
def test_a_foreign_origin_stays_foreign(foreign: str) -> None:
    request = head(origin=foreign.encode(), referer=f"{foreign}/a".encode())
    lines = face().request(request, PASS).decode().split("\r\n")
    assert f"Origin: {foreign}" in lines
    assert f"Referer: {foreign}/a" in lines


def test_a_request_is_built_anew() -> None:
    request = head(method=b"POST", target=b"/a?b", headers=[(b"Accept", b"x")], cookies=b"c=d", length=5)
    admission = Forward(route=Route.LEGACY, seal=SEAL, headers=((b"X-User-ID", b"u1"),))
    assert face(host="backend").request(request, admission) == (
        b"POST /a?b HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nAccept: x\r\nCookie: c=d\r\nX-User-ID: u1\r\n"
        b"Content-Length: 5\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        ({"method": b"POST"}, ["Content-Length: 0"]),
        ({"method": b"GET"}, []),
        ({"method": b"POST", "length": -1}, ["Transfer-Encoding: chunked"]),
        ({"upgrade": b"websocket"}, ["Connection: Upgrade", "Upgrade: websocket"]),
    ],
)
def test_a_request_says_how_it_ends(parts: dict[str, Any], lines: list[str]) -> None:
    built = face().request(head(**parts), PASS).decode().split("\r\n")
    assert built[2:-2] == lines


@pytest.mark.parametrize("value", [b"u1\r\nX: y", b"u1\nX: y", b"u1\rX: y"])
def test_a_header_of_the_gateways_never_becomes_two(value: bytes) -> None:
    admission = Forward(route=Route.LEGACY, seal=SEAL, headers=((b"X-User-ID", value),))
    with pytest.raises(ValueError, match="more than one line"):
        face().request(head(), admission)


def test_a_page_is_asked_for_with_little_of_the_request() -> None:
    request = head(method=b"POST", headers=[(b"Accept", b"x"), (b"Content-Type", b"y"), (b"X-A", b"z")], cookies=b"c=d")
    built = face().request(request, Page(b"/gateway/x", ((b"Gateway-Context", b"{}"),), "x"))
    assert built.startswith(b"GET /gateway/x HTTP/1.1\r\n")
    assert b"Accept: x\r\nCookie: c=d\r\nGateway-Context: {}\r\n" in built
    assert b"Content-Type" not in built


def test_cookies_pass_the_seal_and_may_be_dropped_by_it() -> None:
    class Seal:
        def open_header(self, cookies: bytes) -> bytes:
            return b""

        def seal_header(self, set_cookie: bytes) -> bytes:
            return b"" if set_cookie.startswith(b"drop") else b"sealed"

    admission = Forward(route=Route.LEGACY, seal=Seal())
    assert b"Cookie" not in face().request(head(cookies=b"a=b"), admission)
    answer = AnswerReader().read(b"HTTP/1.1 200\r\nSet-Cookie: a=b\r\nSet-Cookie: drop=1\r\n\r\n")
    assert face().answer(answer, Seal(), b"X: y\r\n") == b"HTTP/1.1 200 \r\nSet-Cookie: sealed\r\nX: y\r\n\r\n"


def test_a_built_in_answer_is_whole() -> None:
    answer = built_in_answer(403, b"page", close=True)
    first, _, body = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    for line in (b"Content-Length: 4", b"Connection: close", b"Cache-Control: no-store"):
        assert line in first.split(b"\r\n")
    assert body == b"page"
    assert built_in_answer(403, b"page", close=False, with_body=False).endswith(b"\r\n\r\n")
