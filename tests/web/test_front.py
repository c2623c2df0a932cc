"""What holds for every answer: headers, languages, forms of our own only, and pages for whatever goes wrong."""

from __future__ import annotations

import json
import re

import pytest

from tests.signin.legacy_applications import PASSWORD
from tests.web.portal_client import Portal

PAGES = ["", "password-sign-in", "enrolment", "choosing", "status", "sign-out", "refused/unavailable", "nothing"]


@pytest.mark.parametrize("name", PAGES)
async def test_every_page_carries_the_security_headers(portal: Portal, name: str) -> None:
    page = await portal.stranger().get(f"/gateway/{name}")
    policy = page.one("Content-Security-Policy")
    for part in ("default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy
    assert "unsafe" not in policy and "script" not in policy
    assert page.one("Cache-Control") == "no-store"
    assert page.one("X-Content-Type-Options") == "nosniff"
    assert page.one("Referrer-Policy") == "same-origin"
    assert page.one("Strict-Transport-Security").startswith("max-age=")
    assert page.one("Content-Type") == "text/html; charset=utf-8"


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("language", ["ja", "en"])
async def test_no_page_needs_a_script_or_anything_from_elsewhere(portal: Portal, name: str, language: str) -> None:
    page = (await portal.stranger().get(f"/gateway/{name}?lang={language}")).text
    assert f'<html lang="{language}">' in page
    assert "<script" not in page and " style=" not in page and not re.search(r"\son\w+=", page)
    for address in re.findall(r'(?:src|href|action)="([^"]*)"', page):
        assert address.startswith(
            ("/gateway/", "#", "https://bank.example:8443/", "https://cert.bank.example:8443/", "/")
        )
        assert not address.startswith("//")


@pytest.mark.parametrize("name", PAGES)
async def test_every_page_has_one_heading_and_a_name_for_every_field(portal: Portal, name: str) -> None:
    page = (await portal.stranger().get(f"/gateway/{name}")).text
    assert page.count("<h1>") == 1
    for identity in re.findall(r'<input class[^>]* id="([^"]+)"', page):
        assert f'<label for="{identity}">' in page


async def test_the_style_sheet_may_be_kept_for_good(portal: Portal) -> None:
    page = await portal.stranger().get("/gateway/")
    found = re.search(r'href="(/gateway/static/portal\.[0-9a-f]{16}\.css)"', page.text)
    assert found is not None
    # It needs no context: it is the same for all.
    style = await portal.stranger().get(found[1], Gateway_Context="-")
    assert style.status == 200 and "immutable" in style.one("Cache-Control")
    assert style.one("Content-Type") == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "ja"),
        ("en", "en"),
        ("en-GB,en;q=0.9,ja;q=0.8", "en"),
        ("fr,ja;q=0.5,en;q=0.4", "ja"),
        ("fr", "ja"),
        ("en;q=0", "ja"),
        ("en;q=junk, ja", "ja"),
        (",;,", "ja"),
    ],
)
async def test_the_language_is_that_of_the_browser_else_japanese(portal: Portal, accept: str, language: str) -> None:
    page = await portal.stranger(headers={"Accept-Language": accept}).send("GET", "/gateway/")
    assert page.one("Content-Language") == language


async def test_a_chosen_language_is_remembered(portal: Portal) -> None:
    browser = portal.stranger()
    await browser.get("/gateway/?lang=en")
    assert (await browser.get("/gateway/")).one("Content-Language") == "en"
    assert (await browser.get("/gateway/?lang=xx")).one("Content-Language") == "en"
    page = await browser.get("/gateway/password-sign-in?next=/a%3Fb")
    assert 'href="/gateway/password-sign-in?next=/a?b&amp;lang=ja"' in page.text


# --- forms of our own only ----------------------------------------------------------------------------


async def refused(portal: Portal, token: str | None = None, **headers: str) -> bool:
    browser = portal.browser()
    own = (await browser.get("/gateway/password")).token("/gateway/password")
    fields = {"form_token": own if token is None else token, "password": PASSWORD}
    answer = await browser.post("/gateway/password", fields, **headers)
    assert answer.status in (303, 403)
    return answer.status == 403


@pytest.mark.parametrize("token", ["", "A" * 43, "あ"])
async def test_a_form_without_our_token_is_refused(portal: Portal, token: str) -> None:
    assert await refused(portal, token)
    assert portal.legacy.posts == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://bank.example:8443"},
        {"Origin": "http://cert.bank.example:8443"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
async def test_a_form_from_another_origin_is_refused(portal: Portal, headers: dict[str, str]) -> None:
    assert await refused(portal, **headers)
    assert portal.legacy.posts == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://cert.bank.example:8443"}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}],
)
async def test_a_form_of_ours_passes(portal: Portal, headers: dict[str, str]) -> None:
    assert not await refused(portal, **headers)


