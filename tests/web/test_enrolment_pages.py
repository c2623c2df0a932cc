"""From 電子証明書発行 to the issuing app, and the page that says how to renew."""

from __future__ import annotations

import hashlib
import html
import re
from urllib.parse import urlsplit

import pytest

from mtls_gateway.issuance.code import ALPHABET, new_code
from mtls_gateway.model import CodeState, Method
from tests.signin.legacy_applications import PASSWORD
from tests.store.issuing import DAY
from tests.web.est_client import letter
from tests.web.portal_client import NOW, YEAR, Answer, Browser, Portal, certificate

PAGE = "/gateway/enrolment"


@pytest.fixture
async def portal(issuing: Portal) -> Portal:
    """Tanaka's certificate is revoked, and no other issued yet."""
    await issuing.store.certificates.revoke(certificate(1), actor="test")
    return issuing


@pytest.fixture
def browser(portal: Portal) -> Browser:
    return portal.stranger()


async def give(browser: Browser, code: str, user_id: str = "tanaka", password: str = PASSWORD) -> Answer:
    page = await browser.get(PAGE)
    fields = {"form_token": page.token(PAGE), "user_id": user_id, "password": password, "code": code}
    return await browser.post(PAGE, fields)


async def to_the_app(browser: Browser) -> tuple[str, Answer]:
    code = (await letter(browser.portal)).printed
    answer = await give(browser, code)
    assert answer.status == 303
    return code, await browser.get(answer.one("Location"))


def said(answer: Answer) -> list[str]:
    """What the page says of what was entered."""
    alert = re.search(r'role="alert".*?</div>', answer.text, re.DOTALL)
    assert alert is not None, answer.text
    return re.findall(r"<li>(?:<a [^>]*>)?([^<]+)", alert[0])


async def tries(portal: Portal) -> tuple[CodeState, int]:
    (row, *_) = await portal.store.codes.all(user_id="tanaka")
    return row.state, row.tries


# --- the good way -----------------------------------------------------------------------------------


async def test_user_id_password_and_code_lead_to_the_app_and_use_nothing_up(browser: Browser) -> None:
    code, page = await to_the_app(browser)
    assert page.status == 200
    assert "2026年8月20日 11時59分" in page.text  # 80 days, the last minute
    for word in ("実行", "次へ", "インストール", "完了", "https://bank.example:8443", "tanaka"):
        assert word in page.text, word
    assert code not in page.text and PASSWORD not in page.text
    assert await tries(browser.portal) == (CodeState.OPEN, 0)
    assert len(browser.portal.legacy.signed_out) == 1


async def test_the_app_is_the_file_that_the_page_describes(browser: Browser) -> None:
    _, page = await to_the_app(browser)
    link = re.search(r'href="(/gateway/enrolment/download[^"]+)"', page.text)
    assert link is not None
    answer = await browser.get(html.unescape(link[1]))
    settings = browser.portal.configuration.issuance
    assert settings is not None and settings.issuing_app is not None
    assert answer.body == settings.issuing_app.read_bytes()
    assert hashlib.sha256(answer.body).hexdigest() in page.text
    assert f"{len(answer.body):,}" in page.text
    assert answer.one("Content-Type") == "application/octet-stream"
    assert answer.one("Content-Disposition") == (
        "attachment; filename=\"IssuingApp.exe\"; filename*=UTF-8''IssuingApp.exe"
    )
    assert answer.one("X-Content-Type-Options") == "nosniff"
    assert answer.one("Cache-Control") == "no-store"


async def test_a_new_version_of_the_app_is_described_anew(browser: Browser) -> None:
    _, page = await to_the_app(browser)
    settings = browser.portal.configuration.issuance
    assert settings is not None and settings.issuing_app is not None
    settings.issuing_app.write_bytes(b"MZ, the next one")
    _, page = await to_the_app(browser)
    assert hashlib.sha256(b"MZ, the next one").hexdigest() in page.text


