"""Takeover, notice, status and sign-out."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert

from mtls_gateway.model import CertificateState, SessionState
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.schema import certificates
from mtls_gateway.store.users import NewUser
from tests.signin.legacy_applications import PASSWORD
from tests.web.portal_client import NOW, YEAR, Browser, Portal, certificate

DAY = 86_400.0


async def states(portal: Portal) -> list[SessionState]:
    return sorted((row.state for row in await portal.store.sessions.all()), key=str)


async def waiting(portal: Portal) -> Browser:
    """A browser whose session waits to take over another one's."""
    await portal.browser().give_password(PASSWORD)
    second = portal.browser()
    answer = await second.give_password(PASSWORD, next="/ib/list")
    assert answer.one("Location") == "/gateway/takeover?next=/ib/list"
    return second


# --- takeover -----------------------------------------------------------------------------------------


async def test_a_second_browser_is_asked_before_it_takes_over(portal: Portal) -> None:
    second = await waiting(portal)
    assert await states(portal) == [SessionState.LIVE, SessionState.PENDING]
    page = await second.get("/gateway/takeover?next=/ib/list")
    assert page.status == 200 and "tanaka" in page.text


async def test_taking_over_ends_the_other_session_and_its_legacy_session(portal: Portal) -> None:
    second = await waiting(portal)
    token = (await second.get("/gateway/takeover")).token("/gateway/takeover")
    fields = {"form_token": token, "decision": "take", "next": "/ib/list"}
    answer = await second.post("/gateway/takeover", fields)
    assert (answer.status, answer.one("Location")) == (303, "/ib/list")
    assert await states(portal) == [SessionState.ENDED, SessionState.LIVE]
    assert portal.legacy.signed_out == ["tanaka"] and len(portal.legacy.sessions) == 1


async def test_giving_up_leaves_the_other_session_alone(portal: Portal) -> None:
    second = await waiting(portal)
    token = (await second.get("/gateway/takeover")).token("/gateway/takeover")
    answer = await second.post("/gateway/takeover", {"form_token": token, "decision": "cancel"})
    assert answer.one("Location") == "https://bank.example:8443/gateway/"
    assert await states(portal) == [SessionState.ENDED, SessionState.LIVE]
    assert "__Host-ib-session" not in second.cookies


async def test_a_takeover_that_waited_too_long_is_refused(portal: Portal) -> None:
    second = await waiting(portal)
    token = (await second.get("/gateway/takeover")).token("/gateway/takeover")
    portal.clock.advance(121)
    answer = await second.post("/gateway/takeover", {"form_token": token, "decision": "take"})
    assert answer.status == 403 and "最初からログイン" in answer.text
    assert await states(portal) == [SessionState.ENDED, SessionState.LIVE]


async def test_a_takeover_with_another_certificate_is_refused(portal: Portal) -> None:
    second = await waiting(portal)
    stolen = second.cookies["__Host-ib-session"]
    await portal.browser(serial=2, user="suzuki").give_password(PASSWORD)
    thief = portal.browser(serial=2, user="suzuki")
    await thief.give_password(PASSWORD)
    token = (await thief.get("/gateway/takeover")).token("/gateway/takeover")
    thief.cookies["__Host-ib-session"] = stolen
    assert (await thief.get("/gateway/takeover")).status == 403
    thief.cookies["__Host-ib-session"] = stolen
    assert (await thief.post("/gateway/takeover", {"form_token": token, "decision": "take"})).status == 403
    assert (await states(portal)).count(SessionState.LIVE) == 2


async def test_a_takeover_happens_once(portal: Portal) -> None:
    second = await waiting(portal)
    token = (await second.get("/gateway/takeover")).token("/gateway/takeover")
    fields = {"form_token": token, "decision": "take"}
    answers = await asyncio.gather(*(second.post("/gateway/takeover", fields) for _ in range(2)))
    assert sorted(answer.status for answer in answers)[0] == 303
    assert (await states(portal)).count(SessionState.LIVE) <= 1


async def test_signing_in_again_in_the_same_browser_asks_nothing(portal: Portal) -> None:
    browser = portal.browser()
    await browser.give_password(PASSWORD)
    assert (await browser.give_password(PASSWORD)).one("Location") == "/"
    assert await states(portal) == [SessionState.ENDED, SessionState.LIVE]
    assert portal.legacy.signed_out == ["tanaka"]


