"""The demo's bank is an ordinary bank: asked directly, with no gateway anywhere near."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar, FormData
from aiohttp.test_utils import TestServer

import mtls_gateway.demo
from mtls_gateway.demo.bank import STALE_FORM, WRONG, Bank

PASSWORDS = {"yamada01": "right"}


@pytest.fixture
async def browser() -> AsyncIterator[ClientSession]:
    server = TestServer(Bank(PASSWORDS).application(), host="127.0.0.1")
    await server.start_server()
    async with ClientSession(str(server.make_url("/")), cookie_jar=CookieJar(unsafe=True)) as session:
        yield session
    await server.close()


async def token(browser: ClientSession) -> str:
    async with browser.get("/login") as page:
        found = re.search(r'name="token" value="([^"]+)"', await page.text())
        assert found is not None
        return found[1]


async def sign_in(browser: ClientSession, password: str, given: str | None = None) -> ClientResponse:
    form = {"token": given or await token(browser), "screen": "LOGIN01", "loginId": "yamada01", "password": password}
    answer = await browser.post("/login", data=form, allow_redirects=False)
    await answer.read()
    return answer


def session_id(browser: ClientSession) -> str:
    return next(cookie.value for cookie in browser.cookie_jar if cookie.key == "ibsession")


def test_it_imports_nothing_of_the_gateway() -> None:
    folder = Path(mtls_gateway.demo.__file__).parent
    for module in ("bank.py", "bank_pages.py"):
        imported = set(re.findall(r"^from (mtls_gateway[.\w]*) import (\w+)", (folder / module).read_text(), re.M))
        assert imported <= {("mtls_gateway.demo", "bank_pages")}


async def test_every_page_leads_to_the_login_form_by_an_absolute_redirect(browser: ClientSession) -> None:
    for path in ("/", "/home", "/balance", "/statements.csv", "/statements/large", "/transfer", "/ws/rates"):
        async with browser.get(path, allow_redirects=False, headers={"Host": "bank.example:81"}) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "http://bank.example:81/login"), path


async def test_the_right_password_renames_the_session(browser: ClientSession) -> None:
    one_time = await token(browser)
    before = session_id(browser)
    answer = await sign_in(browser, "right", one_time)
    assert answer.status == 302
    assert session_id(browser) != before
    async with browser.get("/home") as home:
        assert "yamada01" in await home.text()


async def test_a_wrong_password_is_answered_with_status_200(browser: ClientSession) -> None:
    answer = await sign_in(browser, "wrong")
    assert answer.status == 200
    assert WRONG in await answer.text()


async def test_the_form_works_once_and_only_for_its_own_session(browser: ClientSession) -> None:
    one_time = await token(browser)
    await sign_in(browser, "wrong", one_time)
    assert STALE_FORM in await (await sign_in(browser, "right", one_time)).text()
    other = await token(browser)
    browser.cookie_jar.clear()
    assert STALE_FORM in await (await sign_in(browser, "right", other)).text()


async def test_sign_out_ends_the_session_and_the_monitor_counts_it(browser: ClientSession) -> None:
    await sign_in(browser, "right")
    async with browser.get("/monitor") as monitor:
        assert json.loads(await monitor.text()) == {"signed_in": 1, "sign_ins": 1, "sign_outs": 0}
    stolen = session_id(browser)
    async with browser.get("/logout", allow_redirects=False) as answer:
        assert answer.status == 302
    async with browser.get("/home", allow_redirects=False, headers={"Cookie": f"ibsession={stolen}"}) as answer:
        assert answer.status == 302
    async with browser.get("/monitor") as monitor:
        assert json.loads(await monitor.text()) == {"signed_in": 0, "sign_ins": 1, "sign_outs": 1}


async def test_answers_come_in_chunks_and_with_a_length(browser: ClientSession) -> None:
    await sign_in(browser, "right")
    async with browser.get("/balance") as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert "3,482,019 円" in await answer.text()
    async with browser.get("/home") as answer:
        assert int(answer.headers["Content-Length"]) == len(await answer.read())


async def test_a_download_has_the_octets_that_were_asked_for(browser: ClientSession) -> None:
    await sign_in(browser, "right")
    async with browser.get("/statements/large?octets=70001") as answer:
        assert await answer.read() == (bytes(range(256)) * 274)[:70001]
    async with browser.get("/statements/large?octets=many") as answer:
        assert answer.status == 400
    async with browser.get("/statements.csv") as answer:
        assert (await answer.text(encoding="utf-8-sig")).startswith("日付,摘要")


async def test_an_upload_is_answered_with_its_length_and_digest(browser: ClientSession) -> None:
    await sign_in(browser, "right")
    content = b"1" * 3_000_000
    form = FormData()
    form.add_field("file", io.BytesIO(content), filename="総振.txt")
    async with browser.post("/transfer", data=form) as answer:
        page = await answer.text()
    assert '<span id="octets">3000000</span>' in page
    assert hashlib.sha256(content).hexdigest() in page


async def test_the_web_socket_ticks_and_says_back_what_it_is_told(browser: ClientSession) -> None:
    await sign_in(browser, "right")
    async with browser.ws_connect("/ws/rates") as socket:
        assert (await socket.receive_json())["tick"] == 0
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
