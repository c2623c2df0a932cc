from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.issuance.development_ca import DevelopmentAuthority

NOW = 1_800_000_000.0
CRL_URL = "http://crl.example.co.jp/issuing.crl"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def ca(tmp_path: Path, clock: ManualClock) -> DevelopmentAuthority:
    authority = DevelopmentAuthority(tmp_path / "ca", clock)
    authority.initialise("Demo Shinkumi", crl_url=CRL_URL)
    return authority


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _crl(path: Path) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(path.read_bytes())


def _number(path: Path) -> int:
    return _crl(path).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_every_key_is_nobody_elses(ca: DevelopmentAuthority, tmp_path: Path) -> None:
    ca.issue("taro", "山田太郎", tmp_path / "users", password="secret")
    ca.issue_server(["ib.localhost"], tmp_path / "hosts")
    private = [path for path in tmp_path.rglob("*") if re.search(r"key\.pem$|\.p12$|state\.json$", path.name)]
    assert len(private) == 7
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_a_users_certificate_has_the_profile_of_a_tls_clients(ca: DevelopmentAuthority, tmp_path: Path) -> None:
    issued = ca.issue("taro", "山田太郎", tmp_path, password="secret")
    certificate = _certificate(issued.certificate_file)
    assert issued.certificate == (certificate.issuer.rfc4514_string(), certificate.serial_number)
    assert issued.certificate.issuer == ca.issuer == "CN=Demo Shinkumi Issuing CA,O=Demo Shinkumi,C=JP"
    names = {attribute.oid: attribute.value for attribute in certificate.subject}
    assert (names[NameOID.COMMON_NAME], names[NameOID.USER_ID]) == ("山田太郎", "taro")
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    found = certificate.extensions
    assert found.get_extension_for_class(x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    usage = found.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not (usage.value.key_encipherment or usage.value.key_cert_sign or usage.value.crl_sign)
    assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
    (point,) = found.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name == [x509.UniformResourceIdentifier(CRL_URL)]


def test_a_users_certificate_is_verified_by_its_root(
    ca: DevelopmentAuthority, tmp_path: Path, clock: ManualClock
) -> None:
    certificate = _certificate(ca.issue("taro", "Taro", tmp_path / "users", password="secret").certificate_file)
    _certificate(tmp_path / "ca" / "issuing.cert.pem").verify_directly_issued_by(
        _certificate(tmp_path / "ca" / "root.cert.pem")
    )
    certificate.verify_directly_issued_by(_certificate(tmp_path / "ca" / "issuing.cert.pem"))


def test_a_hosts_certificate_is_one_that_browsers_take(
    ca: DevelopmentAuthority, tmp_path: Path, clock: ManualClock
) -> None:
    issued = ca.issue_server(["ib.localhost", "127.0.0.1", "::1"], tmp_path)
    certificate = _certificate(issued.certificate_file)
    store = verification.Store([_certificate(tmp_path / "ca" / "server-ca.cert.pem")])
    at = certificate.not_valid_before_utc
    verifier = verification.PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName("ib.localhost"))
    assert verifier.verify(certificate, [])[0] == certificate
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days < 398
    key = load_pem_private_key(issued.key_file.read_bytes(), None)
    assert key.public_key() == certificate.public_key()


def test_serials_are_random_and_different(ca: DevelopmentAuthority, tmp_path: Path) -> None:
    serials = [ca.issue("taro", "Taro", tmp_path, password="x").certificate.serial for _ in range(8)]
    assert len(set(serials)) == 8
    assert all(serial.bit_length() > 64 for serial in serials)


def test_the_pkcs12_file_holds_key_certificate_and_issuer_under_the_name_that_browsers_show(
    ca: DevelopmentAuthority, tmp_path: Path
) -> None:
    issued = ca.issue("taro", "山田太郎", tmp_path, password="secret")
    bundle = pkcs12.load_pkcs12(issued.pkcs12_file.read_bytes(), b"secret")
    assert bundle.cert is not None
    assert bundle.cert.certificate == _certificate(issued.certificate_file)
    assert bundle.cert.friendly_name == "山田太郎".encode()
    assert bundle.key is not None
    assert bundle.key.public_key() == bundle.cert.certificate.public_key()
    assert [one.certificate.subject.rfc4514_string() for one in bundle.additional_certs] == [ca.issuer]
    with pytest.raises(ValueError, match="password"):
        pkcs12.load_pkcs12(issued.pkcs12_file.read_bytes(), b"guess")