async def test_two_sign_ins_at_once_leave_one_live_session(portal: Portal) -> None:
    answers = await asyncio.gather(*(portal.browser().give_password(PASSWORD) for _ in range(4)))
    assert sorted(answer.one("Location") for answer in answers) == ["/"] + ["/gateway/takeover"] * 3
    assert (await states(portal)).count(SessionState.LIVE) == 1


async def test_an_idle_session_needs_no_takeover(portal: Portal) -> None:
    await portal.browser().give_password(PASSWORD)
    portal.clock.advance(901)
    assert (await portal.browser().give_password(PASSWORD)).one("Location") == "/"


# --- the expiry notice ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "location"),
    [(41, "/ib/list"), (40, "/gateway/notice?next=/ib/list"), (0.5, "/gateway/notice?next=/ib/list")],
)
async def test_inside_the_window_the_notice_comes_first(portal: Portal, days: float, location: str) -> None:
    answer = await portal.browser(not_after=NOW + days * DAY).give_password(PASSWORD, next="/ib/list")
    assert answer.one("Location") == location


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(20 * DAY, "20日"), (DAY, "1日"), (11 * 3_600.0, "本日まで"), (12 * 3_600.0, "1日"), (-5.0, "本日まで")],
)
async def test_the_notice_counts_days_as_the_calendar_in_japan_does(portal: Portal, seconds: float, said: str) -> None:
    page = await portal.browser(not_after=NOW + seconds).get("/gateway/notice?next=/ib/list")
    assert f"<td>{said}</td>" in page.text
    assert 'href="/ib/list"' in page.text


async def test_after_a_takeover_the_notice_comes_too(portal: Portal) -> None:
    await portal.browser().give_password(PASSWORD)
    second = portal.browser(not_after=NOW + DAY)
    await second.give_password(PASSWORD)
    token = (await second.get("/gateway/takeover")).token("/gateway/takeover")
    answer = await second.post("/gateway/takeover", {"form_token": token, "decision": "take"})
    assert answer.one("Location") == "/gateway/notice"


async def test_without_a_certificate_there_is_no_notice(portal: Portal) -> None:
    assert (await portal.stranger().get("/gateway/notice?next=//evil.example/")).one("Location") == "/"


# --- status ---------------------------------------------------------------------------------------------


async def test_the_status_page_says_who_is_signed_in_and_until_when(portal: Portal) -> None:
    browser = portal.browser()
    await browser.give_password(PASSWORD)
    page = await browser.get("/gateway/status")
    assert "tanaka" in page.text and "2026年6月1日 20時00分" in page.text


async def test_the_status_of_a_session_is_not_told_to_another_certificate(portal: Portal) -> None:
    browser = portal.browser()
    await browser.give_password(PASSWORD)
    thief = portal.browser(serial=2, user="suzuki", cookies=dict(browser.cookies))
    assert (await thief.get("/gateway/status")).one("Location") == "/gateway/password?next=/gateway/status"


async def test_without_a_session_the_status_page_is_behind_the_sign_in(portal: Portal) -> None:
    browser = portal.browser()
    assert (await browser.get("/gateway/status")).one("Location") == "/gateway/password?next=/gateway/status"
    page = await browser.get("/gateway/password?next=/gateway/status")
    assert "管理画面を開きます" in page.text
    assert (await browser.give_password(PASSWORD, next="/gateway/status")).one("Location") == "/gateway/status"
    assert "ログインしていません" in (await portal.stranger().get("/gateway/status")).text


async def test_the_sign_in_page_and_the_password_page_lead_to_it(portal: Portal) -> None:
    assert 'href="https://cert.bank.example:8443/gateway/status"' in (await portal.stranger().get("/")).text
    assert 'href="/gateway/password?next=/gateway/status"' in (await portal.browser().get("/gateway/password")).text


async def test_the_status_page_says_how_the_certificate_stands(issuing: Portal) -> None:
    issuing.clock.advance(60)
    browser = issuing.browser()
    await browser.give_password(PASSWORD)
    page = (await browser.get("/gateway/status")).text
    for said in (
        "2026年6月1日 12時00分",
        "2027年6月1日 12時00分",
        "365日",
        "2027年4月22日 12時00分（日本時間）から更新",
    ):
        assert said in page, said
    assert "/gateway/renewal" not in page and "/gateway/members" not in page
    issuing.clock.set(NOW + YEAR - 39 * DAY)
    await browser.give_password(PASSWORD)
    page = (await browser.get("/gateway/status")).text
    assert 'href="/gateway/renewal"' in page and "39日" in page


