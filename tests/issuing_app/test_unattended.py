"""The app without a window, against banks, proxies and networks as they are: what it ends with, and what it leaves."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.issuing_app.bank import CODE, PUBLIC_HOST, Bank, Fault, Refusal
from tests.issuing_app.windows import Windows

# The first test of a run pays for the build and for a whole Windows.
pytestmark = [pytest.mark.needs("mingw-i686", "mingw-x86_64", "wine", "Xvfb"), pytest.mark.timeout(300)]

PASSWORD = "ひみつ:secret"
SECRETS = f"user=taro\npassword={PASSWORD}\ncode={CODE}\n"
RENEWAL = f"password={PASSWORD}\n"

(
    DONE,
    WRONG_USE,
    REFUSED,
    TRY_LATER,
    NO_CONNECTION,
    UNTRUSTED,
    FOREIGN,
    PROXY_SIGN_IN,
    KEY_FAILED,
    INSTALL_FAILED,
    NOTHING_FOUND,
    CANCELLED,
    WRONG_CERTIFICATE,
    ALREADY_RUNNING,
    LOG_FAILED,
) = range(15)

#: Wine does not tell a bad certificate from a handshake that was cut.
NO_SECURE_CONNECTION = {NO_CONNECTION, UNTRUSTED}
#: With which exit codes the app may end when an answer, or the way to it, is this bad.
BAD_LUCK = {
    Fault.CUT_AT_ONCE: NO_SECURE_CONNECTION,
    Fault.CUT_IN_HANDSHAKE: NO_SECURE_CONNECTION,
    Fault.CUT_AFTER_HEAD: {NO_CONNECTION},
    Fault.CUT_BEFORE_ISSUING: {NO_CONNECTION},
    Fault.CUT_IN_ANSWER_HEAD: {NO_CONNECTION, FOREIGN},
    Fault.CUT_IN_ANSWER_BODY: {NO_CONNECTION, FOREIGN},
    Fault.CUT_WITHOUT_LENGTH: {NO_CONNECTION, FOREIGN},
    Fault.OTHER_CERTIFICATE: {UNTRUSTED},
    Fault.OTHER_NAME: {UNTRUSTED},
    Fault.EXPIRED_CERTIFICATE: {UNTRUSTED},
    Fault.PROXY_PAGE: {FOREIGN},
    Fault.PROXY_ERROR_PAGE: {TRY_LATER},
    Fault.REDIRECT: {FOREIGN},
    Fault.HUGE_ANSWER: {FOREIGN},
    Fault.HUGE_HEAD: {NO_CONNECTION, FOREIGN},
    Fault.NOT_BASE64: {FOREIGN},
}
#: What only the answer to an enrolment can be.
BAD_ANSWERS = {
    Fault.ANOTHER_KEYS_CERTIFICATE: {WRONG_CERTIFICATE},
    Fault.ANOTHER_BANKS_CERTIFICATE: {WRONG_CERTIFICATE},
    Fault.CUT_AFTER_ISSUING: {NO_CONNECTION},
}


def the_only(windows: Windows, bank: Bank) -> x509.Certificate:
    """What is in the user's store: the one certificate that the bank has issued, and its key signs."""
    (found,) = windows.certificates()
    (issued,) = bank.issued
    assert found.der == issued.public_bytes(Encoding.DER)
    assert found.has_key
    assert found.signs
    assert len(windows.keys) == 1
    assert windows.pending == []
    return issued


def nothing_installed(windows: Windows) -> bool:
    return windows.certificates() == [] and windows.certificates("CA") == []


def test_a_certificate_is_installed_with_its_key_and_chain(windows: Windows, test_app: Path, bank: Bank) -> None:
    assert windows.run(windows.place(test_app, bank.port), secrets=SECRETS) == DONE
    assert the_only(windows, bank).issuer == bank.issuing.subject
    chain = {one.der for one in windows.certificates("CA")}
    assert chain == {one.certificate.public_bytes(Encoding.DER) for one in (bank.issuing, bank.root)}
    # Nobody's trust is widened: the only root is still the one that the test put there.
    assert [one.subject for one in windows.certificates("Root") if one.subject.startswith("Test bank")] == []


def test_the_request_is_as_the_interface_has_it(windows: Windows, test_app: Path, bank: Bank) -> None:
    windows.run(windows.place(test_app, bank.port), secrets=SECRETS)
    first, second = bank.requests
    assert (first.method, first.path) == ("GET", "/.well-known/est/cacerts")
    assert "authorization" not in first.headers
    assert (second.method, second.path) == ("POST", "/.well-known/est/simpleenroll")
    assert second.headers["content-type"] == "application/pkcs10"
    assert second.headers["x-key-storage"] == "software"
    assert max(map(len, second.body.decode().splitlines())) == 64
    assert base64.b64decode(second.headers["authorization"].split(" ")[1]).decode() == f"taro:{CODE}:{PASSWORD}"
    assert x509.load_der_x509_csr(base64.b64decode(second.body)).is_signature_valid