async def test_without_the_file_the_page_says_where_the_app_is_to_be_found(browser: Browser) -> None:
    settings = browser.portal.configuration.issuance
    assert settings is not None and settings.issuing_app is not None
    settings.issuing_app.unlink()
    _, page = await to_the_app(browser)
    assert "手順書をご覧ください" in page.text
    assert "enrolment/download" not in page.text


async def test_both_languages(browser: Browser) -> None:
    _, page = await to_the_app(browser)
    other = re.search(r'<a href="([^"]+)" lang="en"', page.text)
    assert other is not None
    english = await browser.get(html.unescape(other[1]))
    assert "Download the issuing app" in english.text
    english = await browser.get(PAGE + "?lang=en")
    assert "Enrolment code" in english.text


# --- the app is for those who came by the page before ---------------------------------------------------


@pytest.mark.parametrize("name", ["enrolment/app", "enrolment/download"])
@pytest.mark.parametrize("query", ["", "?ticket=", "?ticket=e30.x", "?ticket=" + "A" * 2_000])
async def test_without_the_page_before_there_is_nothing(browser: Browser, name: str, query: str) -> None:
    answer = await browser.get(f"/gateway/{name}{query}")
    assert (answer.status, answer.one("Location")) == (303, PAGE)


async def test_a_ticket_is_good_in_its_own_browser_for_half_an_hour(browser: Browser) -> None:
    answer = await give(browser, (await letter(browser.portal)).printed)
    address = answer.one("Location")
    stranger = browser.portal.stranger()
    await stranger.get(PAGE)
    assert (await stranger.get(address)).status == 303
    browser.portal.clock.advance(1_799)
    assert (await browser.get(address)).status == 200
    browser.portal.clock.advance(1)
    assert (await browser.get(address)).one("Location") == PAGE


async def test_nothing_of_the_ticket_can_be_changed(browser: Browser) -> None:
    answer = await give(browser, (await letter(browser.portal)).printed)
    path, _, ticket = answer.one("Location").partition("?ticket=")
    for place in range(0, len(ticket), 7):
        changed = ticket[:place] + ("A" if ticket[place] != "A" else "B") + ticket[place + 1 :]
        assert (await browser.get(f"{path}?ticket={changed}")).status == 303


# --- what was entered wrongly ---------------------------------------------------------------------------


async def test_a_typing_error_is_told_at_once_and_counts_for_nobody(browser: Browser) -> None:
    code = (await letter(browser.portal)).printed
    wrong = {
        code[:-1] + next(symbol for symbol in ALPHABET if symbol != code[-1]): "見比べて",
        code[:-1]: "桁数",
        "O" + code[1:]: "使用されない文字",
        " ": "発行コードを入力",
    }
    for typed, word in wrong.items():
        answer = await give(browser, typed, password="wrong")
        assert answer.status == 400
        (problem,) = said(answer)
        assert word in problem
        assert 'id="code" name="code" value="' in answer.text
        assert "wrong" not in re.sub(r"(input|message)-wrong", "", answer.text)
    assert await tries(browser.portal) == (CodeState.OPEN, 0)
    assert browser.portal.legacy.posts == []


async def test_whatever_was_wrong_the_same_is_said(browser: Browser) -> None:
    code = (await letter(browser.portal)).printed
    answers = [
        await give(browser, new_code()),
        await give(browser, code, password="wrong"),
        await give(browser, code, user_id="suzuki"),
        await give(browser, code, user_id="nobody"),
    ]
    assert {(answer.status, tuple(said(answer))) for answer in answers} == {
        (403, ("利用者ID、パスワードまたは発行コードが正しくありません。",))
    }
    assert await tries(browser.portal) == (CodeState.OPEN, 1)


async def test_empty_fields_are_named_one_by_one(browser: Browser) -> None:
    assert said(await give(browser, "", " ", "")) == [
        "利用者IDを入力してください。",
        "パスワードを入力してください。",
        "発行コードを入力してください。",
    ]