async def test_a_token_is_worth_nothing_in_another_browser_certificate_or_form(portal: Portal) -> None:
    browser = portal.browser()
    token = (await browser.get("/gateway/password")).token("/gateway/password")
    other = portal.browser()
    await other.get("/gateway/password")
    assert (await other.post("/gateway/password", {"form_token": token, "password": "x"})).status == 403
    same_cookies = portal.browser(serial=2, cookies=dict(browser.cookies))
    assert (await same_cookies.post("/gateway/password", {"form_token": token, "password": "x"})).status == 403
    assert (await browser.post("/gateway/sign-out", {"form_token": token})).status == 403
    assert (await portal.browser().post("/gateway/password", {"form_token": token, "password": "x"})).status == 403
    assert portal.legacy.posts == []


async def test_the_refusal_says_to_reload(portal: Portal) -> None:
    answer = await portal.browser().post("/gateway/password", {"password": "x"})
    assert answer.status == 403 and "再読み込み" in answer.text


# --- bodies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media", ["text/plain", "multipart/form-data; boundary=x", "application/json", ""])
async def test_only_urlencoded_bodies_are_read(portal: Portal, media: str) -> None:
    answer = await portal.browser().post("/gateway/password", {"password": "x"}, Content_Type=media)
    assert answer.status == 415


async def test_a_long_body_is_refused(portal: Portal) -> None:
    assert (await portal.browser().post("/gateway/password", {"password": "x" * 20_000})).status == 413


@pytest.mark.parametrize(
    "body", [b"\xff=1", b"a=%FF", b"a", b"a=1&a=2", b"&".join(b"f%d=1" % number for number in range(99))]
)
async def test_a_malformed_body_is_refused(portal: Portal, body: bytes) -> None:
    headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Gateway-Context", json.dumps(portal.browser().context)),
    ]
    assert (await portal.exchange("POST", "/gateway/password", headers, body)).status == 400


# --- the context, and what goes wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    "context",
    [
        "",
        "-",
        "{}",
        '{"site":"certificate"}',
        '{"site":"both","address":"a","verdict":"admitted","certificate":null,"user":null,"not_after":null}',
        '{"site":"public","address":"a","verdict":"perhaps","certificate":null,"user":null,"not_after":null}',
        '{"site":"public","address":"a","verdict":"admitted","certificate":null,"user":null,"not_after":"1"}',
        '{"site":"public","address":"a","verdict":"admitted","certificate":null,"user":null,"not_after":null,"x":1}',
        '{"site":"public","address":"a","verdict":"admitted","certificate":{"issuer":"x","serial":"zz","fingerprint":"00"}'
        ',"user":null,"not_after":null}',
    ],
)
async def test_a_context_that_is_not_understood_gets_no_page(portal: Portal, context: str) -> None:
    answer = await portal.exchange("GET", "/gateway/", [("Gateway-Context", context)], None)
    assert (answer.status, answer.body) == (500, b"")


async def test_two_contexts_get_no_page(portal: Portal) -> None:
    context = json.dumps(portal.stranger().context)
    headers = [("Gateway-Context", context), ("Gateway-Context", context)]
    assert (await portal.exchange("GET", "/gateway/", headers, None)).status == 500
    assert (await portal.exchange("GET", "/gateway/", [], None)).status == 500


async def test_what_is_not_there_has_a_page(portal: Portal) -> None:
    assert "お探しの画面が見つかりません" in (await portal.stranger().get("/gateway/nothing")).text
    answer = await portal.stranger().post("/gateway/enrolment", {})
    assert answer.status == 405 and "受け付けできない操作" in answer.text


async def test_a_store_that_is_away_has_a_page(portal: Portal) -> None:
    browser = portal.browser()
    token = (await browser.get("/gateway/password")).token("/gateway/password")
    await portal.store.close()
    (portal.configuration.state / "gateway.sqlite3").rename(portal.configuration.state / "away")
    for answer in (
        await browser.get("/gateway/password"),
        await browser.post("/gateway/password", {"form_token": token, "password": PASSWORD}),
    ):
        assert answer.status == 503 and "unavailable" in answer.text
    assert portal.legacy.posts == []
    assert (await browser.get("/gateway/refused/certificate_expired")).status == 403


async def test_head_is_answered_like_get(portal: Portal) -> None:
    answer = await portal.stranger().send("HEAD", "/gateway/")
    assert (answer.status, answer.body) == (200, b"")
