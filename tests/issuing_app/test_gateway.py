"""The app against the gateway itself, its processes as they run: unattended, and worked by hand with the wizard."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.material import Material
from mtls_gateway.model import CertificateId, CertificateState
from mtls_gateway.store.opening import Store
from tests.issuing_app.bank import wine_can_verify
from tests.issuing_app.test_unattended import DONE, NOTHING_FOUND, REFUSED, WRONG_CERTIFICATE
from tests.issuing_app.windows import Control, Screen, Windows
from tests.issuing_app.wizard import JAPANESE, Wizard
from tests.promises.issuing import MIGRATING, letter, states, with_issuance
from tests.promises.whole_gateway import WholeGateway, password_of, whole_gateway

# The first test of a run pays for the build, for a whole Windows and for a whole gateway.
pytestmark = [pytest.mark.needs("mingw-i686", "mingw-x86_64", "wine", "Xvfb"), pytest.mark.timeout(300)]

TRIES = 3


def settings(material: Material) -> dict[str, Any]:
    """The only keys that Wine keeps are RSA keys."""
    changed = with_issuance(material, keys=["P-256", "RSA-2048"])
    changed["signer"]["key_types"] = ["P-256", "RSA-2048"]
    return changed


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    for _ in range(TRIES):
        with whole_gateway(tmp_path_factory.mktemp("gateway"), settings) as running:
            folder = running.material.directory / "hosts"
            pems = [*folder.glob("*.cert.pem"), running.server_ca]
            assert len(pems) >= 3
            shown = [one for pem in pems for one in x509.load_pem_x509_certificates(pem.read_bytes())]
            if all(map(wine_can_verify, shown)):
                yield running
                return
    pytest.fail("no gateway whose certificates Wine can verify")


@pytest.fixture
def windows(prefix: Windows, gateway: WholeGateway) -> Iterator[Windows]:
    """With nothing in its stores but trust in the gateway's own certificate."""
    prefix.forget_everything()
    prefix.log.unlink(missing_ok=True)
    root = prefix.folder / "demo-root.der"
    root.write_bytes(x509.load_pem_x509_certificates(gateway.server_ca.read_bytes())[0].public_bytes(Encoding.DER))
    prefix.trust(root)
    # The shortest that the gateway takes.
    prefix.environment["ISSUING_APP_TEST_KEY_BITS"] = "2048"
    yield prefix
    del prefix.environment["ISSUING_APP_TEST_KEY_BITS"]
    prefix.end_all()


class Unlucky(Exception):
    """The signer has made a certificate that Wine cannot verify, see :func:`wine_can_verify`."""


def run(windows: Windows, app: Path, *arguments: str, secrets: str | None = None) -> int:
    code = windows.run(app, *arguments, secrets=secrets)
    if code == WRONG_CERTIFICATE:
        raise Unlucky
    return code


Body = Callable[[Windows, Screen, Path, WholeGateway], None]


def with_luck(body: Body) -> Body:
    """Once more from the start, with another user, when Wine could not verify; an app that never can still fails."""

    @functools.wraps(body)
    def tried(windows: Windows, screen: Screen, test_app: Path, gateway: WholeGateway) -> None:
        for _ in range(TRIES - 1):
            with contextlib.suppress(Unlucky):
                body(windows, screen, test_app, gateway)
                return
            windows.end_all()
            start_afresh(windows)
        body(windows, screen, test_app, gateway)

    return tried


def start_afresh(windows: Windows) -> None:
    windows.forget_everything()
    windows.trust(windows.folder / "demo-root.der")


def secrets_of(user_id: str, code: str) -> str:
    return f"user={user_id}\npassword={password_of(user_id)}\ncode={code}\n"


def installed(windows: Windows) -> list[x509.Certificate]:
    found = windows.certificates()
    assert all(one.signs for one in found)
    return [x509.load_der_x509_certificate(one.der) for one in found]


@with_luck
def test_a_letter_and_a_password_make_a_certificate(
    windows: Windows, screen: Screen, test_app: Path, gateway: WholeGateway
) -> None:
    user_id = gateway.new_user(MIGRATING)
    code = letter(gateway, user_id).printed
    app = windows.place(test_app, gateway.port)
    assert run(windows, app, secrets=secrets_of(user_id, code).replace("password=", "password=wrong")) == REFUSED
    assert "refused: enrolment_refused" in windows.log.read_text()
    assert windows.keys == []
    assert run(windows, app, secrets=secrets_of(user_id, code)) == DONE
    (certificate,) = installed(windows)
    assert user_id in certificate.subject.rfc4514_string()
    assert states(gateway, user_id) == [CertificateState.VALID]
    # On another PC the letter is of no use any more.
    start_afresh(windows)
    assert run(windows, app, secrets=secrets_of(user_id, code)) == REFUSED
    assert "refused: enrolment_code_used" in windows.log.read_text()
    assert states(gateway, user_id) == [CertificateState.VALID]


def ends_soon(windows: Windows, gateway: WholeGateway, certificate: x509.Certificate) -> x509.Certificate:
    """The user's certificate as it would be if most of its year were over: the same but for its dates."""
    folder = gateway.material.certificates.authority
    issuer = load_pem_private_key((folder / "issuing.key.pem").read_bytes(), None)
    assert isinstance(issuer, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(certificate.public_key())
        .serial_number(certificate.serial_number)
        .not_valid_before(now - timedelta(days=355))
        .not_valid_after(now + timedelta(days=10))
    )
    for extension in certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    aged = builder.sign(issuer, hashes.SHA256())
    file = windows.folder / "aged.der"
    file.write_bytes(aged.public_bytes(Encoding.DER))
    windows.add("MY", file)
    return aged