async def test_what_became_of_a_code_is_told_to_whoever_has_all_of_it(browser: Browser) -> None:
    code = (await letter(browser.portal)).printed
    for _ in range(5):
        await give(browser, code, password="wrong")
    answer = await give(browser, code)
    assert (answer.status, said(answer)) == (
        403,
        ["誤った入力が続いたため、この発行コードは無効になりました。お取引店までご連絡ください。"],
    )
    code = (await letter(browser.portal)).printed
    browser.portal.clock.advance(80 * DAY)
    assert "発行期限を過ぎています" in said(await give(browser, code))[0]


async def test_who_may_not_sign_in_has_the_page_of_that(browser: Browser) -> None:
    code = (await letter(browser.portal)).printed
    await browser.portal.store.companies.set_method("c-cert", Method.PASSWORD, actor="test")
    answer = await give(browser, code)
    assert answer.status == 403
    assert "company_not_on_certificate_method" in answer.text


async def test_guesses_from_one_address_are_braked(browser: Browser) -> None:
    answers = [await give(browser, new_code()) for _ in range(61)]
    assert [answer.status for answer in answers] == [403] * 60 + [429]
    code = (await letter(browser.portal)).printed
    assert (await give(browser, code)).status == 429
    browser.portal.clock.advance(61)
    assert (await give(browser, code)).status == 303


async def test_a_backend_that_is_down_uses_up_no_tries(browser: Browser) -> None:
    code = (await letter(browser.portal)).printed
    browser.portal.legacy.down = True
    for _ in range(7):
        answer = await give(browser, code)
        assert (answer.status, "含まれません" in said(answer)[0]) == (503, True)
    browser.portal.legacy.down = False
    assert (await give(browser, code)).status == 303


async def test_only_our_own_page_can_send_the_form(browser: Browser) -> None:
    code = (await letter(browser.portal)).printed
    page = await browser.get(PAGE)
    fields = {"user_id": "tanaka", "password": PASSWORD, "code": code, "form_token": page.token(PAGE)}
    assert (await browser.post(PAGE, fields | {"form_token": "x"})).status == 403
    assert (await browser.post(PAGE, fields, Origin="https://evil.example")).status == 403
    assert (await browser.portal.stranger().post(PAGE, fields)).status == 403
    assert browser.portal.legacy.posts == []


async def test_the_certificate_host_leads_to_the_public_one(portal: Portal) -> None:
    answer = await portal.browser().get(PAGE)
    assert answer.one("Location") == "https://bank.example:8443/gateway/enrolment"


# --- renewal ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "open_"), [(10 * DAY, True), (40 * DAY, True), (40 * DAY + 1, False)])
async def test_the_page_of_renewal_says_how_or_from_when(issuing: Portal, left: float, open_: bool) -> None:
    issuing.clock.set(NOW + YEAR - left)
    page = await issuing.browser(not_after=NOW + YEAR).get("/gateway/renewal")
    assert page.status == 200
    assert ("インストール" in page.text) == open_
    assert ("/gateway/renewal/download" in page.text) == open_
    if not open_:
        assert "2027年4月22日 12時00分" in page.text
    app = await issuing.browser(not_after=NOW + YEAR).get("/gateway/renewal/download")
    assert app.body.startswith(b"MZ")


async def test_notice_and_status_lead_to_it(issuing: Portal) -> None:
    issuing.clock.set(NOW + YEAR - 10 * DAY)
    browser = issuing.browser(not_after=NOW + YEAR)
    assert 'href="/gateway/renewal"' in (await browser.get("/gateway/notice")).text
    await browser.give_password(PASSWORD)
    assert 'href="/gateway/renewal"' in (await browser.get("/gateway/status")).text


async def test_only_with_a_good_certificate(issuing: Portal) -> None:
    answer = await issuing.stranger().get("/gateway/renewal")
    assert urlsplit(answer.one("Location")).hostname == "cert.bank.example"
    bare = issuing.browser(serial=None, user=None, verdict="certificate_missing", not_after=None)
    assert (await bare.get("/gateway/renewal")).status == 403
    assert (await bare.get("/gateway/renewal/download")).status == 404
