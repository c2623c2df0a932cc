"""A parameter is found in every spelling that some server takes for it, and no other is taken for it (clause A.4)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_gateway.signin.parameters import is_readable, looked_for, names
from mtls_gateway.signin.readings import Ambiguous
from tests.signin.parameter_readings import SERVERS

LOGIN = looked_for(["EventID=Login", "user_id"])


def is_held(octets: bytes) -> bool:
    try:
        return names(octets, LOGIN)
    except Ambiguous:
        return True


@pytest.mark.parametrize(
    "octets",
    [
        b"EventID=Login",
        b"a=b&EventID=Login&c=d",
        b"EventID=Balance&EventID=Login",
        b"EventID=Login&EventID=Balance",
        b"a=b;EventID=Login",
        b"eventid=LOGIN",
        b"%45ventID=Login",
        b"EventID=L%6fgin",
        b"EventID%3DLogin",
        b"%2545ventID=Login",
        b"a=b%26EventID=Login",
        b"+EventID=+Login+",
        b"%20EventID%20=%20Login",
        b"EventID=Login%00",
        b"EventID%00=Login",
        b"Event%00ID=Login",
        b"EventID[]=Login",
        b"EventID[0]=Login",
        b"%u0045ventID=%u004cogin",
        b"%EF%BC%A5ventID=Login",
        b"EventID=%ef%bd%8cogin",
        b"%82dventID=Login",
        b"Event%C2%ADID=Login",
        b"EventID=Log%E2%80%8Bin",
        b"%c1%85ventID=Login",
        b"%e0%81%85ventID=Login",
        b"/ib%3FEventID=Login",
        b"/ib;EventID=Login",
        b"/ib?x?EventID=Login",
        b"user_id=taro",
        b"user_id",
        b"user_id&a=b",
        b"user.id=taro",
        b"user+id=taro",
        b"user%5bid=taro",
        b"USER_ID=",
        b"user_id[x]=taro",
        b"user_id%00junk=taro",
        b"\xef\xbd\x95ser_id=taro",
    ],
)
def test_the_parameter_in_every_spelling_is_found(octets: bytes) -> None:
    assert is_held(octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"EventID=Balance",
        b"EventID=",
        b"EventID",
        b"EventID=LoginHistory",
        b"EventID=Login-Help",
        b"EventID=AutoLogin",
        b"OldEventID=Login",
        b"Event=Login",
        b"next=EventID",
        b"memo=my+user_id+is+lost",
        b"user_ids=1",
        b"my_user_id=1",
        b"user_id2=1",
        b"memo=%e3%83%ad%e3%82%b0%e3%82%a4%e3%83%b3",
        b"memo=%83%8d%83O%83C%83%93",
        b"amount=100%25&rate=5%",
        b"%u30ed%u30b0=1",
    ],
)
def test_what_no_server_takes_for_it_is_clear(octets: bytes) -> None:
    assert not is_held(octets)


def test_what_is_encoded_more_often_than_is_honest_cannot_be_decided() -> None:
    with pytest.raises(Ambiguous):
        names(b"a=%252525252562", LOGIN)
    assert not names(b"a=%252562", LOGIN)


_TOKENS = [
    "EventID", "eventid", "Login", "LOGIN", "user_id", "user", "id", "_", ".", "+", "%20", "%2b", "=", "%3d", "%3D",
    "&", "%26", ";", "%3b", "?", "#", "%00", "[", "]", "%5b", "E", "%45", "%2545", "ventID", "L", "ogin", "%4c",
    "%u0045", "%EF%BC%A5", "%82d", "x", "a=b", "\u3000", "%e3%80%80", "%", "%2525", "%0d%0a",
]  # fmt: skip


def _is_named(pairs: list[tuple[str, str]]) -> bool:
    return any((name, value) == ("eventid", "login") or name == "user_id" for name, value in pairs)


@given(st.lists(st.sampled_from(_TOKENS), max_size=9).map("".join))
@settings(max_examples=1_500, deadline=None)
def test_no_server_is_handed_the_parameter_by_what_is_clear(text: str) -> None:
    octets = text.encode()
    if any(_is_named(server(octets)) for server in SERVERS):
        assert is_held(octets)


def _escaped(octets: bytes, places: frozenset[int], times: int) -> bytes:
    for _ in range(times):
        octets = b"".join(
            b"%%%02x" % octet if place in places and octet not in b"=&%" else bytes((octet,))
            for place, octet in enumerate(octets)
        )
    return octets


_DISGUISES: list[Callable[[bytes], bytes]] = [
    lambda octets: b"a=b&" + octets,
    lambda octets: b"a=b;" + octets,
    lambda octets: octets + b"&EventID=Balance",
    lambda octets: b"EventID=Balance&" + octets,
    bytes.upper,
    bytes.swapcase,
    lambda octets: b"+" + octets,
    lambda octets: octets + b"+",
    lambda octets: octets.replace(b"=", b"%3d"),
    lambda octets: octets.replace(b"=", b"[]=", 1),
    lambda octets: octets.replace(b"D", b"%u0044"),
    lambda octets: octets.replace(b"i", b"%EF%BD%89"),
    lambda octets: octets.replace(b"o", b"o%E2%80%8B"),
    lambda octets: octets.replace(b"%", b"%25"),
]


@given(
    st.sampled_from([b"EventID=Login", b"user_id=taro"]),
    st.lists(st.sampled_from(_DISGUISES), max_size=4),
    st.frozensets(st.integers(0, 40)),
    st.integers(0, 2),
)
@settings(max_examples=1_000, deadline=None)
def test_no_composition_of_disguises_makes_the_login_clear(
    octets: bytes, disguises: list[Callable[[bytes], bytes]], places: frozenset[int], times: int
) -> None:
    octets = _escaped(octets, places, times)
    for disguise in disguises:
        octets = disguise(octets)
    assert is_held(octets)


@pytest.mark.parametrize(
    "hostile",
    [b"&" * 65_536, b"+" * 65_536, b"&user_id" * 8_000, b"&user_id[" * 7_000, b"&EventID=+" * 6_500, b"%25" * 20_000],
)
def test_a_hostile_form_of_the_largest_size_does_not_stall_the_worker(hostile: bytes) -> None:
    looked = looked_for(["EventID=Login", "user_id=nobody", "password=x"])
    began = time.perf_counter()
    with contextlib.suppress(Ambiguous):
        names(hostile + "漢".encode(), looked)
    assert time.perf_counter() - began < 1.0


FORM = b"application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Content-Type", FORM)],
        [(b"content-type", FORM.upper())],
        [(b"Content-Type", FORM + b"; charset=Shift_JIS")],
        [(b"Content-Type", FORM + b';charset="UTF-8"'), (b"Content-Language", b"ja")],
        [(b"Content-Type", FORM + b";")],
    ],
)
def test_a_urlencoded_form_can_be_read(headers: list[tuple[bytes, bytes]]) -> None:
    assert is_readable(headers)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"Content-Type", b"")],
        [(b"Content-Type", b"multipart/form-data; boundary=x")],
        [(b"Content-Type", b"application/json")],
        [(b"Content-Type", b"text/plain")],
        [(b"Content-Type", FORM), (b"Content-Type", b"multipart/form-data; boundary=x")],
        [(b"Content-Type", FORM), (b"content-type", FORM)],
        [(b"Content-Type", FORM + b", multipart/form-data")],
        [(b"Content-Type", FORM), (b"Content-Encoding", b"gzip")],
        # Letters that are others to a server that believes it.
        [(b"Content-Type", FORM + b"; charset=IBM037")],
        [(b"Content-Type", FORM + b"; charset=utf-7")],
        [(b"Content-Type", FORM + b"; charset=utf-16")],
        [(b"Content-Type", FORM + b"; charset=iso-2022-jp")],
        [(b"Content-Type", FORM + b"; charset=utf-8; charset=utf-16")],
        [(b"Content-Type", FORM + b"; boundary=x")],
    ],
)
def test_whatever_else_cannot_be_read(headers: list[tuple[bytes, bytes]]) -> None:
    assert not is_readable(headers)
