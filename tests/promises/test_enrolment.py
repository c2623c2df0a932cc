"""A certificate by the reference client, from the letter to the session; and its renewal (clauses D.2, D.4)."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.visit import place, within_a_second
from mtls_gateway.issuance.code import ALPHABET, new_code
from mtls_gateway.model import CertificateId, CertificateState, CodePurpose
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.opening import Store
from tests.promises.authority import Authority
from tests.promises.issuing import MIGRATING, enrol, letter, states, with_issuance
from tests.promises.whole_gateway import WholeGateway, password_of, whole_gateway

DAY = 86_400.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("issuing"), with_issuance) as running:
        yield running


def signs_in(gateway: WholeGateway, pem: Path, user_id: str) -> str:
    browser = gateway.browser(pem)
    page = browser.get(CERTIFICATE_HOST, "/")
    answer = browser.submit(page, page.form("password"), password=password_of(user_id))
    if place(answer) == "takeover page":
        browser.submit(answer, answer.form_to("/takeover"))
    return place(browser.get(CERTIFICATE_HOST, "/home"))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_from_the_letter_to_the_session(gateway: WholeGateway, tmp_path: Path) -> None:
    user_id = gateway.new_user(MIGRATING)
    code = letter(gateway, user_id)
    done = enrol(gateway, tmp_path, "--pkcs12", "me.p12", "--pem", "me.pem", user_id=user_id, code=code.printed)
    assert done.status == 0, done.said
    assert files(tmp_path) == {"me.p12", "me.pem"}
    assert all(stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600 for name in files(tmp_path))
    assert code.printed not in done.said and password_of(user_id) not in done.said
    assert signs_in(gateway, tmp_path / "me.pem", user_id) == f"home of {user_id}"
    key, certificate, chain = pkcs12.load_key_and_certificates((tmp_path / "me.p12").read_bytes(), b"pkcs12 password")
    assert key is not None and certificate is not None
    assert key.public_key() == certificate.public_key()
    assert [one.subject.rfc4514_string().split(",")[0] for one in chain] == [
        "CN=Demo Credit Cooperative Issuing CA",
        "CN=Demo Credit Cooperative Root CA",
    ]
    with closing(sqlite3.connect(gateway.material.directory / "state" / "gateway.sqlite3")) as database:
        kept = database.execute("select key_storage from certificates where user_id = ?", (user_id,)).fetchall()
    assert kept == [("software",)]
    # What the signer was told to say.
    subject = {one.oid: one.value for one in certificate.subject}
    assert subject[x509.NameOID.USER_ID] == user_id
    assert subject[x509.NameOID.ORGANIZATION_NAME] == "Demo Shinkumi"


def test_acquisition_switches_the_user(gateway: WholeGateway, tmp_path: Path) -> None:
    """Clause A.5: while its company migrates, ID + password work until then, and never after."""

    def by_password(user_id: str) -> str:
        browser = gateway.browser()
        page = browser.get(PUBLIC_HOST, "/gateway/password-sign-in")
        form = page.form("password")
        form.fields["user_id"] = user_id
        return place(browser.submit(page, form, password=password_of(user_id)))

    user_id = gateway.new_user(MIGRATING)
    assert by_password(user_id) == f"home of {user_id}"
    done = enrol(gateway, tmp_path, user_id=user_id, code=letter(gateway, user_id).printed)
    assert done.status == 0, done.said
    assert files(tmp_path) == {f"{user_id}.pem"}
    assert within_a_second(lambda: by_password(user_id), "company_on_certificate_method") == (
        "company_on_certificate_method"
    )


def test_a_try_that_broke_off_goes_on_with_the_same_key(gateway: WholeGateway, tmp_path: Path) -> None:
    user_id = gateway.new_user(MIGRATING)
    code = letter(gateway, user_id)
    waiting = f".{user_id}.pem.key-without-certificate"
    nobody = enrol(gateway, tmp_path, "--password-from", "env:NOT_THERE", user_id=user_id, code=code.printed)
    assert (nobody.status, files(tmp_path)) == (2, {waiting})
    assert stat.S_IMODE((tmp_path / waiting).stat().st_mode) == 0o600
    key = (tmp_path / waiting).read_bytes()
    wrong = enrol(gateway, tmp_path, user_id=user_id, code=code.printed, password="wrong")
    assert (wrong.status, files(tmp_path)) == (1, {waiting})
    done = enrol(gateway, tmp_path, user_id=user_id, code=code.printed)
    assert done.status == 0, done.said
    assert f"going on with the key of {waiting}" in done.said
    assert key in (tmp_path / f"{user_id}.pem").read_bytes()
    # The answer was lost after all was done: the same key again.
    (tmp_path / waiting).write_bytes(key)
    (tmp_path / waiting).chmod(0o600)
    before = (tmp_path / f"{user_id}.pem").read_bytes()
    assert enrol(gateway, tmp_path, user_id=user_id, code=code.printed).status == 0
    assert (tmp_path / f"{user_id}.pem").read_bytes() == before
    assert states(gateway, user_id) == [CertificateState.VALID]


def test_every_refusal_is_one_line_with_its_code(gateway: WholeGateway, tmp_path: Path) -> None:
    user_id = gateway.new_user(MIGRATING)
    code = letter(gateway, user_id)

    def refusal(*words: str, code: str = code.printed, password: str | None = None) -> str:
        done = enrol(gateway, tmp_path, *words, user_id=user_id, code=code, password=password)
        assert done.status in (1, 2)
        line = done.said.splitlines()[-1]
        assert line.startswith("mtls-gateway: ")
        assert [one for one in done.said.splitlines() if "going on" not in one] == [line]
        return line

    assert "enrolment_refused" in refusal(code=new_code())
    assert "enrolment_refused" in refusal(password="wrong")
    typing_error = code.printed[:-1] + next(symbol for symbol in ALPHABET if symbol != code.printed[-1])
    assert "a symbol is wrong or two are exchanged" in refusal(code=typing_error)
    assert "not trusted" in refusal("--ca", str(gateway.material.certificates.authority / "root.cert.pem"))
    assert "Connection refused" in refusal("--server", f"https://{PUBLIC_HOST}:1")
    assert "not https://NAME" in refusal("--server", "http://bank.localhost")
    assert "not https://NAME" in refusal("--server", "https://bank.localhost/gateway/")
    assert "no CA certificate" in refusal("--ca", "/dev/null")
    assert "is none of prompt" in refusal("--code-from", code.printed)
    assert "nobody is there to type" in refusal("--code-from", "prompt")
    assert states(gateway, user_id) == []


def test_what_is_there_is_not_written_over(gateway: WholeGateway, tmp_path: Path) -> None:
    user_id = gateway.new_user(MIGRATING)
    (tmp_path / f"{user_id}.pem").write_text("mine")
    done = enrol(gateway, tmp_path, user_id=user_id, code=new_code())
    assert done.status == 2 and "is there already" in done.said
    assert (tmp_path / f"{user_id}.pem").read_text() == "mine"


def test_secrets_may_come_by_a_descriptor_and_are_never_seen_in_the_process_list(
    gateway: WholeGateway, tmp_path: Path
) -> None:
    user_id = gateway.new_user(MIGRATING)
    reader, writer = os.pipe()
    os.write(writer, password_of(user_id).encode() + b"\n")
    os.close(writer)
    os.set_inheritable(reader, True)
    try:
        words = ("--password-from", f"fd:{reader}")
        done = enrol(
            gateway, tmp_path, *words, user_id=user_id, code=letter(gateway, user_id).printed, pass_fds=(reader,)
        )
    finally:
        os.close(reader)
    assert done.status == 0, done.said


# --- renewal ------------------------------------------------------------------------------------------


def ending_soon(gateway: WholeGateway, folder: Path, days: float = 10.0) -> tuple[str, Path, CertificateId]:
    """A user with a certificate of the same CA that ends soon, and its file."""
    user_id = gateway.new_user(MIGRATING)
    ends = datetime.fromtimestamp(int(time.time() + days * DAY), UTC)
    authority = Authority.loaded(gateway.material.certificates.authority, "issuing")
    certificate, pem = authority.leaf(folder, ends=ends)
    gateway.register(NewCertificate(certificate, user_id, ends.timestamp()))
    return user_id, pem, certificate


def state_of(gateway: WholeGateway, certificate: CertificateId) -> CertificateState:
    async def read(store: Store) -> CertificateState:
        registration = await store.certificates.registration(certificate)
        assert registration is not None
        return registration.state

    return gateway.store(read)


def test_the_old_certificate_works_until_the_new_one_signs_in(gateway: WholeGateway, tmp_path: Path) -> None:
    user_id, old, certificate = ending_soon(gateway, gateway.folder())
    words = ("--pem", "new.pem")
    wrong = enrol(gateway, tmp_path, *words, renew=old, password="wrong")
    assert (wrong.status, "enrolment_refused" in wrong.said) == (1, True)
    done = enrol(gateway, tmp_path, *words, renew=old, password=password_of(user_id))
    assert done.status == 0, done.said
    assert states(gateway, user_id) == [CertificateState.VALID, CertificateState.AWAITING]
    assert signs_in(gateway, old, user_id) == f"home of {user_id}"
    assert state_of(gateway, certificate) is CertificateState.VALID
    assert signs_in(gateway, tmp_path / "new.pem", user_id) == f"home of {user_id}"
    assert state_of(gateway, certificate) is CertificateState.SUPERSEDED
    old_one = gateway.browser(old)
    assert within_a_second(lambda: place(old_one.get(CERTIFICATE_HOST, "/")), "certificate_superseded") == (
        "certificate_superseded"
    )


def test_too_early_and_with_what_is_not_good(gateway: WholeGateway, tmp_path: Path) -> None:
    user_id, fresh, _ = ending_soon(gateway, gateway.folder(), days=41.0)
    early = enrol(gateway, tmp_path, renew=fresh, password=password_of(user_id))
    assert (early.status, "renewal_too_early" in early.said) == (1, True)
    for name, code in {
        "revoked": "certificate_revoked",
        "expired": "certificate_expired",
        "unregistered": "certificate_not_registered",
        "stopped-user": "user_stopped",
    }.items():
        refused = enrol(
            gateway, tmp_path, "--pem", f"{name}.pem", renew=gateway.material.certificates.user(name), password="x"
        )
        assert code in refused.said, (name, refused.said)


def test_who_was_reissued_a_certificate_has_it_cool_off(gateway: WholeGateway, tmp_path: Path) -> None:
    user_id = gateway.new_user(MIGRATING)
    code = letter(gateway, user_id, purpose=CodePurpose.REISSUE)
    done = enrol(gateway, tmp_path, user_id=user_id, code=code.printed)
    assert done.status == 0, done.said

    async def until(store: Store) -> float | None:
        user = await store.users.user(user_id)
        return None if user is None else user.cooling_off_until

    ends = gateway.store(until)
    assert ends is not None and time.time() < ends < time.time() + 15 * DAY
