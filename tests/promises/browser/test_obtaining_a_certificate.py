"""電子証明書発行 in a browser, from the sign-in page to signed in with the new certificate (clauses A.5, D.2, D.4)."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import expect

from mtls_gateway.demo.material import Material
from mtls_gateway.issuance.code import ALPHABET, new_code
from mtls_gateway.store.certificates import NewCertificate
from tests.promises.authority import Authority
from tests.promises.browser import chromium
from tests.promises.browser.conftest import BROWSER
from tests.promises.browser.customer import Customer, customer
from tests.promises.issuing import MIGRATING, enrol, letter, with_issuance
from tests.promises.whole_gateway import WholeGateway, password_of, whole_gateway

pytestmark = pytest.mark.needs(*BROWSER)

APP = b"MZ" + bytes(range(256)) * 2_048


def _settings(material: Material) -> dict[str, object]:
    app = material.directory / "ShomeishoHakko.exe"
    app.write_bytes(APP)
    pages = {"help_desk_ja": "インターネットバンキング・ヘルプデスク　0120-000-000（平日 9:00～17:00）"}
    return {**with_issuance(material, issuing_app=str(app)), "pages": pages}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("issuing"), _settings) as running:
        yield running


@pytest.fixture
def home(gateway: WholeGateway, tmp_path: Path) -> Path:
    """A PC that trusts the hosts' certificates and has none of its own."""
    home = tmp_path / "home"
    home.mkdir()
    chromium.add_authority(home, gateway.server_ca)
    return home


async def fill(at: Customer, user_id: str, password: str, code: str) -> None:
    await at.page.locator("input[name=user_id]").fill(user_id)
    await at.page.locator("input[name=password]").fill(password)
    await at.page.locator("input[name=code]").fill(code)
    await at.press("form:has(input[name=code]) button")


async def by_password(at: Customer, user_id: str) -> str:
    """Where ID + password lead, and out again."""
    await at.goto(at.public + "/gateway/password-sign-in")
    await at.page.locator("input[name=user_id]").fill(user_id)
    await at.press_with_password(password_of(user_id))
    if "/gateway/" in at.page.url:
        return await at.code()
    assert await at.welcomed() == user_id
    await at.goto(at.public + "/gateway/sign-out")
    await at.press("form button")
    return "signed in"


async def test_from_the_sign_in_page_to_signed_in_with_the_new_certificate(
    gateway: WholeGateway, policy: chromium.Policy, home: Path, tmp_path: Path
) -> None:
    user_id = await asyncio.to_thread(gateway.new_user, MIGRATING)
    code = (await asyncio.to_thread(letter, gateway, user_id)).printed
    async with customer(home, policy, gateway.port, None) as at:
        assert await by_password(at, user_id) == "signed in"
        await at.goto(at.public + "/")
        await at.page.get_by_role("link", name="電子証明書発行").click()
        await at.without_scripts()
        await at.picture("enrolment-sign-in")
        # A typing error is told at once, and the code stands there to be compared with the letter.
        mistyped = code[:-1] + next(symbol for symbol in ALPHABET if symbol != code[-1])
        await fill(at, user_id, password_of(user_id), mistyped)
        await expect(at.page.get_by_role("alert")).to_contain_text("手順書と見比べて")
        assert await at.page.locator("input[name=code]").input_value() == mistyped
        await at.picture("enrolment-sign-in-typing-error")
        await fill(at, user_id, "wrong", code)
        await expect(at.page.get_by_role("alert")).to_contain_text("正しくありません")
        await at.picture("enrolment-sign-in-wrong")
        await fill(at, user_id, password_of(user_id), code.lower().replace("-", " "))
        await expect(at.page.get_by_role("heading", level=1)).to_have_text("証明書発行アプリのダウンロード")
        await at.picture("enrolment-app")
        async with at.page.expect_download() as awaited:
            await at.page.get_by_role("link", name="証明書発行アプリのダウンロード").click()
        download = await awaited.value
        assert download.suggested_filename == "ShomeishoHakko.exe"
        await download.save_as(tmp_path / "app")
        assert await asyncio.to_thread((tmp_path / "app").read_bytes) == APP
        assert hashlib.sha256(APP).hexdigest() in await at.text()
        await at.page.get_by_role("link", name="English").click()
        await at.picture("enrolment-app-en")
        assert await at.page.evaluate("document.documentElement.lang") == "en"
        await at.page.get_by_role("link", name="日本語").click()
        # What the issuing app does on Windows, the reference client does here.
        done = enrol(gateway, tmp_path, "--pkcs12", "me.p12", user_id=user_id, code=code)
        assert done.status == 0, done.said
        chromium.add_client(home, tmp_path / "me.p12", "pkcs12 password")
    async with customer(home, policy, gateway.port, user_id) as at:
        await at.to_the_password_page()
        await at.give_password(password_of(user_id))
        assert await at.welcomed() == user_id
        await at.goto(at.certificate + "/gateway/renewal")
        await at.picture("renewal-too-early")
        assert await by_password(at, user_id) == "company_on_certificate_method"