def test_whatever_meets_the_enrolment_the_run_after_it_has_the_one_certificate(
    windows: Windows, test_app: Path, bank: Bank
) -> None:
    app = windows.place(test_app, bank.port)
    keys: list[str] = []
    for fault, codes in (BAD_LUCK | BAD_ANSWERS).items():
        bank.plan.extend([None, fault])
        assert windows.run(app, secrets=SECRETS) in codes, fault
        assert nothing_installed(windows), fault
        keys = keys or windows.keys
        assert windows.keys == keys, fault
        assert len(windows.pending) == 1, fault
    assert windows.run(app, secrets=SECRETS) == DONE
    the_only(windows, bank)
    assert windows.keys == keys


def test_whatever_meets_the_first_connection_gets_no_secret_and_leaves_nothing(
    windows: Windows, test_app: Path, bank: Bank
) -> None:
    app = windows.place(test_app, bank.port)
    for fault, codes in BAD_LUCK.items():
        bank.plan.append(fault)
        assert windows.run(app, secrets=SECRETS) in codes, fault
        assert nothing_installed(windows), fault
        assert windows.keys == [], fault
        assert windows.pending == [], fault
    assert all("authorization" not in request.headers for request in bank.requests)
    assert windows.run(app, secrets=SECRETS) == DONE
    the_only(windows, bank)


