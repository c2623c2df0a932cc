"""One page for each code, in Japanese and English, with what happened and what to do."""

from __future__ import annotations

import pytest

from mtls_gateway.model import Code
from mtls_gateway.web.texts import read_texts
from tests.web.portal_client import NOW, Portal

TEXTS = read_texts()
#: Whether another certificate can help.
NO_OTHER = {
    Code.COMPANY_ON_CERTIFICATE_METHOD,
    Code.SESSION_ENDED,
    Code.LEGACY_LOGIN_GUARDED,
    Code.COOLING_OFF,
    Code.EMERGENCY_STOP,
    Code.MAINTENANCE,
    Code.BROWSER_UNSUPPORTED,
    Code.UNAVAILABLE,
    Code.REVOCATION_UNKNOWN,
}
TEMPORARY = {Code.UNAVAILABLE, Code.REVOCATION_UNKNOWN, Code.EMERGENCY_STOP, Code.MAINTENANCE}


@pytest.mark.parametrize("code", list(Code))
async def test_every_code_has_its_page_in_both_languages(portal: Portal, code: Code) -> None:
    page = await portal.browser(verdict=code.value, user=None).get(f"/gateway/refused/{code.value}")
    assert page.status == (503 if code in TEMPORARY else 403)
    assert f'<span class="code">{code.value}</span>' in page.text
    for language in ("ja", "en"):
        said = TEXTS[language]["refused"][code.value]
        for line in (said["title"], said["happened"], *said["todo"]):
            assert line.replace("'", "&#39;") in page.text
    assert ('action="/gateway/another-certificate"' in page.text) == (code not in NO_OTHER)


async def test_english_comes_first_for_those_who_ask_for_it(portal: Portal) -> None:
    page = await portal.browser().get("/gateway/refused/certificate_expired?lang=en")
    assert '<html lang="en">' in page.text and '<section class="beside" lang="ja">' in page.text
    assert "<h1>Your certificate has expired</h1>" in page.text


async def test_the_page_for_no_certificate_says_that_browsers_hide_expired_ones(portal: Portal) -> None:
    page = await portal.browser(serial=None, verdict="certificate_missing").get("/gateway/refused/certificate_missing")
    assert "有効期限が切れた電子証明書は、ブラウザの選択画面に表示されません" in page.text
    assert "Browsers hide certificates that have expired" in page.text


async def test_a_suspended_user_is_told_until_when(portal: Portal) -> None:
    browser = portal.browser()
    for _ in range(5):
        await browser.give_password("wrong")
    page = await portal.browser(verdict="user_suspended").get("/gateway/refused/user_suspended")
    assert "2026年6月1日 12時30分" in page.text


async def test_the_help_desk_gets_code_moment_and_serial(portal: Portal) -> None:
    page = await portal.browser(serial=0x0A1B, verdict="certificate_revoked").get(
        "/gateway/refused/certificate_revoked"
    )
    assert "0a1b" in page.text and "2026年6月1日 12時00分" in page.text


async def test_another_certificate_is_offered_on_the_certificate_host_only(portal: Portal) -> None:
    page = await portal.stranger().get("/gateway/refused/certificate_missing")
    assert "another-certificate" not in page.text


async def test_what_is_no_code_is_not_found(portal: Portal) -> None:
    assert (await portal.browser().get("/gateway/refused/<script>")).status == 404
    assert (await portal.browser().get("/gateway/refused/nonsense")).status == 404


async def test_the_ways_out_lead_where_they_should(portal: Portal) -> None:
    page = await portal.browser(not_after=NOW).get("/gateway/refused/company_not_on_certificate_method")
    assert 'href="https://bank.example:8443/gateway/password-sign-in"' in page.text
    page = await portal.stranger().get("/gateway/refused/company_on_certificate_method")
    assert 'href="https://cert.bank.example:8443/gateway/password"' in page.text


@pytest.mark.parametrize("mode", ["advise"])
async def test_an_unsupported_browser_is_advised(portal: Portal, mode: str) -> None:
    page = await portal.stranger(more={"browser": "unsupported"}).get("/gateway/")
    assert "動作確認の対象外" in page.text and "Windows 8.1 以上" in page.text
    assert "動作確認の対象外" not in (await portal.stranger().get("/gateway/")).text