async def test_the_notice_leads_to_the_page_of_renewal_and_that_to_the_new_certificate(
    gateway: WholeGateway, policy: chromium.Policy, home: Path, tmp_path: Path
) -> None:
    user_id = await asyncio.to_thread(gateway.new_user, MIGRATING)
    ends = datetime.fromtimestamp(int(time.time()) + 10 * 86_400, UTC)
    authority = Authority.loaded(gateway.material.certificates.authority, "issuing")
    certificate, pem = authority.leaf(tmp_path, ends=ends)
    await asyncio.to_thread(gateway.register, NewCertificate(certificate, user_id, ends.timestamp()))
    chromium.add_client(home, chromium.pkcs12(pem, tmp_path / "old.p12", "x"), "x")
    async with customer(home, policy, gateway.port, "whoever") as at:
        await at.to_the_password_page()
        await at.give_password(password_of(user_id))
        await at.picture("notice-renewable")
        await at.page.get_by_role("link", name="電子証明書を更新する").click()
        await expect(at.page.get_by_role("heading", level=1)).to_have_text("電子証明書の更新")
        await at.picture("renewal")
        await at.goto(at.certificate + "/gateway/status")
        await at.picture("status-renewable")
        done = enrol(gateway, tmp_path, "--pkcs12", "new.p12", renew=pem, password=password_of(user_id))
        assert done.status == 0, done.said
    chromium.add_client(home, tmp_path / "new.p12", "pkcs12 password")
    async with customer(home, policy, gateway.port, user_id) as at:
        await at.to_the_password_page()
        await at.give_password(password_of(user_id))
        assert await at.welcomed() == user_id
    async with customer(home, policy, gateway.port, "whoever") as at:
        await at.goto(at.certificate + "/")
        assert await at.code() == "certificate_superseded"


async def test_whatever_stands_against_it_has_its_page(
    gateway: WholeGateway, policy: chromium.Policy, home: Path
) -> None:
    user_id = await asyncio.to_thread(gateway.new_user, MIGRATING)
    code = (await asyncio.to_thread(letter, gateway, user_id)).printed
    async with customer(home, policy, gateway.port, None) as at:
        await at.goto(at.public + "/gateway/enrolment?lang=en")
        await at.picture("enrolment-sign-in-en")
        await at.goto(at.public + "/gateway/enrolment?lang=ja")
        await fill(at, user_id, password_of(user_id), new_code())
        await expect(at.page.get_by_role("alert")).to_contain_text("利用者ID、パスワードまたは発行コード")
        for _ in range(5):
            await fill(at, user_id, "wrong", code)
        await fill(at, user_id, password_of(user_id), code)
        await expect(at.page.get_by_role("alert")).to_contain_text("無効になりました")
        await at.picture("enrolment-sign-in-exhausted")
        # A bookmark of the page behind leads back to the form.
        await at.goto(at.public + "/gateway/enrolment/app")
        assert at.page.url == at.public + "/gateway/enrolment"
        another = await asyncio.to_thread(gateway.new_user, "tanaka")
        await fill(at, another, password_of(another), (await asyncio.to_thread(letter, gateway, another)).printed)
        assert await at.code() == "company_not_on_certificate_method"
