"""From the sign-in page to 電子証明書の管理, to an administrator's members, and back to the bank: no scripts needed."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from mtls_gateway.demo import cast
from mtls_gateway.model import Code
from tests.promises.browser.conftest import BROWSER, Pc

pytestmark = pytest.mark.needs(*BROWSER)


async def test_an_administrator_finds_its_members_and_revokes_a_certificate(pc: Pc) -> None:
    async with pc("good") as customer:
        page = customer.page
        await customer.without_scripts()
        await customer.goto(customer.public + "/")
        await page.get_by_role("link", name="電子証明書の管理画面へ").click()
        await page.wait_for_url(f"{customer.certificate}/gateway/password**")
        await customer.picture("password-to-manage")
        await customer.give_password(cast.user("yamada01").password)
        assert urlsplit(page.url).path == "/gateway/status"
        await customer.picture("status-administrator")
        await page.get_by_role("link", name="利用者の電子証明書").click()
        await customer.picture("members")
        await page.get_by_role("link", name="yamada07の失効・再発行").click()
        await customer.picture("member")
        # Without a reason the browser itself says what is missing.
        await page.get_by_role("button", name="失効の確認画面へ").click()
        assert urlsplit(page.url).path == "/gateway/members/member"
        await page.get_by_label("理由").first.select_option(label="担当者の異動・退職")
        await page.get_by_role("button", name="失効の確認画面へ").click()
        await customer.picture("member-confirm")
        await page.get_by_label("ご自身のパスワード").fill("wrong")
        await page.get_by_role("button", name="失効させる").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await customer.picture("member-confirm-wrong")
        await page.get_by_label("ご自身のパスワード").fill(cast.user("yamada01").password)
        await page.get_by_role("button", name="失効させる").click()
        await expect(page.get_by_role("heading", name="電子証明書を失効させました")).to_be_visible()
        await customer.picture("member-done")
        await page.get_by_role("link", name="利用者の一覧へ戻る").click()
        row = page.get_by_role("row").filter(has_text="yamada07")
        await expect(row).to_contain_text("失効済み")
        await customer.goto(f"{customer.certificate}/gateway/members?lang=en")
        await customer.picture("members-en")
        await page.get_by_role("link", name="Revoke or reissue for yamada02").click()
        await customer.picture("member-en")


async def test_a_transfer_within_the_cooling_off_leads_back_to_the_bank(pc: Pc) -> None:
    async with pc("reissued") as customer:
        page = customer.page
        await customer.sign_in("yamada13")
        await customer.goto(f"{customer.certificate}/transfer")
        await page.locator("input[type=file]").set_input_files(
            {"name": "transfer.txt", "mimeType": "text/plain", "buffer": b"1" * 8_000_000}
        )
        await customer.press("input[type=submit]")
        assert await customer.code() == Code.COOLING_OFF.value
        assert "からご利用いただけます" in await customer.text()
        await customer.picture("refused-cooling_off")
        await page.get_by_role("link", name="インターネットバンキングへ戻る").click()
        assert await customer.welcomed() == "yamada13"


async def test_a_certificate_that_ends_soon_is_told_of_after_sign_in(pc: Pc) -> None:
    async with pc("ending") as customer:
        await customer.to_the_password_page()
        await customer.give_password(cast.user("yamada15").password)
        assert urlsplit(customer.page.url).path == "/gateway/notice"
        await customer.picture("notice")
        await customer.page.get_by_role("link", name="電子証明書の管理画面へ").click()
        await customer.picture("status-ending")
        await customer.page.get_by_role("link", name="インターネットバンキングへ").click()
        assert await customer.welcomed() == "yamada15"
