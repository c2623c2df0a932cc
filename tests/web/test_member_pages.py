"""An administrator's pages: for its own members only, with its own password, and nothing done twice."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from mtls_gateway.model import CertificateState, CodePurpose, CodeState, Method, SessionState
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.codes import PrintedCode
from mtls_gateway.store.users import NewUser
from tests.signin.legacy_applications import PASSWORD
from tests.web.portal_client import NOW, YEAR, Answer, Browser, Portal, certificate

LIST, MEMBER, CONFIRM = "/gateway/members", "/gateway/members/member", "/gateway/members/confirm"
SERIALS = {"tanaka": 1, "suzuki": 2, "yamamoto": 3, "ishii": 4, "mori": 5, "goto": 6}


async def people(portal: Portal) -> Portal:
    """yamamoto and ishii administer c-cert (tanaka, suzuki, and kato without a certificate); mori another company."""
    store = portal.store
    await store.companies.create("other", "株式会社よその", actor="test")
    await store.users.add(
        [
            NewUser("yamamoto", "c-cert", administrator=True, email="yamamoto@example.co.jp", name="山本 一郎"),
            NewUser("ishii", "c-cert", administrator=True),
            NewUser("kato", "c-cert", name="<b>加藤</b>"),
            NewUser("mori", "other", administrator=True),
            NewUser("goto", "other"),
        ],
        actor="test",
    )
    new = [
        NewCertificate(certificate(SERIALS[name]), name, NOW + YEAR) for name in ("yamamoto", "ishii", "mori", "goto")
    ]
    await store.certificates.register(new, actor="test")
    await store.companies.set_method("other", Method.CERTIFICATE, actor="test")
    for name in SERIALS:
        portal.legacy.passwords[name] = PASSWORD
    return portal


@pytest.fixture
async def desk(issuing: Portal) -> AsyncIterator[Portal]:
    yield await people(issuing)


def at(portal: Portal, user: str) -> Browser:
    """A browser that shows the user's certificate; the worker says that its session is live."""
    return portal.browser(serial=SERIALS[user], user=user, more={"session": "live"})


async def signed_in(portal: Portal, user: str = "yamamoto") -> Browser:
    browser = at(portal, user)
    answer = await browser.give_password(PASSWORD)
    assert answer.status == 303
    return browser


def ask_for(user: str, deed: str, cause: str) -> str:
    return f"{CONFIRM}?{urlencode({'user': user, 'deed': deed, 'cause': cause})}"


async def do(
    browser: Browser, user: str, deed: str = "revoke", cause: str = "lost", password: str = PASSWORD
) -> Answer:
    page = await browser.get(ask_for(user, deed, cause))
    assert page.status == 200, page.text
    fields = {"user": user, "deed": deed, "cause": cause, "password": password, "form_token": page.token(CONFIRM)}
    return await browser.post(CONFIRM, fields)


async def states(portal: Portal, user: str) -> list[CertificateState]:
    return [one.state for one in await portal.store.certificates.all(user_id=user)]


# --- the list ---------------------------------------------------------------------------------------


async def test_the_list_has_the_companys_users_and_how_they_stand(desk: Portal) -> None:
    browser = await signed_in(desk)
    page = await browser.get(LIST)
    assert page.status == 200
    for said in (
        "tanaka",
        "suzuki",
        "kato",
        "ishii",
        "yamamoto",
        "山本 一郎",
        "取得済み",
        "お申し込み前",
        "2027/06/01",
    ):
        assert said in page.text, said
    assert "mori" not in page.text and "goto" not in page.text
    assert "&lt;b&gt;加藤" in page.text and "<b>加藤" not in page.text
    # Nobody is led to an administrator's, nor to oneself.
    assert re.findall(r'members/member\?user=(\w+)"', page.text) == ["kato", "suzuki", "tanaka"]
    assert "2026/06/01" in page.text  # yamamoto's own sign-in


