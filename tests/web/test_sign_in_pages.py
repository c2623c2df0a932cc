"""The sign-in page and the two password pages, against a Servlet FORM login."""

from __future__ import annotations

import asyncio

import pytest

from mtls_gateway.model import Method, SessionState
from mtls_gateway.signin.cookie_names import CookieNames
from mtls_gateway.signin.seal import SessionSeal
from mtls_gateway.signin.token import Tokens
from tests.signin.legacy_applications import PASSWORD
from tests.web.portal_client import CHROME, NOW, Answer, Portal, certificate

WRONG = "パスワードが正しくありません"


# --- the sign-in page -------------------------------------------------------------------------------


async def test_the_sign_in_page_has_the_three_choices(portal: Portal) -> None:
    page = await portal.stranger().get("/gateway/")
    assert page.status == 200
    for choice in ("電子証明書ログイン", "ID・パスワードログイン", "電子証明書発行"):
        assert choice in page.text
    assert 'href="https://cert.bank.example:8443/gateway/password"' in page.text


async def test_the_page_that_was_asked_for_is_remembered_through_every_choice(portal: Portal) -> None:
    page = await portal.stranger().get("/gateway/?next=/ib/list%3Fa%3D1")
    assert page.text.count("?next=/ib/list%3Fa%3D1") == 2


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/%09/evil",
        "javascript:alert(1)",
        "/gateway/x",
        "a",
    ],
)
async def test_no_other_site_can_be_the_next_page(portal: Portal, elsewhere: str) -> None:
    page = await portal.stranger().send("GET", f"/gateway/?next={elsewhere}")
    assert "evil" not in page.text.partition("<main")[2]
    answer = await portal.browser().give_password(PASSWORD, next=elsewhere)
    assert answer.one("Location") in ("/", "/%09/evil")


# --- certificate method -------------------------------------------------------------------------------


async def test_the_password_page_names_the_user_and_asks_for_the_password_only(portal: Portal) -> None:
    page = await portal.browser().get("/gateway/password")
    assert page.status == 200
    assert "tanaka" in page.text and "2027年6月1日 12時00分" in page.text
    assert page.text.count("<input") == 3 and 'name="user_id"' not in page.text


async def test_a_right_password_opens_a_session_and_goes_home(portal: Portal) -> None:
    answer = await portal.browser().give_password(PASSWORD)
    assert (answer.status, answer.one("Location")) == (303, "/")
    (row,) = await portal.store.sessions.all()
    assert (row.user.user_id, row.certificate, row.state) == ("tanaka", certificate(1), SessionState.LIVE)
    assert row.ends == NOW + 28_800


async def test_a_right_password_goes_to_the_page_that_was_asked_for(portal: Portal) -> None:
    answer = await portal.browser().give_password(PASSWORD, next="/ib/list?a=1&b=%20")
    assert answer.one("Location") == "/ib/list?a=1&b=%20"


async def test_the_browser_gets_the_session_and_the_sealed_legacy_cookie(portal: Portal) -> None:
    answer = await portal.browser().give_password(PASSWORD)
    session, legacy = answer.all("Set-Cookie")
    name, _, rest = session.partition("=")
    assert name == "__Host-ib-session"
    assert rest.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert legacy.startswith("JSESSIONID=") and "HttpOnly" in legacy and "Path=/examples" in legacy
    sealed = legacy.partition(";")[0]
    (identity,) = portal.legacy.sessions
    assert sealed != f"JSESSIONID={identity}"
    token = Tokens(b"s" * 32).read(rest.partition(";")[0].encode())
    assert token is not None
    seal = SessionSeal(CookieNames(["JSESSIONID"], "__Host-ib-session"), token.seal_key)
    assert seal.open_header(sealed.encode()) == f"JSESSIONID={identity}".encode()


async def test_a_wrong_password_is_told_and_opens_nothing(portal: Portal) -> None:
    answer = await portal.browser().give_password("geheim-1234")
    assert answer.status == 403
    assert WRONG in answer.text and 'role="alert"' in answer.text
    assert "geheim" not in answer.text
    assert await portal.store.sessions.all() == []


async def test_five_wrong_passwords_suspend_the_user_for_half_an_hour(portal: Portal) -> None:
    browser = portal.browser()
    for _ in range(4):
        assert WRONG in (await browser.give_password("wrong")).text
    answer = await browser.give_password("wrong")
    assert "user_suspended" in answer.text and "2026年6月1日 12時30分" in answer.text
    assert "user_suspended" in (await browser.get("/gateway/password")).text
    portal.clock.advance(1_801)
    assert (await browser.give_password(PASSWORD)).status == 303


async def test_parallel_guesses_do_not_outrun_the_count(portal: Portal) -> None:
    browser = portal.browser()
    token = (await browser.get("/gateway/password")).token("/gateway/password")
    guesses = [
        browser.post("/gateway/password", {"form_token": token, "password": f"guess-{number}"}) for number in range(20)
    ]
    answers = await asyncio.gather(*guesses)
    assert len(portal.legacy.posts) == 5
    assert sum(WRONG in answer.text for answer in answers) == 4


async def test_a_right_password_forgets_the_wrong_ones(portal: Portal) -> None:
    browser = portal.browser()
    for _ in range(2):
        for _ in range(4):
            assert WRONG in (await browser.give_password("wrong")).text
        assert (await browser.give_password(PASSWORD)).status == 303


async def test_an_empty_password_is_not_counted(portal: Portal) -> None:
    browser = portal.browser()
    for _ in range(9):
        assert (await browser.give_password("")).status == 400
    assert portal.legacy.posts == []
    assert (await browser.give_password(PASSWORD)).status == 303


