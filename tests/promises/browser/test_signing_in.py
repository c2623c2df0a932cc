"""A customer signs in, works and signs out: a real browser, the real gateway, a bank that knows nothing of it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import urllib.request
from pathlib import Path

import pytest
from playwright.async_api import Cookie, expect

from mtls_gateway.demo import cast
from mtls_gateway.demo.bank_pages import statements_csv
from mtls_gateway.demo.run import Running
from tests.promises.browser.conftest import BROWSER, Pc

pytestmark = pytest.mark.needs(*BROWSER)

VERSIONS = pytest.mark.parametrize(
    ("arguments", "version"), [((), "TLS 1.3"), (("--ssl-version-max=tls1.2",), "TLS 1.2")], ids=["1.3", "1.2"]
)


def monitor(bank: Running) -> str:
    """What the bank's own operators see."""
    with urllib.request.urlopen(f"http://127.0.0.1:{bank.ports.bank}/monitor", timeout=10) as answer:
        said: bytes = answer.read()
        return said.decode()


def figure(bank: Running, name: str) -> int:
    found = re.search(rf'"{name}": (\d+)', monitor(bank))
    assert found is not None
    return int(found[1])


@VERSIONS
async def test_certificate_and_password_lead_to_the_bank_without_a_script(
    pc: Pc, arguments: tuple[str, ...], version: str
) -> None:
    async with pc("good", arguments=arguments) as customer:
        await customer.without_scripts()
        answer = await customer.goto(customer.public + "/")
        details = await answer.security_details()
        assert details is not None
        assert details["protocol"] == version
        for choice in ("電子証明書ログイン", "ID・パスワードログイン", "電子証明書発行"):
            await expect(customer.page.get_by_role("link", name=choice)).to_be_visible()
        await customer.to_the_password_page()
        assert "yamada01" in await customer.text()
        await customer.give_password("wrong")
        await expect(customer.page.get_by_role("alert")).to_be_visible()
        await customer.give_password(cast.user("yamada01").password)
        assert await customer.welcomed() == "yamada01"
        await customer.page.get_by_role("link", name="残高照会").click()
        await expect(customer.page.get_by_text("1234567")).to_be_visible()


async def test_a_bookmark_leads_to_the_page_that_was_asked_for(pc: Pc) -> None:
    async with pc("good") as customer:
        await customer.goto(customer.certificate + "/balance")
        assert "/gateway/password?next=/balance" in customer.page.url
        await customer.give_password(cast.user("yamada01").password)
        assert customer.page.url == customer.certificate + "/balance"


async def test_the_banks_pages_work_as_if_there_were_no_gateway(pc: Pc, tmp_path: Path) -> None:
    async with pc("good") as customer:
        await customer.sign_in("yamada01")
        page = customer.page

        async with page.expect_download() as downloading:
            await page.get_by_role("link", name="入出金明細（CSV）").click()
        download = await downloading.value
        assert download.suggested_filename == "入出金明細.csv"
        saved = await download.path()
        assert await asyncio.to_thread(saved.read_bytes) == statements_csv().encode("utf-8-sig")

        sent = tmp_path / "総合振込.txt"
        sent.write_bytes(bytes(range(256)) * 12_000)
        await page.get_by_role("link", name="総合振込").click()
        await page.locator("input[type=file]").set_input_files(sent)
        await customer.press("input[type=submit]")
        assert await page.locator("#octets").text_content() == str(sent.stat().st_size)
        assert await page.locator("#sha256").text_content() == hashlib.sha256(sent.read_bytes()).hexdigest()
        assert sent.name in await customer.text()

        await page.get_by_role("link", name="外国為替相場").click()
        await expect(page.locator("#rates")).to_contain_text("USDJPY")
        await expect(page.locator("#rates")).to_contain_text('"tick": 1')
        said = await page.evaluate(
            """() => new Promise((resolve, reject) => {
                socket.addEventListener("message", event => event.data === "こんにちは" && resolve(event.data));
                socket.addEventListener("close", () => reject(new Error("closed")));
                socket.send("こんにちは");
            })"""
        )
        assert said == "こんにちは"