@with_luck
def test_the_old_certificate_goes_when_the_new_one_has_signed_in(
    windows: Windows, screen: Screen, test_app: Path, gateway: WholeGateway
) -> None:
    user_id = gateway.new_user(MIGRATING)
    app = windows.place(test_app, gateway.port)
    assert run(windows, app, secrets=secrets_of(user_id, letter(gateway, user_id).printed)) == DONE
    (young,) = installed(windows)
    old = ends_soon(windows, gateway, young)
    # Where that is, the server has told.
    renewal = ("/renew",)
    assert run(windows, app, *renewal, secrets="password=wrong\n") == REFUSED
    assert run(windows, app, *renewal, secrets=f"password={password_of(user_id)}\n") == DONE, windows.log.read_text()
    (new,) = (one for one in installed(windows) if one != old)
    assert new.public_key() != old.public_key()

    remove = ("/remove-superseded", "/certificate-host", f"{CERTIFICATE_HOST}:{gateway.port}")
    assert run(windows, app, *remove) == NOTHING_FOUND
    assert len(installed(windows)) == 2

    async def sign_in(store: Store) -> None:
        certificate = CertificateId(new.issuer.rfc4514_string(), new.serial_number)
        await store.identities.superseded_by_first_sign_in(certificate)

    gateway.store(sign_in)
    assert states(gateway, user_id) == [CertificateState.SUPERSEDED, CertificateState.VALID]
    assert run(windows, app, *remove) == DONE
    assert installed(windows) == [new]


def see(wizard: Wizard, text: str, picture: str) -> list[Control]:
    """As the wizard's own, but for :class:`Unlucky`."""
    try:
        return wizard.see(text, picture)
    except AssertionError as error:
        if "正しいことを確認できなかった" in str(error):
            raise Unlucky from error
        raise


def in_japanese(moment: datetime) -> str:
    local = moment.astimezone()
    return f"{local.year}年{local.month}月{local.day}日 {local.hour}:{local.minute:02}"


@with_luck
def test_a_person_gets_and_renews_a_certificate_with_the_wizard(
    windows: Windows, screen: Screen, test_app: Path, gateway: WholeGateway
) -> None:
    user_id = gateway.new_user(MIGRATING)
    code = letter(gateway, user_id).printed
    app = windows.place(test_app, gateway.port)

    wizard = Wizard(windows, screen, JAPANESE, app)
    wizard.see(JAPANESE.continue_)
    wizard.press("Return")
    wizard.see(JAPANESE.enrol)
    wizard.type(user_id, "wrong", code)
    wizard.press("Return")
    refused = wizard.see("いずれかが正しくありません", "20-gateway-refused")
    assert any("enrolment_refused" in control.text for control in refused)
    assert (installed(windows), windows.keys) == ([], [])
    wizard.press("alt+b")
    wizard.see(JAPANESE.enrol)
    wizard.press("alt+p")
    wizard.type(password_of(user_id))
    wizard.press("Return")
    done = [control.text for control in see(wizard, JAPANESE.done, "21-gateway-done")]
    (young,) = installed(windows)
    assert user_id in young.subject.rfc4514_string()
    assert user_id in done
    assert in_japanese(young.not_valid_after_utc) in done
    # Nothing is left to type: the key that closes is at hand.
    wizard.press("Return")
    assert wizard.ends_with() == DONE
    assert states(gateway, user_id) == [CertificateState.VALID]

    old = ends_soon(windows, gateway, young)
    wizard = Wizard(windows, screen, JAPANESE, app)
    wizard.see(JAPANESE.continue_)
    wizard.press("alt+r", "Return")
    wizard.see(JAPANESE.renew, "22-gateway-renew")
    wizard.press("Tab")
    wizard.type(password_of(user_id))
    wizard.press("Return")
    renewed = [control.text for control in see(wizard, JAPANESE.renewed, "23-gateway-renewed")]
    (new,) = (one for one in installed(windows) if one != old)
    assert in_japanese(new.not_valid_after_utc) in renewed
    wizard.press("Return")
    assert wizard.ends_with() == DONE
    # Until it has signed in, the old one is good too.
    assert states(gateway, user_id) == [CertificateState.VALID, CertificateState.AWAITING]


def test_the_gateways_refusals_leave_nothing_and_have_their_code(
    windows: Windows, test_app: Path, gateway: WholeGateway
) -> None:
    app = windows.place(test_app, gateway.port)
    user_id = gateway.new_user(MIGRATING)
    late = letter(gateway, user_id, days=-1.0).printed
    # Whoever has a certificate from elsewhere has it on another PC.
    person = gateway.newcomer(MIGRATING)
    second = letter(gateway, person.user_id).printed
    for user, code, refusal in (
        (user_id, late, "enrolment_code_expired"),
        (person.user_id, second, "certificate_exists"),
    ):
        assert windows.run(app, secrets=secrets_of(user, code)) == REFUSED, refusal
        assert f"refused: {refusal}" in windows.log.read_text()
        assert (windows.certificates(), windows.keys, windows.pending) == ([], [], []), refusal
    assert states(gateway, user_id) == []
    assert states(gateway, person.user_id) == [CertificateState.VALID]