async def test_an_undecided_password_is_not_counted(portal: Portal) -> None:
    browser = portal.browser()
    # The backend forgets the session between GET and POST, and answers 408.
    check = portal.legacy.sessions
    portal.legacy.sessions = Forgetful()
    for _ in range(9):
        answer = await browser.give_password(PASSWORD)
        assert answer.status == 503 and "回数には含まれません" in answer.text
    portal.legacy.sessions = check
    assert (await browser.give_password(PASSWORD)).status == 303


class Forgetful(dict[str, dict[str, str]]):
    """Keeps nothing."""

    def __setitem__(self, key: str, value: dict[str, str]) -> None:
        pass


async def test_a_certificate_revoked_a_moment_ago_is_refused_whatever_the_worker_said(portal: Portal) -> None:
    browser = portal.browser()
    token = (await browser.get("/gateway/password")).token("/gateway/password")
    await portal.store.certificates.revoke(certificate(1), actor="test")
    answer = await browser.post("/gateway/password", {"form_token": token, "password": PASSWORD})
    assert answer.status == 403 and "certificate_revoked" in answer.text
    assert portal.legacy.posts == []


async def test_the_user_comes_from_the_store_and_not_from_what_the_worker_shows(portal: Portal) -> None:
    answer = await portal.browser(user="suzuki").give_password(PASSWORD)
    assert answer.status == 303
    assert portal.legacy.posts[-1]["j_username"] == "tanaka"


@pytest.mark.parametrize("verdict", ["certificate_expired", "user_stopped", "certificate_missing"])
async def test_without_an_accepted_certificate_there_is_no_password_page(portal: Portal, verdict: str) -> None:
    browser = portal.browser(verdict=verdict)
    assert verdict in (await browser.get("/gateway/password")).text
    answer = await browser.post("/gateway/password", {"password": PASSWORD})
    assert answer.status == 403 and verdict in answer.text
    assert portal.legacy.posts == []


async def test_the_password_page_is_not_on_the_public_host(portal: Portal) -> None:
    stranger = portal.stranger()
    assert (await stranger.get("/gateway/password")).status == 404
    assert (await stranger.post("/gateway/password", {"password": PASSWORD})).status == 404


# --- password method ------------------------------------------------------------------------------------


async def give(portal: Portal, user: str, password: str) -> Answer:
    return await portal.stranger().give_both(user, password)


async def test_a_company_on_the_password_method_signs_in_as_before(portal: Portal) -> None:
    await portal.store.companies.set_method("c-cert", Method.PASSWORD, actor="test")
    answer = await give(portal, "tanaka", PASSWORD)
    assert (answer.status, answer.one("Location")) == (303, "/")
    (row,) = await portal.store.sessions.all()
    assert row.certificate is None


async def test_a_company_on_the_certificate_method_cannot_sign_in_with_a_password(portal: Portal) -> None:
    for password in (PASSWORD, "wrong"):
        answer = await give(portal, "tanaka", password)
        assert answer.status == 403 and "company_on_certificate_method" in answer.text
    assert portal.legacy.posts == []


@pytest.mark.parametrize("user", ["nobody", "TANAKA", "tanaka\u3000x", "sato", "ｔａｎａｋａ", "tanaka;"])
async def test_an_unknown_user_and_a_wrong_password_look_alike(portal: Portal, user: str) -> None:
    answer = await give(portal, user, "wrong")
    assert answer.status == 403
    assert "利用者IDまたはパスワードが正しくありません" in answer.text
    assert [post["j_username"] for post in portal.legacy.posts] == (["sato"] if user == "sato" else [])


async def test_wrong_passwords_without_a_certificate_suspend_nobody(portal: Portal) -> None:
    for _ in range(9):
        await give(portal, "sato", "wrong")
    user = await portal.store.identities.user("sato")
    assert user is not None and user.suspended_until is None and not user.stopped


async def test_one_address_is_braked(portal: Portal) -> None:
    browser = portal.stranger()
    token = (await browser.get("/gateway/password-sign-in")).token("/gateway/password-sign-in")
    fields = {"form_token": token, "user_id": "sato", "password": "wrong"}
    statuses = [(await browser.post("/gateway/password-sign-in", fields)).status for _ in range(61)]
    assert statuses == [403] * 60 + [429]
    # No outsider locks out who has a certificate (clause A.7), not even by using up what an address may do.
    assert (await portal.browser().give_password(PASSWORD)).status == 303


async def test_what_was_typed_is_escaped_and_the_password_never_repeated(portal: Portal) -> None:
    answer = await give(portal, '"><script>alert(1)</script>', "geheim-1234")
    assert "<script" not in answer.text and "&lt;script&gt;" in answer.text
    assert "geheim" not in answer.text


async def test_both_missing_fields_are_named(portal: Portal) -> None:
    answer = await give(portal, " ", "")
    assert answer.status == 400
    assert "利用者IDを入力してください" in answer.text and "パスワードを入力してください" in answer.text


async def test_the_legacy_backend_sees_the_customers_browser(portal: Portal) -> None:
    await portal.browser().give_password(PASSWORD)
    assert portal.legacy.headers[0]["User-Agent"] == CHROME
    assert portal.legacy.headers[0]["Host"] == "cert.bank.example:8443"


async def test_nothing_that_was_typed_is_logged(portal: Portal, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    await portal.browser().give_password("geheim-1234")
    await give(portal, "sato", "geheim-1234")
    assert "geheim" not in caplog.text


async def test_a_suspended_user_is_not_asked_for_a_password_although_the_worker_has_not_heard_yet(
    portal: Portal,
) -> None:
    browser = portal.browser()
    for _ in range(5):
        await browser.give_password("wrong")
    page = await browser.get("/gateway/password")
    assert page.status == 403 and "user_suspended" in page.text and '<form class="sheet' not in page.text
