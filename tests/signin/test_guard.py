from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtls_gateway.config import GuardedRequest
from mtls_gateway.signin.guard import Guard, Place
from tests.signin.server_readings import SERVERS

GUARD = Guard(
    ["/login", "/login.php", "/accounts/login/", "/auth/**", "/app/*.do", "**/j_security_check", "/sign*in"],
    public=["/static/**", "/favicon.ico"],
    sign_out=["/logout"],
)
HELD = (Place.GUARDED, Place.AMBIGUOUS)
GUARDED_PATHS = [
    b"/login",
    b"/login.php",
    b"/accounts/login/",
    b"/auth/x/y",
    b"/app/enter.do",
    b"/a/b/j_security_check",
    b"/signmein",
]


@pytest.mark.parametrize("target", [*GUARDED_PATHS, b"/auth", b"/auth/", b"/j_security_check", b"/signin", b"/login/"])
def test_what_a_pattern_names_is_guarded(target: bytes) -> None:
    assert GUARD.place_of(target) is Place.GUARDED


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/balance",
        b"/logins",
        b"/login2/x",
        b"/a/login",
        b"/login/help",
        b"/authentic",
        b"/app/x/enter.do",
        b"/balance?next=/login",
        b"/balance?/login",
        b"/%E6%AE%8B%E9%AB%98",
        b"/statement-2026.csv",
        b"/a%20b/100%25",
        b"/download;v=1/file.csv",
        b"/api/accounts:close",
        b"/~user/page",
        b"/a+b",
        b"/signin-help/style/x",
    ],
)
def test_what_no_pattern_names_is_clear(target: bytes) -> None:
    assert GUARD.place_of(target) is Place.LEGACY


@pytest.mark.parametrize(
    "target",
    [
        b"/LOGIN",
        b"/Login",
        b"/login?x=1",
        b"/login?",
        b"/login/",
        b"//login",
        b"/login//",
        b"/login;jsessionid=0123",
        b"/login;",
        b"/;x=y/login",
        b"/;/login",
        b"/lo%67in",
        b"/lo%2567in",
        b"/lo%252567in",
        b"/login.",
        b"/login%20",
        b"/login%20.",
        b"/login+",
        b"/login%2b",
        b"/login::$DATA",
        b"/login%3fx",
        b"/login%23x",
        b"/login%3bx",
        b"/login;/balance",
        b"/login.php/anything/else",
        b"/LOGIN.PHP/a.css",
        b"/app/a.do/x",
        b"/%EF%BD%8C%EF%BD%8F%EF%BD%87%EF%BD%89%EF%BD%8E",
        b"/log%C4%B1n",
        b"/lo%CC%81gin",
        b"/lo%E2%80%8Bgin",
        b"/log%C2%ADin",
        b"/%C5%BFign-in",
        b"/accounts//login",
        b"/accounts/;a/login",
    ],
)
def test_the_login_in_another_spelling_is_guarded(target: bytes) -> None:
    assert GUARD.place_of(target) is Place.GUARDED


@pytest.mark.parametrize(
    "target",
    [
        b"/./login",
        b"/x/../login",
        b"/x/..",
        b"/.",
        b"/...",
        b"/x/..;/login",
        b"/x/.;a/login",
        b"/x/%2e%2e/login",
        b"/x/%2e./login",
        b"/x/%252e%252e/login",
        b"/x/..%20/login",
        b"/x/..%3fa",
        b"/x/.%E2%80%8B./login",
        b"/x%2flogin",
        b"/x%2Flogin",
        b"/x%252flogin",
        b"/x%5clogin",
        b"/x\\login",
        b"/x%00",
        b"/login%00.css",
        b"/login%0a",
        b"/login\n",
        b"/login%7f",
        b"/login%09",
        b"/%c0%ae%c0%ae/login",
        b"/%c1%acogin",
        b"/%ff",
        b"/%ed%a0%80",
        b"/%u006cogin",
        b"/%25u006cogin",
        b"/100%",
        b"/%zz",
        b"/%25252567",
        b"/x%EF%BC%8Flogin",
        b"/%EF%BC%85%36%63ogin",
        b"/x%E2%88%95login",
        b"/x%C2%A5login",
        b"/%EF%BC%8E%EF%BC%8E/login",
        b"http://bank.example/login",
        b"*",
        b"",
        b"login",
        b"/a%20" + b"b" * 3_000,
    ],
)
def test_what_cannot_be_read_in_one_way_is_ambiguous(target: bytes) -> None:
    assert GUARD.place_of(target) is Place.AMBIGUOUS


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (b"/static/a.css", Place.PUBLIC),
        (b"/static", Place.PUBLIC),
        (b"/favicon.ico", Place.PUBLIC),
        (b"/favicon.ico?v=3", Place.PUBLIC),
        (b"/STATIC/a.css", Place.LEGACY),
        (b"/static;x", Place.LEGACY),
        (b"/x;/static/a", Place.LEGACY),
        (b"/%73tatic/a.css", Place.LEGACY),
        (b"/static/%E3%81%82.css", Place.PUBLIC),
        (b"/favicon.ico/x", Place.LEGACY),
        (b"/static/../balance", Place.AMBIGUOUS),
        (b"/static/j_security_check", Place.GUARDED),
        (b"/logout", Place.SIGN_OUT),
        (b"/Logout;x", Place.SIGN_OUT),
        (b"/gateway/password", Place.PORTAL),
        (b"/gateway/", Place.PORTAL),
        (b"/gateway", Place.PORTAL),
        (b"/gatewayx", Place.LEGACY),
        (b"/Gateway/password", Place.AMBIGUOUS),
        (b"/%67ateway/password", Place.AMBIGUOUS),
        (b"//gateway/password", Place.AMBIGUOUS),
        (b"/;a/gateway/", Place.AMBIGUOUS),
        (b"/gateway/../login", Place.AMBIGUOUS),
    ],
)
def test_a_place_is_public_or_the_portals_only_when_it_can_be_nothing_else(target: bytes, place: Place) -> None:
    assert GUARD.place_of(target) is place