async def test_a_newer_certificate_that_waits_is_told_of(issuing: Portal) -> None:
    async with issuing.store._database.writing("add a renewed certificate") as connection:
        row = {
            "issuer": certificate(1).issuer,
            "serial": "63",
            "user_id": "tanaka",
            "state": CertificateState.AWAITING,
            "registered": NOW,
            "not_before": NOW,
            "not_after": NOW + 2 * YEAR,
        }
        await connection.execute(insert(certificates).values(row))
    issuing.clock.set(NOW + YEAR - 5 * DAY)
    browser = issuing.browser()
    await browser.give_password(PASSWORD)
    for path in ("/gateway/status", "/gateway/notice"):
        page = (await browser.get(path)).text
        assert "新しい電子証明書" in page and "2026年6月1日 12時00分" in page and "/gateway/renewal" not in page


async def test_an_administrator_is_led_to_the_members(portal: Portal) -> None:
    await portal.store.users.add([NewUser("yamamoto", "c-cert", administrator=True)], actor="test")
    await portal.store.certificates.register([NewCertificate(certificate(3), "yamamoto", NOW + YEAR)], actor="test")
    portal.legacy.passwords["yamamoto"] = PASSWORD
    browser = portal.browser(serial=3, user="yamamoto")
    await browser.give_password(PASSWORD)
    assert 'href="/gateway/members"' in (await browser.get("/gateway/status")).text


# --- sign-out -------------------------------------------------------------------------------------------


async def test_signing_out_ends_the_session_the_legacy_session_and_the_connection(portal: Portal) -> None:
    browser = portal.browser()
    await browser.give_password(PASSWORD)
    token = (await browser.get("/gateway/sign-out")).token("/gateway/sign-out")
    answer = await browser.post("/gateway/sign-out", {"form_token": token})
    assert answer.status == 200 and "ログアウトしました" in answer.text
    assert answer.one("Gateway-Connection") == "close"
    assert "__Host-ib-session" not in browser.cookies
    assert await states(portal) == [SessionState.ENDED]
    assert portal.legacy.signed_out == ["tanaka"]


async def test_asking_for_the_sign_out_page_ends_nothing(portal: Portal) -> None:
    browser = portal.browser()
    await browser.give_password(PASSWORD)
    assert (await browser.get("/gateway/sign-out")).status == 200
    assert await states(portal) == [SessionState.LIVE]


async def test_a_legacy_backend_that_cannot_sign_out_is_told_to_the_customer(portal: Portal) -> None:
    browser = portal.browser()
    await browser.give_password(PASSWORD)
    token = (await browser.get("/gateway/sign-out")).token("/gateway/sign-out")
    portal.legacy.signed_out = None  # type: ignore[assignment]  # the backend breaks: its handler raises
    answer = await browser.post("/gateway/sign-out", {"form_token": token})
    assert "終了処理を確認できませんでした" in answer.text
    assert await states(portal) == [SessionState.ENDED]


async def test_the_legacy_backends_own_sign_out_ends_both_sessions(portal: Portal) -> None:
    browser = portal.browser()
    await browser.give_password(PASSWORD)
    assert "ログアウトしました" in (await browser.get("/gateway/sign-out/legacy")).text
    assert await states(portal) == [SessionState.ENDED]
    assert portal.legacy.signed_out == ["tanaka"]


async def test_another_site_cannot_sign_a_customer_out(portal: Portal) -> None:
    browser = portal.browser()
    await browser.give_password(PASSWORD)
    page = await browser.get("/gateway/sign-out/legacy", Sec_Fetch_Site="cross-site")
    assert "ログアウトしてよろしいですか" in page.text
    assert await states(portal) == [SessionState.LIVE]


async def test_signing_out_twice_is_harmless(portal: Portal) -> None:
    page = await portal.browser().get("/gateway/sign-out")
    assert page.status == 200 and "ログアウトしました" in page.text


async def test_a_session_ended_elsewhere_cannot_come_back(portal: Portal) -> None:
    browser = portal.browser()
    await browser.give_password(PASSWORD)
    await portal.store.certificates.revoke(certificate(1), actor="test")
    assert (await browser.get("/gateway/status")).one("Location") == "/gateway/password?next=/gateway/status"
    assert "certificate_revoked" in (await browser.get("/gateway/password")).text