def worth_keeping(cookies: list[Cookie]) -> list[Cookie]:
    return [cookie for cookie in cookies if cookie["name"] in ("__Host-ib-session", "ibsession")]


@pytest.mark.parametrize("way", ["the gateway's", "the bank's"])
async def test_signing_out_ends_both_sessions(pc: Pc, bank: Running, way: str) -> None:
    async with pc("good-second-user") as customer:
        await customer.sign_in("yamada02")
        kept = worth_keeping(await customer.context.cookies())
        assert {cookie["name"] for cookie in kept} == {"__Host-ib-session", "ibsession"}
        assert all(cookie["secure"] and cookie["httpOnly"] for cookie in kept)
        before = figure(bank, "sign_outs")
        if way == "the gateway's":
            await customer.goto(customer.certificate + "/gateway/sign-out")
            await customer.press("form button")
        else:
            await customer.page.get_by_role("link", name="ログアウト").click()
        await expect(customer.page.get_by_role("heading", level=1)).to_contain_text("ログアウト")
        assert figure(bank, "sign_outs") == before + 1
        left = [cookie["name"] for cookie in await customer.context.cookies()]
        assert "__Host-ib-session" not in left

        for _ in range(2 if way == "the gateway's" else 1):
            await customer.page.go_back()
            assert "ようこそ" not in await customer.text()
        assert customer.page.url.startswith(customer.certificate + "/gateway/password")
        await customer.context.add_cookies([{**cookie} for cookie in kept])  # type: ignore[typeddict-item]
        for path in ("/home", "/balance"):
            await customer.goto(customer.certificate + path)
            assert customer.page.url.startswith(customer.certificate + "/gateway/password"), path


async def test_a_second_pc_takes_the_session_over_knowingly(pc: Pc) -> None:
    async with pc("newer") as first:
        await first.sign_in("yamada09")
        async with pc("newer") as second:
            await second.to_the_password_page()
            await second.page.locator("input[type=password]").fill(cast.user("yamada09").password)
            await second.press("form:has(input[type=password]) button")
            await second.picture("takeover")
            await second.press("button[value=take]")
            assert await second.welcomed() == "yamada09"
        await expect(first.page.locator("#user")).to_have_text("yamada09")
        await first.goto(first.certificate + "/home")
        assert first.page.url.startswith(first.certificate + "/gateway/password")


async def by_password(pc: Pc, user_id: str) -> str:
    """Where ID + password lead: to the bank, or to a code."""
    async with pc() as customer:
        await customer.without_scripts()
        await customer.goto(customer.public + "/")
        await customer.page.get_by_role("link", name="ID・パスワードログイン").click()
        await customer.page.locator("input[name=user_id]").fill(user_id)
        await customer.give_password(cast.user(user_id).password)
        if customer.page.url.startswith(customer.public + "/gateway/"):
            return await customer.code()
        assert await customer.welcomed() == user_id
        await customer.page.get_by_role("link", name="残高照会").click()
        await expect(customer.page.get_by_text("1234567")).to_be_visible()
        await customer.page.get_by_role("link", name="ログアウト").click()
        await customer.goto(customer.public + "/home")
        return "signed in, and out" if "ようこそ" not in await customer.text() else "signed in for ever"


@pytest.mark.parametrize(
    ("user_id", "outcome"),
    [
        ("tanaka02", "signed in, and out"),
        ("sato02", "signed in, and out"),
        ("sato01", "company_on_certificate_method"),
        ("yamada01", "company_on_certificate_method"),
    ],
    ids=["password company", "migrating, not switched", "migrating, switched", "certificate company"],
)
async def test_the_password_method_is_the_companys(pc: Pc, user_id: str, outcome: str) -> None:
    assert await by_password(pc, user_id) == outcome


async def test_whoever_has_switched_while_the_company_migrates_signs_in_with_the_certificate(pc: Pc) -> None:
    async with pc("migrating-company") as customer:
        await customer.sign_in("sato01")