async def test_long_lists_come_in_pages(desk: Portal) -> None:
    added = [NewUser(f"z{number:03}", "c-cert") for number in range(250)]
    await desk.store.users.add(added, actor="test")
    browser = await signed_in(desk)
    first = (await browser.get(LIST)).text
    assert f'href="{LIST}?page=2"' in first and "255名" in first and "z094" in first and "z095" not in first
    last = (await browser.get(f"{LIST}?page=3")).text
    assert "z249" in last and f'href="{LIST}?page=2"' in last and "page=4" not in last
    for nonsense in ("4", "0", "-1", "x", "1.5", "٣", "9999999999", ""):
        assert (await browser.get(f"{LIST}?{urlencode({'page': nonsense})}")).status == 404, nonsense


async def test_both_languages(desk: Portal) -> None:
    browser = await signed_in(desk)
    assert "Administrator" in (await browser.get(f"{LIST}?lang=en")).text
    assert "Revoke this certificate?" in (await browser.get(ask_for("tanaka", "revoke", "lost"))).text


# --- who may ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [LIST, f"{MEMBER}?user=tanaka", ask_for("tanaka", "revoke", "lost")])
async def test_without_a_live_session_one_is_led_to_the_password(path: str, desk: Portal) -> None:
    stranger = at(desk, "yamamoto")
    assert (await stranger.get(path)).one("Location") == f"/gateway/password?next={LIST}"
    # The session of another certificate, one that has ended, and one that the worker holds for idle.
    browser = await signed_in(desk)
    thief = at(desk, "suzuki")
    thief.cookies = dict(browser.cookies)
    assert (await thief.get(path)).status == 303
    browser.more = {"session": "session_ended"}
    assert (await browser.get(path)).status == 303
    browser.more = {"session": "live"}
    assert (await browser.get(path)).status == 200
    desk.clock.advance(8 * 3_600)
    assert (await browser.get(path)).status == 303
    assert (await desk.stranger().get(path)).one("Location").startswith("https://cert.bank.example")


async def test_signing_in_leads_back_to_the_list(desk: Portal) -> None:
    browser = at(desk, "yamamoto")
    assert (await browser.give_password(PASSWORD, next=LIST)).one("Location") == LIST


@pytest.mark.parametrize("next_page", ["/gateway/sign-out", "/gateway/members/confirm?user=x", "/gateway/"])
async def test_signing_in_leads_to_no_other_page_of_ours(next_page: str, desk: Portal) -> None:
    assert (await at(desk, "yamamoto").give_password(PASSWORD, next=next_page)).one("Location") == "/"


async def test_a_member_has_no_such_pages(desk: Portal) -> None:
    browser = await signed_in(desk, "tanaka")
    for path in (LIST, f"{MEMBER}?user=suzuki", ask_for("suzuki", "revoke", "lost")):
        assert (await browser.get(path)).status == 404
    fields = {"user": "suzuki", "deed": "revoke", "cause": "lost", "password": PASSWORD, "form_token": "x"}
    assert (await browser.post(CONFIRM, fields)).status == 404
    assert await states(desk, "suzuki") == [CertificateState.VALID]


@pytest.mark.parametrize("user", ["goto", "mori", "ishii", "yamamoto", "nobody", "", "tanaka ", "TANAKA"])
async def test_everybody_else_is_not_found_in_the_same_way(user: str, desk: Portal) -> None:
    browser = await signed_in(desk)
    nobody = await browser.get(f"{MEMBER}?user=no-such-user")
    page = await browser.get(f"{MEMBER}?{urlencode({'user': user})}")
    assert (page.status, page.text.replace(user, "") if user else page.text) == (404, nobody.text) or page.status == 404
    assert (await browser.get(ask_for(user, "revoke", "lost"))).status == 404
    # With a form that was made for a member, sent for somebody else.
    token = (await browser.get(ask_for("tanaka", "revoke", "lost"))).token(CONFIRM)
    fields = {"user": user, "deed": "revoke", "cause": "lost", "password": PASSWORD, "form_token": token}
    assert (await browser.post(CONFIRM, fields)).status == 403
    everybody = [one.state for one in await desk.store.certificates.all()]
    assert set(everybody) == {CertificateState.VALID}


