"""What a customer's browser shows for every certificate that is not good.

Chromium offers only certificates that have not expired, are valid already, are for TLS clients, and whose issuer the
gateway has named. A customer who has only others is asked nothing and shows none: the page for that says what else
it may mean. The pages of those codes are met by other clients, and by a certificate that expires under way.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtensionOID
from playwright.async_api import expect

from mtls_gateway.clock import SystemClock
from mtls_gateway.config import read_configuration
from mtls_gateway.demo import cast
from mtls_gateway.demo.run import Running
from mtls_gateway.model import CertificateId, Code
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.opening import open_store
from tests.promises.browser import chromium
from tests.promises.browser.conftest import BROWSER, Pc
from tests.promises.browser.customer import customer

pytestmark = pytest.mark.needs(*BROWSER)

HIDDEN = {"expired", "not-yet-valid", "unknown-issuer", "wrong-usage"}
SHOWN = [
    (each.name, Code.CERTIFICATE_MISSING if each.name in HIDDEN else each.code)
    for each in cast.CERTIFICATES
    if each.code is not None
]


@pytest.mark.parametrize(("certificate", "code"), SHOWN, ids=[name for name, _ in SHOWN])
async def test_each_bad_certificate_has_a_page_that_says_what_to_do(pc: Pc, certificate: str, code: Code) -> None:
    async with pc(certificate) as customer:
        await customer.without_scripts()
        await customer.goto(customer.public + "/")
        await customer.page.get_by_role("link", name="電子証明書ログイン").click()
        await customer.page.wait_for_url(f"{customer.certificate}/**")
        assert await customer.code() == code.value
        await expect(customer.page.locator("html")).to_have_attribute("lang", "ja")
        await expect(customer.page.locator("section[lang=en] h2")).to_be_visible()
        await expect(customer.page.get_by_role("button", name="別の電子証明書を選ぶ")).to_be_visible()
        await customer.picture(f"refused-{code.value}")


async def test_no_certificate_has_its_page_too(pc: Pc) -> None:
    async with pc() as customer:
        await customer.goto(customer.certificate + "/")
        assert await customer.code() == "certificate_missing"
        await customer.page.get_by_role("link", name="English").click()
        assert await customer.code() == "certificate_missing"
        await customer.picture("refused-certificate_missing-en")


class ShortLived:
    """A certificate of ``user_id`` that expires in a few seconds."""

    def __init__(self, bank: Running, user_id: str, seconds: float, folder: Path) -> None:
        made = bank.material.certificates
        model = x509.load_pem_x509_certificate(made.user("good").read_bytes())
        issuer_key = load_pem_private_key((made.authority / "issuing.key.pem").read_bytes(), None)
        assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        self.common_name = f"{user_id} short-lived"
        self.not_after = float(int(time.time() + seconds))
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.common_name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(model.issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(minutes=1))
            .not_valid_after(datetime.fromtimestamp(self.not_after, UTC))
        )
        for extension in model.extensions:
            if extension.oid != ExtensionOID.SUBJECT_KEY_IDENTIFIER:
                builder = builder.add_extension(extension.value, extension.critical)
        certificate = builder.sign(issuer_key, hashes.SHA256())
        self.pkcs12 = folder / "short-lived.p12"
        self.pkcs12.write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"short-lived", key, certificate, None, BestAvailableEncryption(cast.PKCS12_PASSWORD.encode())
            )
        )
        identity = CertificateId(certificate.issuer.rfc4514_string(), certificate.serial_number)
        self.row = NewCertificate(identity, user_id, self.not_after)

    async def register(self, bank: Running) -> None:
        clock = SystemClock()
        store = await open_store(read_configuration(bank.material.configuration).database_url, clock)
        try:
            await store.certificates.register([self.row], actor="test")
        finally:
            await store.close()


async def test_a_certificate_that_expires_under_way_is_refused_from_that_second_on(
    bank: Running, policy: chromium.Policy, bare_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(bare_home, home)
    certificate = ShortLived(bank, "yamada08", 12, tmp_path)
    chromium.add_client(home, certificate.pkcs12, cast.PKCS12_PASSWORD)
    await certificate.register(bank)
    async with customer(home, policy, bank.ports.gateway, certificate.common_name) as person:
        await person.to_the_password_page()
        await person.give_password(cast.user("yamada08").password)
        # It ends soon: the notice comes first.
        assert "/gateway/notice" in person.page.url
        await person.picture("notice")
        await person.page.get_by_role("main").get_by_role("link", name="このまま進む").click()
        assert await person.welcomed() == "yamada08"
        # notAfter is the last second in which it is good (RFC 5280, section 4.1.2.5).
        end = certificate.not_after + 1
        while True:
            asked = time.time()
            await person.goto(person.certificate + "/home")
            answered = time.time()
            if await person.page.locator("#user").count() == 0:
                break
            assert asked < end
            await asyncio.sleep(0.1)
        assert answered >= end
        assert await person.code() == "certificate_expired"
        await person.picture("refused-certificate_expired")
        # Asked again, Chromium finds nothing left to offer.
        await person.choose_another()
        assert await person.code() == "certificate_missing"