def test_a_root_or_whole_pattern_works() -> None:
    assert Guard(["/"]).place_of(b"/") is Place.GUARDED
    assert Guard(["/"]).place_of(b"//;x") is Place.GUARDED
    assert Guard(["/"]).place_of(b"/x") is Place.LEGACY
    assert Guard(["/**"]).place_of(b"/x/y") is Place.GUARDED
    assert Guard(["/**"]).place_of(b"/") is Place.GUARDED
    assert Guard(["/a/**/z"]).place_of(b"/a/z") is Place.GUARDED
    assert Guard(["/a/**/z"]).place_of(b"/a/b/c/z") is Place.GUARDED
    assert Guard(["/帳票"]).place_of(b"/%E5%B8%B3%E7%A5%A8") is Place.GUARDED
    assert Guard(["/Login.ASPX"]).place_of(b"/login.aspx") is Place.GUARDED


CONTROLLER = Guard(
    [
        "/login",
        GuardedRequest(path="/ib", query="EventID=Login"),
        GuardedRequest(path="/ib", field="userid"),
        GuardedRequest(path="/open/*", query="login"),
    ],
    public=["/open/**"],
    sign_out=["/open/bye"],
)


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (b"/ib?EventID=Login", Place.GUARDED),
        (b"/ib?a=b&EventID=Login", Place.GUARDED),
        (b"/IB/;x=y?eventid=login", Place.GUARDED),
        (b"/ib%3FEventID=Login", Place.GUARDED),
        (b"/ib?userid=taro", Place.GUARDED),
        (b"/ib?EventID=Balance", Place.LEGACY),
        (b"/ib", Place.LEGACY),
        (b"/ib?", Place.LEGACY),
        (b"/ib?x=%252525252541", Place.AMBIGUOUS),
        (b"/open/page", Place.PUBLIC),
        (b"/open/page?login", Place.GUARDED),
        (b"/open/bye?x=y", Place.SIGN_OUT),
        (b"/open/bye?login=1", Place.GUARDED),
    ],
)
def test_where_a_parameter_tells_the_login_the_query_is_read_each_time(target: bytes, place: Place) -> None:
    assert CONTROLLER.place_of(target) is Place.BY_PARAMETER
    for _ in range(2):
        assert CONTROLLER.by_query(target)[0] is place


@pytest.mark.parametrize("target", [b"/balance?EventID=Login", b"/ibx?userid=a", b"/login", b"/a/../ib", b"/gateway/x"])
def test_no_other_path_is_looked_at_for_parameters(target: bytes) -> None:
    assert CONTROLLER.place_of(target) is GUARD.place_of(target)
    assert CONTROLLER.place_of(target) is not Place.BY_PARAMETER


def test_a_form_is_looked_at_only_where_a_field_is_named() -> None:
    form = CONTROLLER.by_query(b"/ib")[1]
    assert form is not None
    assert form.search("a=b&userid=taro")
    # Named for the query only.
    assert not form.search("eventid=login")
    assert CONTROLLER.by_query(b"/open/page")[1] is None


def test_forgotten_and_overlong_paths_are_decided_alike() -> None:
    guard = Guard([GuardedRequest(path="/ib/**", query="login")])
    overlong = b"/ib/" + b"x" * 300
    assert guard.by_query(overlong + b"?login")[0] is Place.GUARDED
    assert guard.by_query(overlong)[0] is Place.LEGACY
    assert guard.place_of(b"/ib/1?login") is Place.BY_PARAMETER
    for number in range(20_000):
        guard.place_of(b"/ib/x/%d" % number)
    assert guard.by_query(b"/ib/1?login")[0] is Place.GUARDED
    assert len(guard._by_parameter) <= 8_192


def test_paths_from_outside_fill_no_memory() -> None:
    guard = Guard(["/login"])
    for number in range(20_000):
        guard.place_of(b"/%d" % number)
    guard.place_of(b"/" + b"x" * 5_000)
    assert len(guard.known) <= 8_192
    assert all(len(path) <= 256 for path in guard.known)


# --- whatever a server would take for the login -------------------------------------------------

