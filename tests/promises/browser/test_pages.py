"""Every page of the portal, narrow and wide: pictures for people to look at, and nothing wider than the window."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from mtls_gateway.demo import cast
from mtls_gateway.model import Code
from tests.promises.browser.conftest import BROWSER, Pc
from tests.promises.browser.test_refusals import SHOWN

pytestmark = pytest.mark.needs(*BROWSER)

#: Met in test_refusals.py, where their pages say more.
MET = {code for _, code in SHOWN} | {Code.CERTIFICATE_EXPIRED}


async def test_the_public_hosts_pages(pc: Pc) -> None:
    async with pc() as customer:
        await customer.goto(customer.public + "/")
        await customer.picture("sign-in")
        await customer.page.get_by_role("link", name="電子証明書発行").click()
        await customer.picture("enrolment")
        await customer.goto(customer.public + "/gateway/password-sign-in")
        await customer.picture("password-sign-in")
        await customer.page.locator("input[name=user_id]").fill(" ")
        await customer.page.locator("input[type=password]").fill("wrong")
        await customer.press("form button")
        await expect(customer.page.get_by_role("alert")).to_be_visible()
        await customer.picture("password-sign-in-empty")
        await customer.page.locator("input[name=user_id]").fill("nobody")
        await customer.page.locator("input[type=password]").fill("wrong")
        await customer.press("form button")
        await customer.picture("password-sign-in-wrong")
        await customer.goto(customer.public + "/gateway/nothing-here")
        await customer.picture("error-404")
        await customer.goto(customer.public + "/a/../%2e%2e/b%2fc")
        await customer.picture("error-400")
        await customer.goto(customer.public + "/gateway/?lang=en")
        await customer.picture("sign-in-en")
        await customer.goto(customer.public + "/gateway/enrolment")
        await customer.picture("enrolment-en")


async def test_the_waiting_page(pc: Pc) -> None:
    async with pc() as customer:
        # The page goes on once the picture has come or failed: here it does neither.
        await customer.page.route("**/dot.gif**", lambda route: None)
        await customer.page.goto(customer.public + "/gateway/choosing", wait_until="domcontentloaded")
        await customer.picture("choosing")
        await customer.page.goto("about:blank")


async def test_the_certificate_hosts_pages(pc: Pc) -> None:
    async with pc("revoked-later") as customer:
        await customer.to_the_password_page()
        await customer.picture("password")
        await customer.give_password("wrong")
        await customer.picture("password-wrong")
        await customer.give_password(cast.user("yamada12").password)
        await customer.picture("bank-home")
        for name in ("status", "sign-out"):
            await customer.goto(f"{customer.certificate}/gateway/{name}")
            await customer.picture(name)
        await customer.press("form button")
        await customer.picture("signed-out")
        await customer.goto(f"{customer.certificate}/gateway/password?lang=en")
        await customer.picture("password-en")


async def test_every_other_refusal_has_a_page_that_fits(pc: Pc) -> None:
    async with pc("revoked-later") as customer:
        for code in Code:
            if code not in MET:
                await customer.goto(f"{customer.certificate}/gateway/refused/{code.value}")
                assert await customer.code() == code.value
                await customer.picture(f"refused-{code.value}")


async def test_a_browser_that_is_not_supported_is_told(pc: Pc) -> None:
    async with pc(user_agent=None) as customer:
        await customer.goto(customer.public + "/")
        await expect(customer.page.get_by_role("region")).to_contain_text("Google Chrome")
        await customer.picture("sign-in-unsupported-browser")