async def test_an_administrator_who_is_stopped_gets_no_further(desk: Portal) -> None:
    browser = await signed_in(desk)
    await desk.store.users.stop("yamamoto", actor="test")
    page = await browser.get(LIST)
    assert page.status == 403 and "user_stopped" in page.text


# --- revocation and reissue ---------------------------------------------------------------------------


async def test_a_revocation_takes_the_password_and_is_done_at_once(desk: Portal) -> None:
    member = await signed_in(desk, "tanaka")
    browser = await signed_in(desk)
    before = dict(desk.legacy.sessions)
    done = await do(browser, "tanaka")
    assert done.status == 200 and "失効させました" in done.text
    assert await states(desk, "tanaka") == [CertificateState.REVOKED]
    assert [row.state for row in await desk.store.sessions.all(user_id="tanaka")] == [SessionState.ENDED]
    assert "certificate_revoked" in (await member.get("/gateway/password")).text
    # The administrator's own sessions are as they were: the password opened none that stays.
    assert desk.legacy.sessions == before
    lines = [line for line in await desk.store.audit.lines() if line.actor == "administrator yamamoto"]
    assert [(line.action, line.details.get("cause")) for line in lines] == [
        ("certificate.revoke", None),
        ("member.revoke", "lost"),
    ]
    assert lines[0].details["reason"] == "keyCompromise"
    assert [mail.address for mail in await desk.store.outbox.all()] == ["yamamoto@example.co.jp"]


async def test_a_reissue_revokes_and_orders_a_letter_that_comes_by_post(desk: Portal) -> None:
    browser = await signed_in(desk)
    done = await do(browser, "tanaka", "reissue", "replaced")
    assert done.status == 200 and "郵便でお送りします" in done.text
    assert await states(desk, "tanaka") == [CertificateState.REVOKED]
    (code,) = await desk.store.codes.all()
    assert (code.user_id, code.purpose, code.state) == ("tanaka", CodePurpose.REISSUE, CodeState.ORDERED)
    # The form once more, e.g. by reloading the page: nothing is done twice.
    again = await do(browser, "tanaka", "reissue", "replaced")
    assert again.status == 409 and "すでに受け付けております" in again.text
    assert len(await desk.store.codes.all()) == 1
    assert "手順書の作成待ち" in (await browser.get(LIST)).text


async def test_the_causes_are_those_of_the_list(desk: Portal) -> None:
    browser = await signed_in(desk)
    page = await browser.get(f"{MEMBER}?user=tanaka")
    assert re.findall(r'<option value="(\w+)"', page.text) == [
        *("lost", "misused", "left", "unneeded", "other"),
        *("lost", "misused", "replaced", "broken", "other"),
    ]
    without = await browser.get(ask_for("tanaka", "reissue", ""))
    assert without.status == 400 and 'href="#cause-reissue"' in without.text
    for deed, cause in (("reissue", "left"), ("revoke", "broken"), ("revoke", "no such cause")):
        assert (await browser.get(ask_for("tanaka", deed, cause))).status == 400
    assert (await browser.get(ask_for("tanaka", "delete", "lost"))).status == 404


async def test_wrong_passwords_count_as_at_sign_in(desk: Portal) -> None:
    browser = await signed_in(desk)
    for _ in range(4):
        wrong = await do(browser, "tanaka", password="wrong")
        assert wrong.status == 403 and "パスワードが正しくありません" in wrong.text
    assert (await do(browser, "tanaka", password="")).status == 400
    last = await do(browser, "tanaka", password="wrong")
    assert last.status == 403 and "user_suspended" in last.text
    assert await states(desk, "tanaka") == [CertificateState.VALID]
    assert "user_suspended" in (await browser.get(LIST)).text


