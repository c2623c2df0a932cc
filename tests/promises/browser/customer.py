"""A customer at a PC: one Chromium with some certificates, who looks at every page that it is shown.

No step may lead to an error page of the browser's own; a customer who has seen one fails the test at the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Page, Response

from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from tests.promises.browser.chromium import Policy, launched, reload_policies

PICTURES = Path(__file__).parents[3] / "build" / "screenshots"
_WIDTHS = (400, 1100)
#: A browser of the notice's table, on Windows; the tests' own is on Linux, which the bank does not support.
SUPPORTED = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)


@dataclass
class Customer:
    """What is done in one browser."""

    context: BrowserContext
    page: Page
    policy: Policy
    home: Path
    port: int
    #: What no customer must ever see.
    browser_errors: list[str] = field(default_factory=list)

    @property
    def public(self) -> str:
        return f"https://{PUBLIC_HOST}:{self.port}"

    @property
    def certificate(self) -> str:
        return f"https://{CERTIFICATE_HOST}:{self.port}"

    def watch(self, page: Page) -> None:
        page.on(
            "framenavigated",
            lambda frame: self.browser_errors.append(frame.url) if frame.url.startswith("chrome-error:") else None,
        )
        page.on("pageerror", lambda error: self.browser_errors.append(str(error)))

    async def goto(self, url: str) -> Response:
        response = await self.page.goto(url)
        assert response is not None
        return response

    async def choose(self, common_name: str) -> None:
        """From now on this certificate is what the customer picks when the browser asks."""
        self.policy.select(self.certificate, common_name)
        await reload_policies(self.context, self.policy)

    async def without_scripts(self) -> None:
        """Switch JavaScript off for the page in hand."""
        session = await self.context.new_cdp_session(self.page)
        await session.send("Emulation.setScriptExecutionDisabled", {"value": True})

    # --- signing in -----------------------------------------------------------------------------

    async def to_the_password_page(self) -> None:
        """From the sign-in page, by its first button."""
        await self.goto(self.public + "/")
        await self.page.get_by_role("link", name="電子証明書ログイン").click()
        await self.page.wait_for_url(f"{self.certificate}/gateway/password**")

    async def give_password(self, password: str) -> None:
        """On the password page; a session elsewhere is taken over."""
        await self.press_with_password(password)
        take_over = self.page.locator("button[value=take]")
        if await take_over.count():
            await self.press("button[value=take]")

    async def press_with_password(self, password: str) -> None:
        """On a page of ID and password."""
        await self.page.locator("input[type=password]").fill(password)
        await self.press("form:has(input[type=password]) button")

    async def choose_another(self) -> None:
        """By the button of the page, over the waiting page, back to the certificate host."""
        await self.page.get_by_role("button", name="別の電子証明書を選ぶ").click()
        await self.page.wait_for_url(f"{self.certificate}/gateway/password**")

    async def press(self, selector: str) -> None:
        """A button that leads to another page."""
        async with self.page.expect_navigation():
            await self.page.locator(selector).click()

    async def sign_in(self, user_id: str) -> None:
        """With the certificate, to the demo bank's home page."""
        await self.to_the_password_page()
        await self.give_password(cast.user(user_id).password)
        assert await self.welcomed() == user_id

    # --- what is seen -----------------------------------------------------------------------------

    async def welcomed(self) -> str | None:
        """Whom the demo bank's home page greets."""
        assert urlsplit(self.page.url).path == "/home", (self.page.url, await self.text())
        return await self.page.locator("#user").text_content()

    async def text(self) -> str:
        return await self.page.locator("body").inner_text()

    async def code(self) -> str:
        """The code on a refusal page."""
        shown = self.page.locator(".facts .code").first
        assert await shown.count() == 1, await self.text()
        return await shown.inner_text()

    async def picture(self, name: str) -> None:
        """Screenshots of the page, narrow and wide, and nothing of it wider than the window."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        for width in _WIDTHS:
            await self.page.set_viewport_size({"width": width, "height": 800})
            await self.page.screenshot(path=PICTURES / f"{name}-{width}.png", full_page=True)
            needed = int(await self.page.evaluate("document.documentElement.scrollWidth"))
            assert needed <= width, f"{name} needs {needed} px of {width}"


@asynccontextmanager
async def customer(
    home: Path,
    policy: Policy,
    port: int,
    common_name: str | None,
    *,
    arguments: Sequence[str] = (),
    user_agent: str | None = SUPPORTED,
) -> AsyncIterator[Customer]:
    """A customer with the certificates below ``home``, who picks that of ``common_name``."""
    origin = f"https://{CERTIFICATE_HOST}:{port}"
    policy.forget()
    if common_name is not None:
        policy.select(origin, common_name)
    async with launched(home, arguments=arguments, user_agent=user_agent) as context:
        page = context.pages[0]
        ours = Customer(context, page, policy, home, port)
        ours.watch(page)
        context.on("page", ours.watch)
        yield ours
        assert ours.browser_errors == []
