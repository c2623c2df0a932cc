"""Applications nobody here wrote, behind the gateway, with the headers that Chromium sends by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.promises.browser import chromium
from tests.promises.browser.conftest import BROWSER
from tests.promises.browser.customer import customer
from tests.promises.legacy_apps.django_admin import running_django
from tests.promises.legacy_apps.gateway import FrontedApplication, fronted
from tests.promises.legacy_apps.tomcat import running_tomcat

pytestmark = pytest.mark.needs(*BROWSER)


@pytest.fixture(scope="module")
def django_admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontedApplication]:
    with (
        running_django(tmp_path_factory.mktemp("django")) as application,
        fronted(application, tmp_path_factory.mktemp("gateway")) as front,
    ):
        yield front


@pytest.fixture(scope="module")
def tomcat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontedApplication]:
    with (
        running_tomcat(tmp_path_factory.mktemp("tomcat")) as application,
        fronted(application, tmp_path_factory.mktemp("gateway")) as front,
    ):
        yield front


def pc_for(front: FrontedApplication, home: Path) -> Path:
    chromium.add_authority(home, front.server_ca)
    chromium.add_client(home, front.pkcs12, "test")
    return home


async def test_djangos_admin_takes_a_browsers_forms(
    django_admin: FrontedApplication, policy: chromium.Policy, tmp_path: Path
) -> None:
    front, application = django_admin, django_admin.application
    async with customer(pc_for(front, tmp_path), policy, front.port, application.user) as person:
        await person.to_the_password_page()
        await person.give_password(application.password)
        page = person.page
        assert page.url == person.certificate + "/admin/"
        await expect(page.locator("#user-tools strong")).to_have_text(application.user)

        # A browser sends Origin with every form; Django compares it with what it believes it is called.
        for name in ("経理部", "総務部"):
            await page.goto(person.certificate + "/admin/auth/group/add/")
            await page.locator("input[name=name]").fill(name)
            async with page.expect_request(lambda request: request.method == "POST") as posting:
                await person.press("input[name=_save]")
            posted = await posting.value
            assert await posted.header_value("origin") == person.certificate
            assert page.url == person.certificate + "/admin/auth/group/"
            assert name in await person.text()
        await page.get_by_role("link", name="経理部", exact=True).first.click()
        await page.locator("input[name=name]").fill("人事部")
        await person.press("input[name=_save]")
        assert "人事部" in await person.text()

        await page.locator("#logout-form button").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("ログアウト")
        await page.goto(person.certificate + "/admin/")
        assert page.url.startswith(person.certificate + "/gateway/password")


@pytest.mark.needs("tomcat10", "tomcat10-examples")
async def test_tomcats_protected_page_opens_by_certificate_and_password(
    tomcat: FrontedApplication, policy: chromium.Policy, tmp_path: Path
) -> None:
    front, application = tomcat, tomcat.application
    async with customer(pc_for(front, tmp_path), policy, front.port, application.user) as person:
        await person.to_the_password_page()
        await person.give_password(application.password)
        assert person.page.url == person.certificate + application.protected
        assert application.user in await person.text()
        # Its own form, at its own address, with its own session.
        await person.page.locator("input[name=role]").fill("tomcat")
        await person.press("form:has(input[name=role]) input[type=submit]")
        assert "You have been granted role" in await person.text()
        await person.goto(person.certificate + "/gateway/sign-out")
        await person.press("form button")
        await person.goto(person.certificate + application.protected)
        assert person.page.url.startswith(person.certificate + "/gateway/password")