async def test_the_members_password_is_not_the_administrators(desk: Portal) -> None:
    desk.legacy.passwords["tanaka"] = "tanaka's own"
    browser = await signed_in(desk)
    assert (await do(browser, "tanaka", password="tanaka's own")).status == 403
    assert await states(desk, "tanaka") == [CertificateState.VALID]


@pytest.mark.parametrize(
    "change",
    [
        {"user": "suzuki"},
        {"deed": "reissue", "cause": "lost"},
        {"form_token": ""},
        {"form_token": "x" * 43},
    ],
    ids=lambda change: "-".join(change),
)
async def test_a_form_is_for_one_deed_and_one_member(change: dict[str, str], desk: Portal) -> None:
    browser = await signed_in(desk)
    token = (await browser.get(ask_for("tanaka", "revoke", "lost"))).token(CONFIRM)
    fields = {"user": "tanaka", "deed": "revoke", "cause": "lost", "password": PASSWORD, "form_token": token}
    assert (await browser.post(CONFIRM, fields | change)).status == 403
    for user in ("tanaka", "suzuki"):
        assert await states(desk, user) == [CertificateState.VALID]


async def test_another_sites_form_does_nothing(desk: Portal) -> None:
    browser = await signed_in(desk)
    page = await browser.get(ask_for("tanaka", "revoke", "lost"))
    fields = {"user": "tanaka", "deed": "revoke", "cause": "lost", "password": PASSWORD}
    fields["form_token"] = page.token(CONFIRM)
    for header in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert (await browser.post(CONFIRM, fields, **header)).status == 403
    # A token of another browser, with another binding cookie.
    other = await signed_in(desk, "ishii")
    assert (await other.post(CONFIRM, fields)).status == 403
    assert await states(desk, "tanaka") == [CertificateState.VALID]


async def test_a_legacy_backend_that_is_away_decides_nothing(desk: Portal) -> None:
    browser = await signed_in(desk)
    desk.legacy.down = True
    page = await do(browser, "tanaka")
    assert page.status == 503 and "誤りの回数には含まれません" in page.text
    assert await states(desk, "tanaka") == [CertificateState.VALID]


async def test_who_has_nothing_is_offered_nothing(desk: Portal) -> None:
    browser = await signed_in(desk)
    page = await browser.get(f"{MEMBER}?user=kato")
    assert page.status == 200 and "<form" not in page.text
    refused = await do(browser, "kato", "reissue", "lost")
    assert refused.status == 409 and "まだ電子証明書を取得されていません" in refused.text
    assert (await do(browser, "kato")).status == 409
    assert await desk.store.codes.all() == []


async def test_a_letter_that_is_out_is_shown_and_can_be_voided(desk: Portal) -> None:
    await desk.store.codes.order("kato", CodePurpose.FIRST, actor="test")
    (letter,) = await desk.store.codes.due_letters()
    await desk.store.codes.printed([PrintedCode(letter.code_id, "ABCD", b"d" * 32, NOW + 86_400)], actor="test")
    browser = await signed_in(desk)
    page = await browser.get(f"{MEMBER}?user=kato")
    assert "手順書を送付済み" in page.text and "2026年6月2日 11時59分" in page.text
    assert (await do(browser, "kato", "revoke", "left")).status == 200
    assert [code.state for code in await desk.store.codes.all()] == [CodeState.VOID]


async def test_where_certificates_come_from_elsewhere_nothing_is_reissued(portal: Portal) -> None:
    await people(portal)
    browser = await signed_in(portal)
    page = await browser.get(f"{MEMBER}?user=tanaka")
    assert 'value="revoke"' in page.text and 'value="reissue"' not in page.text
    assert (await browser.get(ask_for("tanaka", "reissue", "lost"))).status == 404
    assert (await do(browser, "tanaka")).status == 200
