from __future__ import annotations

import pytest

from mtls_gateway.config import Browser, Browsers
from mtls_gateway.signin.browsers import BrowserTable

EDGE = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0"
CHROME = (
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
)
IE_11 = b"Mozilla/5.0 (Windows NT 6.3; WOW64; Trident/7.0; rv:11.0) like Gecko"
IE_11_ON_WINDOWS_7 = b"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko"
OPERA = CHROME + b" OPR/106.0.0.0"
FIREFOX = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:120.0) Gecko/20100101 Firefox/120.0"
CHROME_ON_MAC = b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"


@pytest.mark.parametrize("agent", [EDGE, CHROME, IE_11])
def test_the_browsers_of_the_notice_are_supported(agent: bytes) -> None:
    assert BrowserTable(Browsers()).is_supported(agent)


@pytest.mark.parametrize("agent", [IE_11_ON_WINDOWS_7, OPERA, FIREFOX, CHROME_ON_MAC, b"", b"curl/8.0", b"\xff\xfe"])
def test_others_are_not(agent: bytes) -> None:
    assert not BrowserTable(Browsers()).is_supported(agent)


def test_switched_off_every_browser_is_supported() -> None:
    table = BrowserTable(Browsers(mode="off"))
    assert table.is_supported(FIREFOX)
    assert not table.enforces


def test_a_table_without_systems_looks_at_browsers_only() -> None:
    table = BrowserTable(Browsers(mode="enforce", systems=(), browsers=(Browser(name="Firefox", pattern="Firefox/"),)))
    assert table.enforces
    assert table.is_supported(FIREFOX)
    assert not table.is_supported(CHROME)


def test_what_comes_after_512_octets_is_not_looked_at() -> None:
    assert not BrowserTable(Browsers()).is_supported(b"x" * 512 + CHROME)
