"""Choose another certificate: the button makes Chromium ask again, and nothing less does."""

from __future__ import annotations

import pytest

from mtls_gateway.demo import cast
from mtls_gateway.demo.run import Running
from tests.promises.browser import chromium
from tests.promises.browser.conftest import BROWSER, Pc
from tests.promises.browser.test_signing_in import VERSIONS

pytestmark = pytest.mark.needs(*BROWSER)

#: The first is picked at first.
CERTIFICATES = ("suspended-company", "good", "good-second-user")
WRONG, RIGHT, OTHER = "suzuki01 suspended-company", "yamada01 good", "yamada02 good-second-user"


@VERSIONS
async def test_the_button_makes_the_browser_ask_again(pc: Pc, arguments: tuple[str, ...], version: str) -> None:
    async with pc(*CERTIFICATES, arguments=arguments) as customer:
        failures: list[str | None] = []
        customer.context.on("requestfailed", lambda request: failures.append(request.failure))
        await customer.without_scripts()
        await customer.goto(customer.certificate + "/")
        assert await customer.code() == "company_suspended"
        # Several connections, as a browser has.
        for _ in range(2):
            tab = await customer.context.new_page()
            await tab.goto(customer.certificate + "/")

        # The customer would choose otherwise now, but is not asked: not by a reload, nor from the front page.
        await customer.choose(RIGHT)
        await customer.page.reload()
        assert await customer.code() == "company_suspended"
        await customer.goto(customer.public + "/")
        await customer.page.get_by_role("link", name="電子証明書ログイン").click()
        assert await customer.code() == "company_suspended"
        assert failures == []

        await customer.choose_another()
        # Met by a picture, where nobody sees it.
        assert failures == ["net::ERR_BAD_SSL_CLIENT_AUTH_CERT"]
        assert "yamada01" in await customer.text()
        await customer.give_password(cast.user("yamada01").password)
        assert await customer.welcomed() == "yamada01"


async def test_without_the_alert_the_browser_keeps_its_choice(pc: Pc) -> None:
    async with pc(*CERTIFICATES) as customer:
        await customer.goto(customer.certificate + "/")
        await customer.choose(RIGHT)
        await customer.page.route("**/dot.gif**", lambda route: route.abort())
        await customer.choose_another()
        assert await customer.code() == "company_suspended"


async def test_it_works_as_often_as_one_likes_and_any_choice_is_welcome(pc: Pc) -> None:
    async with pc(*CERTIFICATES) as customer:
        await customer.goto(customer.certificate + "/")
        await customer.choose(RIGHT)
        # The second time the customer picks the same once more.
        for _ in range(2):
            await customer.choose_another()
            assert "yamada01" in await customer.text()
        await customer.choose(OTHER)
        await customer.choose_another()
        assert "yamada02" in await customer.text()


@VERSIONS
async def test_who_showed_none_is_asked_again_too(
    pc: Pc, bank: Running, arguments: tuple[str, ...], version: str
) -> None:
    async with pc(arguments=arguments) as customer:
        failed: list[str | None] = []
        customer.context.on("requestfailed", lambda request: failed.append(request.failure))
        await customer.goto(customer.certificate + "/")
        assert await customer.code() == "certificate_missing"

        # The certificate is installed while the browser runs; Chromium has decided, and does not look again.
        chromium.add_client(customer.home, bank.material.certificates.users / "good.p12", cast.PKCS12_PASSWORD)
        await customer.choose(RIGHT)
        await customer.page.reload()
        assert await customer.code() == "certificate_missing"

        await customer.choose_another()
        assert failed == ["net::ERR_BAD_SSL_CLIENT_AUTH_CERT"]
        assert "yamada01" in await customer.text()


async def test_who_has_none_after_all_sees_the_page_again(pc: Pc) -> None:
    async with pc() as customer:
        await customer.goto(customer.certificate + "/")
        await customer.choose_another()
        assert await customer.code() == "certificate_missing"