def test_a_refusal_leaves_no_key(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    for status, code in (
        (401, "enrolment_refused"),
        (403, "enrolment_code_used"),
        (403, "enrolment_code_expired"),
        (403, "enrolment_code_exhausted"),
        (403, "certificate_exists"),
        (403, "user_stopped"),
    ):
        bank.plan.extend([None, Refusal(status, code)])
        assert windows.run(app, secrets=SECRETS) == REFUSED, code
        assert nothing_installed(windows), code
        assert windows.keys == [], code
        assert windows.pending == [], code
        assert f"refused: {code}" in windows.log.read_text()


def test_a_busy_bank_is_asked_again_with_the_same_key(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    keys: list[str] = []
    for status, code in ((429, "throttled"), (503, "unavailable"), (503, "maintenance")):
        bank.plan.extend([None, Refusal(status, code, retry_after=60)])
        assert windows.run(app, secrets=SECRETS) == TRY_LATER, code
        keys = keys or windows.keys
        assert windows.keys == keys, code
    assert windows.run(app, secrets=SECRETS) == DONE
    assert windows.keys == keys
    the_only(windows, bank)


def test_a_wrong_password_while_an_enrolment_is_open_does_not_lose_its_key(
    windows: Windows, test_app: Path, bank: Bank
) -> None:
    app = windows.place(test_app, bank.port)
    bank.plan.extend([None, Fault.CUT_AFTER_ISSUING])
    assert windows.run(app, secrets=SECRETS) == NO_CONNECTION
    assert windows.run(app, secrets=SECRETS.replace("secret", "wrong")) == REFUSED
    assert windows.run(app, secrets=SECRETS) == DONE
    the_only(windows, bank)


def test_a_key_that_the_bank_knows_already_is_made_anew(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    bank.plan.extend([None, Refusal(400, "csr_key_reused")])
    assert windows.run(app, secrets=SECRETS) == DONE
    the_only(windows, bank)


@pytest.mark.parametrize(("step", "code"), [("key", KEY_FAILED), ("bind", INSTALL_FAILED)])
def test_after_a_full_disk_a_second_run_has_the_one_certificate(
    windows: Windows, test_app: Path, bank: Bank, step: str, code: int
) -> None:
    app = windows.place(test_app, bank.port)
    assert windows.run(app, secrets=SECRETS, fault=step) == code
    assert nothing_installed(windows)
    assert windows.run(app, secrets=SECRETS) == DONE
    the_only(windows, bank)


def test_a_log_that_cannot_be_written_is_told(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    process = windows.start(app, "/quiet", "/log", r"Z:\dev\full", "/secrets", "-", secrets=SECRETS)
    assert process.wait(30) == LOG_FAILED
    the_only(windows, bank)


def test_no_secret_is_in_the_log(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    bank.plan.extend([None, Fault.CUT_AFTER_ISSUING])
    windows.run(app, secrets=SECRETS)
    windows.run(app, secrets=SECRETS)
    log = windows.log.read_text()
    assert "installed" in log
    authorization = bank.requests[-1].headers["authorization"].split(" ")[1]
    for secret in (PASSWORD, "secret", CODE, CODE.replace("-", ""), CODE[5:9], authorization):
        assert secret not in log


def test_a_mistyped_code_is_told_before_anything_is_sent(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    assert windows.run(app, secrets=SECRETS.replace(CODE, CODE[:-1] + "A")) == WRONG_USE
    assert bank.requests == []


def test_secrets_are_read_from_a_file_too(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    secrets = windows.folder / "secrets.txt"
    secrets.write_text(SECRETS.replace("\n", "\r\n"), encoding="utf-8-sig")
    assert windows.run(app, "/secrets", str(secrets)) == DONE
    secrets.unlink()
    the_only(windows, bank)


def test_a_command_line_that_makes_no_sense_does_nothing(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    for arguments in (
        ("/nonsense",),
        ("/server",),
        ("/server", "elsewhere.example.com"),
        ("/thumbprint", "12"),
        ("/language", "fr"),
    ):
        assert windows.run(app, *arguments, secrets=SECRETS) == WRONG_USE, arguments
    assert bank.requests == []


def test_without_an_address_in_its_name_the_app_takes_the_one_it_is_told(
    windows: Windows, test_app: Path, bank: Bank
) -> None:
    app = windows.place(test_app, bank.port, "issuing-app.exe")
    assert windows.run(app, secrets=SECRETS) == WRONG_USE
    assert windows.run(app, "/server", f"{PUBLIC_HOST}:{bank.port}", secrets=SECRETS) == DONE
    the_only(windows, bank)


def test_renewal_makes_a_new_key_and_leaves_the_old_certificate(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    assert windows.run(app, secrets=SECRETS) == DONE
    (old,) = windows.certificates()
    assert windows.run(app, "/renew", secrets=RENEWAL) == DONE
    assert {one.der for one in windows.certificates()} == {one.public_bytes(Encoding.DER) for one in bank.issued}
    assert all(one.signs for one in windows.certificates())
    assert len(windows.keys) == 2
    renewal = bank.requests[-1]
    assert renewal.path == "/.well-known/est/simplereenroll"
    assert renewal.client == old.der
    assert base64.b64decode(renewal.headers["authorization"].split(" ")[1]).decode() == f":{PASSWORD}"
    # RFC 7030, section 4.2.2: the subject is that of the certificate which is renewed.
    assert x509.load_der_x509_csr(base64.b64decode(renewal.body)).subject == bank.issued[0].subject
    # Two certificates now: one has to be named.
    assert windows.run(app, "/renew", secrets=RENEWAL) == WRONG_USE
    assert windows.run(app, "/renew", "/thumbprint", old.thumbprint, secrets="password=wrong\n") == REFUSED


def test_a_renewal_that_was_cut_is_taken_up_again(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    assert windows.run(app, secrets=SECRETS) == DONE
    (old,) = windows.certificates()
    bank.plan.extend([None, Fault.CUT_AFTER_ISSUING])
    assert windows.run(app, "/renew", "/thumbprint", old.thumbprint, secrets=RENEWAL) == NO_CONNECTION
    assert windows.run(app, "/renew", "/thumbprint", old.thumbprint, secrets=RENEWAL) == DONE
    assert len(bank.issued) == 2
    assert len(windows.certificates()) == 2


def test_a_superseded_certificate_goes_only_when_the_bank_says_so(windows: Windows, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    assert windows.run(app, secrets=SECRETS) == DONE
    (old,) = windows.certificates()
    assert windows.run(app, "/renew", secrets=RENEWAL) == DONE
    assert windows.run(app, "/remove-superseded") == NOTHING_FOUND
    assert len(windows.certificates()) == 2
    bank.superseded.add(old.der)
    assert windows.run(app, "/remove-superseded") == DONE
    (left,) = windows.certificates()
    assert left.der == bank.issued[1].public_bytes(Encoding.DER)
    assert left.signs
    assert len(windows.keys) == 1


def test_there_is_nothing_to_renew_where_the_bank_has_issued_nothing(
    windows: Windows, test_app: Path, bank: Bank
) -> None:
    assert windows.run(windows.place(test_app, bank.port), "/renew", secrets=RENEWAL) == NOTHING_FOUND


def test_a_renewal_needs_the_certificate_host_from_the_bank_or_the_command_line(
    windows: Windows, test_app: Path, bank: Bank
) -> None:
    app = windows.place(test_app, bank.port)
    assert windows.run(app, secrets=SECRETS) == DONE
    bank.names_certificate_host = False
    assert windows.run(app, "/renew", secrets=RENEWAL) == FOREIGN
    host = f"cert.{PUBLIC_HOST}:{bank.port}"
    assert windows.run(app, "/renew", "/certificate-host", host, secrets=RENEWAL) == DONE


def test_where_windows_keeps_no_keys_the_delivered_app_says_so_and_leaves_nothing(
    windows: Windows, app: Path, bank: Bank
) -> None:
    # Wine has no TPM provider, and its software provider makes no P-256 keys.
    assert windows.run(windows.place(app, bank.port), secrets=SECRETS) == KEY_FAILED
    log = windows.log.read_text()
    assert "no key from Microsoft Platform Crypto Provider" in log
    assert "no key from Microsoft Software Key Storage Provider" in log
    assert bank.issued == []
    assert windows.pending == []