def test_a_revoked_serial_is_in_the_next_crl_whose_number_is_higher(
    ca: DevelopmentAuthority, tmp_path: Path, clock: ManualClock
) -> None:
    pem = tmp_path / "ca" / "issuing.crl.pem"
    assert _number(pem) == 1
    issued = ca.issue("taro", "Taro", tmp_path, password="x")
    clock.advance(60)
    assert ca.revoke(issued.certificate.serial, "keyCompromise", days=3) == 2
    crl = _crl(pem)
    assert _number(pem) == 2
    entry = crl.get_revoked_certificate_by_serial_number(issued.certificate.serial)
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    assert entry.revocation_date_utc.timestamp() == clock.now()
    assert crl.next_update_utc is not None
    assert crl.next_update_utc.timestamp() == clock.now() + 3 * 86_400
    key = _certificate(tmp_path / "ca" / "issuing.cert.pem").public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(key)
    assert x509.load_der_x509_crl((tmp_path / "ca" / "issuing.crl.der").read_bytes()) == crl


def test_an_unspecified_reason_is_left_out(ca: DevelopmentAuthority, tmp_path: Path) -> None:
    issued = ca.issue("taro", "Taro", tmp_path, password="x")
    ca.revoke(issued.certificate.serial)
    (entry,) = _crl(tmp_path / "ca" / "issuing.crl.pem")
    assert len(entry.extensions) == 0


def test_only_what_was_issued_here_and_stands_is_revoked(ca: DevelopmentAuthority, tmp_path: Path) -> None:
    issued = ca.issue("taro", "Taro", tmp_path, password="x")
    with pytest.raises(StateError, match="has not issued"):
        ca.revoke(12345)
    with pytest.raises(UsageError, match="'certificateHold' is not a reason"):
        ca.revoke(issued.certificate.serial, "certificateHold")
    ca.revoke(issued.certificate.serial)
    with pytest.raises(StateError, match="revoked before"):
        ca.revoke(issued.certificate.serial)


def test_crl_numbers_are_never_given_twice_by_parallel_commands(ca: DevelopmentAuthority, tmp_path: Path) -> None:
    numbers: list[int] = []
    threads = [threading.Thread(target=lambda: numbers.append(ca.write_crl())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(2, 10))
    assert _number(tmp_path / "ca" / "issuing.crl.pem") == 9


def test_a_ca_is_never_made_over_another(ca: DevelopmentAuthority, tmp_path: Path) -> None:
    before = (tmp_path / "ca" / "root.key.pem").read_bytes()
    with pytest.raises(StateError, match="there is a CA in"):
        ca.initialise("Another")
    assert (tmp_path / "ca" / "root.key.pem").read_bytes() == before


def test_where_there_is_no_ca_it_says_how_to_make_one(tmp_path: Path, clock: ManualClock) -> None:
    authority = DevelopmentAuthority(tmp_path / "nothing", clock)
    for doing in (
        lambda: authority.issue("taro", "Taro", tmp_path, password="x"),
        lambda: authority.issue_server(["localhost"], tmp_path),
        lambda: authority.revoke(1),
        authority.write_crl,
    ):
        with pytest.raises(StateError, match=r"make one with: mtls-gateway ca init --directory .*nothing"):
            doing()


@pytest.mark.parametrize(
    ("user_id", "common_name", "password", "cause"),
    [
        ("", "x", "x", "not a user ID"),
        ("../taro", "x", "x", "not a user ID"),
        (".taro", "x", "x", "not a user ID"),
        ("taro", "a\x00b", "x", "control character"),
        ("taro", "", "x", "cannot stand in a certificate"),
        ("taro", "x" * 65, "x", "cannot stand in a certificate"),
        ("taro", "x", "", "needs a password"),
    ],
)
def test_what_cannot_stand_in_a_certificate_is_refused(
    user_id: str, common_name: str, password: str, cause: str, ca: DevelopmentAuthority, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=cause):
        ca.issue(user_id, common_name, tmp_path, password=password)


@pytest.mark.parametrize("names", [[], ["a b"], [""], ["ok.localhost", "日本.localhost"], ["-*"]])
def test_what_is_no_host_is_refused(names: list[str], ca: DevelopmentAuthority, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        ca.issue_server(names, tmp_path)


def test_a_key_that_is_not_the_certificates_is_refused(ca: DevelopmentAuthority, tmp_path: Path) -> None:
    root = (tmp_path / "ca" / "root.key.pem").read_bytes()
    (tmp_path / "ca" / "issuing.key.pem").write_bytes(root)
    with pytest.raises(StateError, match=r"issuing\.key\.pem is not the key of"):
        ca.issue("taro", "Taro", tmp_path, password="x")
