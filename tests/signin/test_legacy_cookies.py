"""The jar keeps cookies as a browser would."""

from __future__ import annotations

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.signin.legacy_cookies import LegacyCookies
from mtls_gateway.signin.ports import LegacyCookie

NOW = 1_780_282_800.0


@pytest.fixture
def jar() -> LegacyCookies:
    return LegacyCookies(ManualClock(NOW))


def test_a_rotated_cookie_replaces_the_old_one(jar: LegacyCookies) -> None:
    jar.take("JSESSIONID=old; Path=/ib; HttpOnly", "/ib/a")
    jar.take("JSESSIONID=new; HttpOnly; Path=/ib", "/ib/b")
    assert jar.all() == (LegacyCookie("JSESSIONID", "new", "HttpOnly; Path=/ib"),)


def test_paths_decide_where_a_cookie_goes(jar: LegacyCookies) -> None:
    jar.take("a=1; Path=/", "/ib/x")
    jar.take("a=2; Path=/ib", "/ib/x")
    assert jar.header("/ib/y") == "a=2; a=1"
    assert jar.header("/ib") == "a=2; a=1"
    assert jar.header("/ibx") == "a=1"


def test_the_default_path_is_said_because_the_browser_cannot_know_it(jar: LegacyCookies) -> None:
    jar.take("a=1", "/ib/login/check")
    jar.take("b=2; Secure; Path=relative", "/top")
    assert jar.all() == (
        LegacyCookie("a", "1", "Path=/ib/login"),
        LegacyCookie("b", "2", "Secure; Path=relative; Path=/"),
    )


@pytest.mark.parametrize(
    "attributes",
    [
        "Max-Age=0",
        "max-age=-1",
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "expires=Thu, 01-Jan-1970 00:00:01 GMT",
        "Expires=Wed, 31 Dec 2094 00:00:00 GMT; Max-Age=0",
    ],
)
def test_a_deleted_cookie_is_gone(jar: LegacyCookies, attributes: str) -> None:
    jar.take("a=1; Path=/", "/")
    assert jar.take(f"a=; Path=/; {attributes}", "/") is None
    assert jar.header("/") == ""


@pytest.mark.parametrize(
    "attributes", ["Max-Age=60", "Max-Age=junk", "Expires=junk", "Expires=Wed, 31 Dec 2094 00:00:00 GMT"]
)
def test_a_cookie_that_lives_is_kept(jar: LegacyCookies, attributes: str) -> None:
    assert jar.take(f"a=1; Path=/; {attributes}", "/") == "a"


@pytest.mark.parametrize("set_cookie", ["", "novalue", "=1", "a=1\r\nSet-Cookie: b=2", "a=\x00", "; Path=/"])
def test_what_is_no_cookie_is_not_kept(jar: LegacyCookies, set_cookie: str) -> None:
    assert jar.take(set_cookie, "/") is None
    assert jar.all() == ()


def test_values_are_sent_back_octet_for_octet(jar: LegacyCookies) -> None:
    jar.take('a="x=y, z"; Path=/', "/")
    assert jar.header("/") == 'a="x=y, z"'


def test_secure_and_foreign_domains_do_not_matter_behind_the_gateway(jar: LegacyCookies) -> None:
    jar.take("a=1; Path=/; Secure; Domain=bank.example", "/")
    assert jar.header("/") == "a=1"


def test_a_flood_of_cookies_is_bounded(jar: LegacyCookies) -> None:
    for number in range(1_000):
        jar.take(f"c{number}=1; Path=/", "/")
    assert len(jar.all()) == 50
