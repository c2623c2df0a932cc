"""The legacy form's verdict: right only on positive evidence, undecided when the backend decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mtls_gateway.clock import SystemClock
from mtls_gateway.errors import ConfigurationError, LegacyUnavailable, LegacyUnreachable
from mtls_gateway.model import Site
from mtls_gateway.signin.ports import Caller, LegacyCookie, LegacySession, PasswordChecker
from mtls_gateway.web.legacy_http import LegacyClient
from mtls_gateway.web.portal import make_checkers
from tests.signin import legacy_applications as applications
from tests.signin import legacy_settings as settings
from tests.signin.legacy_applications import JAPANESE_PASSWORD, PASSWORD, USER, Handler, page

CALLER = Caller("192.0.2.7", "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0", "ja,en;q=0.5")


class NoHashes:
    async def password_hash(self, user_id: str) -> str | None:
        return None


@asynccontextmanager
async def checking(
    application: web.Application, legacy: dict[str, Any], directory: Path, site: Site = Site.CERTIFICATE
) -> AsyncIterator[PasswordChecker]:
    async with applications.running(application) as backend:
        configuration = settings.configure(backend, legacy, directory)
        async with LegacyClient(configuration.timeouts) as http:
            yield make_checkers(configuration, http, NoHashes(), SystemClock())[site]


def changed(legacy: dict[str, Any], **login: Any) -> dict[str, Any]:
    return {
        **legacy,
        "login": {name: value for name, value in {**legacy["login"], **login}.items() if value is not None},
    }


FORM = (
    "<form method=post action=/in><input name=u><input type=password name=p><input type=hidden name=h value=1></form>"
)
PLAIN: dict[str, Any] = {
    "session_cookies": ["sid"],
    "guarded": ["/in"],
    "login": {"page": "/", "user_field": "u", "password_field": "p", "success": {"body": "ようこそ"}},
}


def plain(answer: Handler, more: dict[str, Handler] | None = None) -> web.Application:
    """A form at /, ``answer`` to its POST, and further pages."""

    async def show(request: web.Request) -> web.StreamResponse:
        return page(FORM)

    application = web.Application()
    application.add_routes([web.get("/", show), web.post("/in", answer)])
    application.add_routes([web.get(path, handler) for path, handler in (more or {}).items()])
    return application


def saying(body: str = "", status: int = 200, **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = page(body, status=status)
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        return response

    return answer


WELCOME = saying("ようこそ", Set_Cookie="sid=1; Path=/")


# --- the answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        saying("パスワードが違います"),
        saying("ようこそ" + FORM, Set_Cookie="sid=1"),
        saying("", 401),
        saying(FORM, 403),
        saying("", 302, Location="/"),
        saying("", 302, Location="/elsewhere-without-a-form"),
        saying("", 302, Location="https://elsewhere.example/"),
        saying("", 302),
        saying("", 204),
        saying("<form><input name=u><input name=p></form>ようこそ"),
    ],
)
async def test_without_positive_evidence_a_password_is_wrong(answer: Handler, tmp_path: Path) -> None:
    application = plain(answer, {"/elsewhere-without-a-form": saying("エラー")})
    async with checking(application, PLAIN, tmp_path) as checker:
        assert await checker.check(USER, PASSWORD, CALLER) is None


@pytest.mark.parametrize("status", [400, 403, 404, 405, 408, 413, 429, 500, 502, 503])
async def test_an_answer_that_refuses_the_request_decides_nothing(status: int, tmp_path: Path) -> None:
    async with checking(plain(saying("ようこそ", status)), PLAIN, tmp_path) as checker:
        with pytest.raises(LegacyUnavailable, match=str(status)):
            await checker.check(USER, PASSWORD, CALLER)


async def test_a_failure_counts_even_where_the_success_fits(tmp_path: Path) -> None:
    legacy = changed(PLAIN, failures=[{"status": [200], "body": "ロック"}])
    async with checking(plain(saying("ようこそ ロック中")), legacy, tmp_path) as checker:
        assert await checker.check(USER, PASSWORD, CALLER) is None


async def test_a_status_named_as_a_failure_is_a_wrong_password(tmp_path: Path) -> None:
    async with checking(plain(saying("", 403)), changed(PLAIN, failures=[{"status": [403]}]), tmp_path) as checker:
        assert await checker.check(USER, PASSWORD, CALLER) is None


async def test_endless_redirects_decide_nothing(tmp_path: Path) -> None:
    application = plain(saying("", 302, Location="/round"), {"/round": saying("", 302, Location="/round")})
    async with checking(application, PLAIN, tmp_path) as checker:
        with pytest.raises(LegacyUnavailable, match="redirects"):
            await checker.check(USER, PASSWORD, CALLER)


async def test_a_redirect_that_keeps_the_method_sends_the_password_within_the_backend_only(tmp_path: Path) -> None:
    received: list[bytes] = []

    async def second(request: web.Request) -> web.StreamResponse:
        received.append(await request.read())
        return page("ようこそ")

    application = plain(saying("", 307, Location="/second", Set_Cookie="sid=1; Path=/"))
    application.router.add_post("/second", second)
    async with checking(application, PLAIN, tmp_path) as checker:
        assert await checker.check(USER, PASSWORD, CALLER) is not None
    assert received == [b"u=tanaka&p=correct+horse&h=1"]


async def test_a_form_that_leads_out_of_the_backend_is_never_sent(tmp_path: Path) -> None:
    application = web.Application()
    application.router.add_get("/", saying(FORM.replace("/in", "https://elsewhere.example/in")))
    async with checking(application, PLAIN, tmp_path) as checker:
        with pytest.raises(LegacyUnavailable, match="out of the legacy backend"):
            await checker.check(USER, PASSWORD, CALLER)


@pytest.mark.parametrize(
    "answer", [saying("メンテナンス中"), saying(FORM, 503), saying("", 302, Location="https://x.example/")]
)
async def test_a_page_without_the_form_decides_nothing(answer: Handler, tmp_path: Path) -> None:
    application = web.Application()
    application.router.add_get("/", answer)
    async with checking(application, PLAIN, tmp_path) as checker:
        with pytest.raises(LegacyUnavailable, match="without a form"):
            await checker.check(USER, PASSWORD, CALLER)


async def test_a_slow_backend_decides_nothing_in_time(tmp_path: Path) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with checking(plain(slow), changed(PLAIN, timeout=0.3), tmp_path) as checker:
        with pytest.raises(LegacyUnavailable, match=r"longer than 0\.3 s"):
            await checker.check(USER, PASSWORD, CALLER)


async def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    async with checking(plain(saying("ようこそ" * 5_000)), changed(PLAIN, maximum_octets=10_000), tmp_path) as checker:
        with pytest.raises(LegacyUnavailable, match="longer than 10000 octets"):
            await checker.check(USER, PASSWORD, CALLER)


async def test_a_backend_that_is_down_decides_nothing(tmp_path: Path, free_port: int) -> None:
    configuration = settings.configure(f"http://127.0.0.1:{free_port}", PLAIN, tmp_path)
    async with LegacyClient(configuration.timeouts) as http:
        checker = make_checkers(configuration, http, NoHashes(), SystemClock())[Site.PUBLIC]
        with pytest.raises(LegacyUnavailable, match="no legacy backend takes connections"):
            await checker.check(USER, PASSWORD, CALLER)


async def test_a_success_without_the_session_cookie_admits_nobody(tmp_path: Path) -> None:
    async with checking(plain(saying("ようこそ", Set_Cookie="other=1")), PLAIN, tmp_path) as checker:
        with pytest.raises(LegacyUnavailable, match="session_cookies"):
            await checker.check(USER, PASSWORD, CALLER)


# --- settings that could not tell right from wrong -----------------------------------------------------


async def test_a_success_that_the_login_page_fits_admits_nobody(tmp_path: Path) -> None:
    async with checking(plain(WELCOME), changed(PLAIN, success={"status": [200]}), tmp_path) as checker:
        with pytest.raises(LegacyUnavailable, match="proves nothing"):
            await checker.check(USER, PASSWORD, CALLER)


async def test_a_proof_page_that_anybody_may_see_admits_nobody(tmp_path: Path) -> None:
    application = plain(WELCOME, {"/public": saying("お知らせ")})
    async with checking(application, changed(PLAIN, success=None, proof_page="/public"), tmp_path) as checker:
        with pytest.raises(LegacyUnavailable, match="shown without signing in"):
            await checker.check(USER, PASSWORD, CALLER)


async def test_a_success_that_the_proof_page_denies_is_none(tmp_path: Path) -> None:
    application = plain(WELCOME, {"/private": saying("", 403)})
    async with checking(application, changed(PLAIN, proof_page="/private"), tmp_path) as checker:
        assert await checker.check(USER, PASSWORD, CALLER) is None


@pytest.mark.parametrize(
    ("login", "cause"),
    [
        ({"success": None}, "needs success or proof_page"),
        ({"page": "login"}, "start them with /"),
        ({"success": {"body": "("}}, "not a regular expression"),
        ({"success": {}}, "at least one of"),
    ],
)
def test_settings_without_a_proof_are_refused(login: dict[str, Any], cause: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=cause):
        settings.configure("http://127.0.0.1:1", changed(PLAIN, **login), tmp_path)


# --- what the backend sees ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "origin", "works"),
    [
        ({}, "http://cert.bank.example:8443", True),
        ({"scheme": "https"}, "https://cert.bank.example:8443", True),
        ({"host": "ib.internal"}, "http://ib.internal", True),
        ({"origin": "pass"}, "https://cert.bank.example:8443", True),
        ({"origin": "remove"}, "https://cert.bank.example:8443", False),
        ({}, "https://cert.bank.example:8443", False),
    ],
)
async def test_the_backend_sees_the_origin_that_the_settings_say(
    seen: dict[str, str], origin: str, works: bool, tmp_path: Path
) -> None:
    application, legacy = applications.django(origin)
    async with checking(application, {**settings.DJANGO, "seen": seen}, tmp_path) as checker:
        if works:
            assert await checker.check(USER, PASSWORD, CALLER) is not None
            assert legacy.headers[0]["Host"] == origin.partition("//")[2] or seen.get("origin") == "pass"
            assert legacy.headers[0]["Referer"] == f"{origin}/admin/login/"
        else:
            with pytest.raises(LegacyUnavailable, match="403"):
                await checker.check(USER, PASSWORD, CALLER)


async def test_the_browser_is_passed_on_and_the_client_only_when_asked_for(tmp_path: Path) -> None:
    for forwarded in (False, True):
        application, legacy = applications.tomcat()
        configuration = {**settings.TOMCAT, "seen": {"forwarded_headers": forwarded}}
        async with checking(application, configuration, tmp_path) as checker:
            await checker.check(USER, PASSWORD, CALLER)
        for headers in legacy.headers:
            assert headers["User-Agent"] == CALLER.user_agent
            assert headers["Accept-Language"] == CALLER.accept_language
            assert headers.get("X-Forwarded-For") == ("192.0.2.7" if forwarded else None)
            assert headers.get("X-Forwarded-Proto") == ("https" if forwarded else None)


async def test_a_shift_jis_form_gets_its_password_in_shift_jis(tmp_path: Path) -> None:
    application, legacy = applications.php()
    async with checking(application, settings.PHP, tmp_path) as checker:
        assert await checker.check("鈴木", JAPANESE_PASSWORD, CALLER) is not None
    assert legacy.posts[-1]["mode"] == "認証"
    assert legacy.posts[-1]["go.x"] == "0"


async def test_a_session_bound_to_the_browser_is_signed_out_as_that_browser(tmp_path: Path) -> None:
    application, legacy = applications.php()
    async with checking(application, settings.PHP, tmp_path) as checker:
        session = await checker.check(USER, PASSWORD, CALLER)
        assert session is not None
        with pytest.raises(LegacyUnavailable):
            await checker.sign_out(LegacySession(session.cookies, "another browser"))
        await checker.sign_out(session)
    assert legacy.signed_out == [USER]


async def test_a_legacy_session_that_has_ended_already_needs_no_signing_out(tmp_path: Path) -> None:
    application, _ = applications.django()
    async with checking(application, settings.DJANGO, tmp_path) as checker:
        await checker.sign_out(LegacySession((LegacyCookie("sessionid", "gone", "Path=/"),)))


async def test_extra_fields_are_sent_and_empty_ones_left_out(tmp_path: Path) -> None:
    received: list[bytes] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        received.append(await request.read())
        return await WELCOME(request)

    async with checking(plain(answer), changed(PLAIN, fields={"js": "1", "h": ""}), tmp_path) as checker:
        await checker.check(USER, PASSWORD, CALLER)
    assert received == [b"u=tanaka&p=correct+horse&js=1"]


async def test_no_message_holds_the_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for answer in (saying("", 500), saying("?"), saying("", 302, Location="/in?p=x")):
        async with checking(plain(answer), PLAIN, tmp_path) as checker:
            try:
                await checker.check(USER, "geheim-1234", CALLER)
            except LegacyUnavailable as error:
                assert "geheim" not in str(error)
    assert "geheim" not in caplog.text


# --- several backends -----------------------------------------------------------------------------------


@asynccontextmanager
async def on_two(directory: Path, **legacy: Any) -> AsyncIterator[tuple[PasswordChecker, list[str], list[Any]]]:
    """A checker, the addresses of two backends that share nothing, and what each of them has seen."""
    (one, first), (two, second) = applications.php(), applications.php()
    async with applications.running(one) as a, applications.running(two) as b:
        configuration = settings.configure("", {**settings.PHP, "backends": [a, b], **legacy}, directory)
        async with LegacyClient(configuration.timeouts) as http:
            checkers = make_checkers(configuration, http, NoHashes(), SystemClock())
            yield checkers[Site.CERTIFICATE], [a, b], [first, second]


@pytest.mark.parametrize("place", [0, 1])
async def test_the_whole_login_and_its_sign_out_go_to_one_backend(tmp_path: Path, place: int) -> None:
    """The one that the worker prefers; on the other the form's token and cookies would be nobody's."""
    async with on_two(tmp_path) as (checker, backends, seen):
        wanted = backends[place]
        preferred = (wanted, backends[1 - place])
        session = await checker.check(USER, PASSWORD, replace(CALLER, backends=preferred))
        assert session is not None and session.backend == wanted
        await checker.sign_out(session)
    assert [legacy.signed_out for legacy in seen] == ([[USER], []] if place == 0 else [[], [USER]])
    assert seen[1 - place].posts == []


async def test_a_login_goes_to_the_next_backend_only_while_nothing_was_sent(tmp_path: Path, free_port: int) -> None:
    dead = f"http://127.0.0.1:{free_port}"
    async with on_two(tmp_path) as (_, (a, b), _):
        configuration = settings.configure("", {**settings.PHP, "backends": [dead, a, b]}, tmp_path)
        async with LegacyClient(configuration.timeouts) as http:
            checker = make_checkers(configuration, http, NoHashes(), SystemClock())[Site.CERTIFICATE]
            session = await checker.check(USER, PASSWORD, replace(CALLER, backends=(dead, b)))
            assert session is not None and session.backend == b
            with pytest.raises(LegacyUnreachable, match="all are out"):
                await checker.check(USER, PASSWORD, replace(CALLER, backends=()))


async def test_strict_a_session_is_signed_out_nowhere_but_where_it_lives(tmp_path: Path) -> None:
    async with on_two(tmp_path) as (checker, backends, seen):
        session = await checker.check(USER, PASSWORD, replace(CALLER, backends=tuple(backends)))
        assert session is not None
        with pytest.raises(LegacyUnavailable):
            await checker.sign_out(replace(session, backend="http://192.0.2.1"))
        assert [legacy.signed_out for legacy in seen] == [[], []]


async def test_each_backend_is_called_by_its_own_address_where_that_is_set(tmp_path: Path) -> None:
    hosts: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        hosts.append(request.headers["Host"])
        return web.Response(text="ようこそ", headers={"Set-Cookie": "sid=1"}, content_type="text/html")

    async with applications.running(plain(answer)) as a, applications.running(plain(answer)) as b:
        legacy = {**PLAIN, "backends": [a, b], "seen": {"host": "backend"}}
        configuration = settings.configure("", legacy, tmp_path)
        async with LegacyClient(configuration.timeouts) as http:
            checker = make_checkers(configuration, http, NoHashes(), SystemClock())[Site.CERTIFICATE]
            for backend in (b, a):
                assert await checker.check(USER, PASSWORD, replace(CALLER, backends=(backend,))) is not None
        assert hosts == [address.removeprefix("http://") for address in (b, a)]
