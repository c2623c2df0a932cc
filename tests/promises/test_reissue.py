"""A lost PC, from the word of an administrator or of two operators to the new certificate and its cooling-off (D.6)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.visit import place, within_a_second
from mtls_gateway.model import CertificateState, Code
from tests.promises.issuing import enrol, states, with_issuance
from tests.promises.test_cooling_off import received, upload
from tests.promises.whole_gateway import Person, WholeGateway, mtls_gateway, whole_gateway

pytestmark = pytest.mark.needs("pdftotext")
CONFIRM = "/gateway/members/confirm"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("reissuing"), with_issuance) as running:
        yield running


def code_of(gateway: WholeGateway, user_id: str, folder: Path) -> str:
    """What stands in the letter that the bank prints."""
    file = folder / "letter.pdf"
    gateway.cli("letter", "print", "--user", user_id, "--out", str(file))
    text = subprocess.run(["pdftotext", "-layout", file, "-"], capture_output=True, text=True, check=True).stdout
    (code,) = set(re.findall(r"(?:[2-9A-HJKMNP-Z]{4}-){4}[2-9A-HJKMNP-Z]{4}", text))
    return str(code)


def home(browser: Browser) -> str:
    return place(browser.get(CERTIFICATE_HOST, "/home"))


def starts_anew(gateway: WholeGateway, person: Person, folder: Path) -> None:
    """With the letter: a new certificate, which opens the bank but not its transfers yet."""
    code = code_of(gateway, person.user_id, folder)
    done = enrol(gateway, folder, "--pem", "new.pem", user_id=person.user_id, code=code)
    assert done.status == 0, done.said
    assert states(gateway, person.user_id) == [CertificateState.REVOKED, CertificateState.VALID]
    browser = gateway.signed_in(Person(person.user_id, person.certificate, folder / "new.pem"))
    assert home(browser) == f"home of {person.user_id}"
    refused = upload(browser)
    assert (place(refused), "からご利用いただけます" in refused.text) == (Code.COOLING_OFF.value, True)
    assert browser.get(CERTIFICATE_HOST, "/transfer").status == 200
    assert not received(refused)
    # The old one stays refused, and the letter has done its work.
    old = gateway.browser(person)
    assert home(old) == Code.CERTIFICATE_REVOKED.value
    assert enrol(gateway, folder, "--pem", "another.pem", user_id=person.user_id, code=code).status == 1
    kinds = {mail.kind for mail in gateway.store(lambda store: store.outbox.all(user_id=person.user_id))}
    assert {"revoked", "reissued"} <= kinds


def test_an_administrator_has_a_members_certificate_reissued(gateway: WholeGateway, tmp_path: Path) -> None:
    administrator, member = gateway.newcomer(administrator=True), gateway.newcomer()
    gateway.cli("user", "set-email", member.user_id, f"{member.user_id}@example.co.jp")
    members = gateway.signed_in(member)
    desk = gateway.signed_in(administrator)
    asked = urlencode({"user": member.user_id, "deed": "reissue", "cause": "replaced"})
    page = desk.get(CERTIFICATE_HOST, f"{CONFIRM}?{asked}")
    done = desk.submit(page, page.form_to("/members/confirm"), password=administrator.password)
    assert "郵便でお送りします" in done.text
    refused = Code.CERTIFICATE_REVOKED.value
    assert within_a_second(lambda: home(members), refused) == refused
    starts_anew(gateway, member, tmp_path)


def test_two_operators_have_an_administrators_certificate_reissued(gateway: WholeGateway, tmp_path: Path) -> None:
    administrator = gateway.newcomer(administrator=True)
    gateway.cli("user", "set-email", administrator.user_id, f"{administrator.user_id}@example.co.jp")
    browser = gateway.signed_in(administrator)
    gateway.cli("application", "receive-reissue", administrator.user_id)
    refused = Code.CERTIFICATE_REVOKED.value
    assert within_a_second(lambda: home(browser), refused) == refused
    number = gateway.store(lambda store: store.applications.all(undecided=True))[0].application_id
    alone = mtls_gateway(gateway.material.configuration, "application", "approve", str(number))
    assert alone.returncode == 1 and "another person must approve it" in alone.stderr
    nothing = mtls_gateway(
        gateway.material.configuration, "letter", "print", "--user", administrator.user_id, "--out", "x.pdf"
    )
    assert nothing.returncode == 1 and "waits to be printed" in nothing.stderr
    gateway.store(lambda store: store.applications.approve(number, actor="a colleague", account=4711))
    starts_anew(gateway, administrator, tmp_path)