_PATTERNS = [
    re.compile(pattern)
    for pattern in (
        r"/login/?",
        r"/login\.php",
        r"/accounts/login/?",
        r"/auth(?:/.*)?",
        r"/app/[^/]*\.do",
        r"/(?:.*/)?j_security_check",
        r"/sign[^/]*in",
    )
]
_TOKENS = [
    "/", "//", "/./", "/../", "/..;/", "\\", "%2f", "%5c", "%2e", "%252e", "%252f", ";", ";a=b", ";jsessionid=1",
    ".", "..", "%20", "%00", "%0a", "%3b", "%3f", "+", ":", "::$DATA", "%c0%ae", "%c0%af", "login", "LOGIN", "log",
    "in", "l", "%6c", "%6C", "%256c", "%25256c", "%25%36%63", "login.php", "auth", "x", "accounts", "j_security_check",
    "app", "a.do", "signin", "%EF%BD%8C", "%E2%80%8B", "%EF%BC%8F", "%", "%u006c", "~", "%ff",
]  # fmt: skip


def _is_the_login(path: str | None) -> bool:
    return path is not None and any(pattern.fullmatch(path) for pattern in _PATTERNS)


@given(st.lists(st.sampled_from(_TOKENS), max_size=9).map("".join))
@settings(max_examples=1_500, deadline=None)
def test_no_server_finds_the_login_behind_a_path_that_is_clear(path: str) -> None:
    octets = b"/" + path.encode()
    if any(_is_the_login(server(octets)) for server in SERVERS):
        assert GUARD.place_of(octets) in HELD


def _escaped(text: bytes, places: frozenset[int], times: int) -> bytes:
    for _ in range(times):
        text = b"".join(
            b"%%%02x" % octet if place in places and octet != 0x2F else bytes((octet,))
            for place, octet in enumerate(text)
        )
    return text


_DISGUISES: list[Callable[[bytes], bytes]] = [
    lambda path: path.replace(b"/", b"//"),
    lambda path: path.replace(b"/", b"/./"),
    lambda path: path.replace(b"/", b"/x/../"),
    lambda path: path.replace(b"/", b"/x/..;y/"),
    lambda path: path.replace(b"/", b"/%2e/"),
    lambda path: path.replace(b"/", b"/;a=b/"),
    lambda path: b"/" + path[1:].replace(b"/", b"\\"),
    lambda path: b"/" + path[1:].replace(b"/", b"%2f"),
    lambda path: path.upper(),
    lambda path: path.swapcase(),
    lambda path: path + b";jsessionid=0123",
    lambda path: path + b"?a=b",
    lambda path: path.rstrip(b"/") + b".",
    lambda path: path.rstrip(b"/") + b"%20",
    lambda path: path.rstrip(b"/") + b"::$DATA",
    lambda path: path.rstrip(b"/") + b"/",
    lambda path: path + b"%00.css",
    lambda path: path.replace(b"i", b"%EF%BD%89"),
    lambda path: path.replace(b"i", "ı".encode()),
    lambda path: path.replace(b"o", b"o%E2%80%8B"),
    lambda path: path.replace(b"%", b"%25"),
]


@given(
    st.sampled_from(GUARDED_PATHS),
    st.lists(st.sampled_from(_DISGUISES), max_size=4),
    st.frozensets(st.integers(1, 40)),
    st.integers(0, 3),
)
@example(b"/login", [], frozenset(range(1, 41)), 3)
@settings(max_examples=1_000, deadline=None)
def test_no_composition_of_disguises_makes_the_login_clear(
    path: bytes, disguises: list[Callable[[bytes], bytes]], places: frozenset[int], times: int
) -> None:
    path = _escaped(path, places, times)
    for disguise in disguises:
        path = disguise(path)
    assert GUARD.place_of(path) in HELD


@pytest.mark.parametrize(
    "target", [b"/.well-known/est/cacerts", b"/.well-known/est/", b"/.well-known/est", b"/.well-known/est/a/b?c"]
)
def test_the_enrolment_interface_is_the_portals(target: bytes) -> None:
    assert GUARD.place_of(target) is Place.PORTAL


@pytest.mark.parametrize(
    "target",
    [
        b"/.WELL-KNOWN/est/cacerts",
        b"/.well-known/EST/cacerts",
        b"/.well%2Dknown/est/cacerts",
        b"/%2ewell-known/est/cacerts",
        b"//.well-known/est/cacerts",
        b"/.well-known//est/cacerts",
        b"/.well-known/./est/cacerts",
        b"/.well-known;x/est/cacerts",
        b"/.well-known/est;x/cacerts",
        b"/x/../.well-known/est/cacerts",
        b"/.well-known\\est\\cacerts",
        "/.well-known/ｅｓｔ/cacerts".encode(),
    ],
)
def test_no_other_spelling_of_it_reaches_anybody(target: bytes) -> None:
    assert GUARD.place_of(target) is Place.AMBIGUOUS


@pytest.mark.parametrize("target", [b"/.well-known/estate", b"/.well-known/acme-challenge/x", b"/a/.well-known/est/x"])
def test_its_neighbours_are_the_legacy_backends(target: bytes) -> None:
    assert GUARD.place_of(target) is Place.LEGACY
