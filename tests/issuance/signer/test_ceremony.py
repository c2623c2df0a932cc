from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mtls_gateway.errors import ConfigurationError, GatewayError, StateError, UsageError
from mtls_gateway.issuance.key_files import PRIVATE, replace_file
from mtls_gateway.issuance.signer.ceremony import Ceremony, IssuingPlan, RootPlan
from mtls_gateway.issuance.signer.key import KeyUnavailable
from mtls_gateway.issuance.signer.minutes import MadeCertificate, Occasion, write_minutes
from mtls_gateway.issuance.validity import JST
from mtls_gateway.trust.bundle import load_bundle
from mtls_gateway.trust.crl import check_crl
from mtls_gateway.trust.entries import revoked_serials

from .world import NOW, PASSPHRASE, ROOT_CRL_URL, ROOT_PASSPHRASE, World


def _crl(world: World) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl((world.ca / "root.crl.der").read_bytes())


def _number(world: World) -> int:
    return _crl(world).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_ceremony_makes_a_root_that_may_have_issuing_cas_below_it_and_no_others(either: World) -> None:
    made = either.begin()
    made.issuing.verify_directly_issued_by(made.root)
    made.root.verify_directly_issued_by(made.root)
    for certificate, length in ((made.root, 1), (made.issuing, 0)):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert (constraints.value.ca, constraints.value.path_length) == (True, length)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_cert_sign
        assert usage.crl_sign
        assert not usage.digital_signature
        assert certificate.serial_number.bit_length() > 64
    (point,) = made.issuing.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name == [x509.UniformResourceIdentifier(ROOT_CRL_URL)]
    key = made.root.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert _crl(either).is_signature_valid(key)
    assert _number(either) == made.root_crl_number == 1
    assert made.issuing.not_valid_after_utc.astimezone(JST) == datetime(2035, 1, 15, 23, 59, 59, tzinfo=JST)
    bundle = load_bundle(either.configuration().trust)
    assert {authority.name for authority in bundle} == {"issuing-1", "root"}
    (issuing,) = (authority for authority in bundle if authority.name == "issuing-1")
    first = check_crl((either.ca / "issuing-1.crl.der").read_bytes(), "issuing-1.crl", issuing, NOW)
    assert (first.number, first.next_update) == (0, NOW + 30 * 86_400)
    assert revoked_serials(first, []) == set()


def test_its_keys_are_encrypted_and_nobody_elses(world: World) -> None:
    world.begin()
    for name, passphrase in (("root", ROOT_PASSPHRASE), ("issuing-1", PASSPHRASE)):
        path = world.ca / f"{name}.key.pem"
        assert path.stat().st_mode & 0o777 == 0o600
        key = load_pem_private_key(path.read_bytes(), passphrase)
        assert key.public_key() == world.certificate(name).public_key()
        with pytest.raises(TypeError):
            load_pem_private_key(path.read_bytes(), None)


@pytest.mark.needs("softhsm2")
def test_an_issuing_key_that_is_made_in_a_token_is_in_no_file(token_world: World) -> None:
    token_world.begin()
    assert sorted(path.name for path in token_world.ca.iterdir() if "key" in path.name) == ["root.key.pem"]


def test_an_rsa_hierarchy_is_made_too(world: World) -> None:
    made = world.begin(root_key="RSA-4096", issuing_key="RSA-3072")
    sizes = [key.key_size for one in (made.root, made.issuing) if isinstance(key := one.public_key(), rsa.RSAPublicKey)]
    assert sizes == [4_096, 3_072]


def test_a_roll_over_makes_another_issuing_ca_below_the_same_root(either: World) -> None:
    first = either.begin()
    either.clock.advance(7 * 365 * 86_400)
    second = either.roll_over()
    second.issuing.verify_directly_issued_by(first.root)
    assert second.root == first.root
    assert second.issuing.public_key() != first.issuing.public_key()
    assert second.issuing.subject != first.issuing.subject
    assert _number(either) == second.root_crl_number == 2
    names = {authority.name for authority in load_bundle(either.configuration().trust)}
    assert names == {"issuing-1", "issuing-2", "root"}


def test_the_roots_next_crl_keeps_what_was_revoked_before(world: World) -> None:
    world.begin()
    world.roll_over()
    work = Ceremony(world.ca, world.clock)
    number, _ = work.renew_crl(ROOT_PASSPHRASE, 400, [(world.ca / "issuing-1.cert.pem", "keyCompromise")])
    assert number == _number(world) == 3
    number, _ = work.renew_crl(ROOT_PASSPHRASE, 400)
    assert number == _number(world) == 4
    (entry,) = _crl(world)
    assert entry.serial_number == world.certificate("issuing-1").serial_number
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    with pytest.raises(StateError, match="was revoked before"):
        work.renew_crl(ROOT_PASSPHRASE, 400, [(world.ca / "issuing-1.cert.pem", "superseded")])


def test_nothing_is_made_over_what_is_there(world: World) -> None:
    world.begin()
    before = {path: path.read_bytes() for path in world.ca.iterdir()}
    work = Ceremony(world.ca, world.clock)
    root = RootPlan("Shinkumi", "Shinkumi Root CA", "P-256", 20)
    with pytest.raises(StateError, match=r"root\.key\.pem is there already"):
        work.begin(root, world.plan("issuing-9", "Nine"), ROOT_PASSPHRASE, 400)
    with pytest.raises(StateError, match=r"issuing-1\.key\.pem is there already"):
        work.roll_over(world.plan("issuing-1", "Another"), ROOT_PASSPHRASE, 400)
    with pytest.raises(KeyUnavailable, match="is the passphrase right"):
        work.roll_over(world.plan("issuing-9", "Nine"), b"a wrong passphrase", 400)
    with pytest.raises(StateError, match="there is no root"):
        Ceremony(world.folder / "elsewhere", world.clock).roll_over(world.plan("x", "X"), ROOT_PASSPHRASE, 400)
    assert {path: path.read_bytes() for path in world.ca.iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"secret": b"short"}, "has less than 12 octets"),
        ({"secret": ROOT_PASSPHRASE}, "have the same passphrase"),
        ({"common_name": "Shinkumi Root CA"}, "have the same name"),
        ({"common_name": ""}, "cannot stand in a certificate"),
        ({"years": 21}, "would outlive its root"),
    ],
)
def test_what_would_be_no_good_ca_is_refused(world: World, changed: dict[str, object], cause: str) -> None:
    plan = world.plan("issuing-1", "Shinkumi Issuing CA 1")
    values = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    root = RootPlan("Shinkumi", "Shinkumi Root CA", "P-256", 20)
    with pytest.raises(UsageError, match=cause):
        Ceremony(world.ca, world.clock).begin(root, IssuingPlan(**{**values, **changed}), ROOT_PASSPHRASE, 400)
    assert not world.ca.exists() or not list(world.ca.iterdir())


def test_the_minutes_say_in_japanese_and_english_what_was_made_and_where_to_sign(world: World) -> None:
    made = world.begin()
    people = ("立会人 山田 太郎", "鍵管理者 鈴木 花子")
    certificates = [
        MadeCertificate("ルート認証局", "root", made.root, "root.key.pem", "root.key.pem"),
        MadeCertificate("発行認証局", "issuing CA", made.issuing, "issuing-1.key.pem", "issuing-1.key.pem"),
    ]
    occasion = Occasion("ルート認証局の作成", "root CA", "本店 会議室", people, NOW)
    japanese, english = write_minutes(occasion, certificates, 1, made.files).split("\f")
    for page in (japanese, english):
        printed = "".join(page.split())
        for certificate in (made.root, made.issuing):
            assert certificate.fingerprint(hashes.SHA256()).hex().upper() in printed
            assert format(certificate.serial_number, "x") in printed
        for path in made.files:
            assert path.name in page
        assert page.count("山田 太郎") == page.count("鈴木 花子") == 2
        assert "2027-01-15 17:00:00 JST" in page
    assert "認証局鍵生成式 議事録" in japanese
    assert japanese.count("署名: ____") == 2
    assert "Minutes of a key ceremony" in english
    assert english.count("Signature: ____") == 2


# --- starting with what a ceremony has made --------------------------------------------------------
def _start(world: World) -> None:
    world.desk().close()


def _swap_keys(world: World) -> None:
    (world.ca / "issuing-1.key.pem").write_bytes((world.ca / "issuing-2.key.pem").read_bytes())


def _swap_certificates(world: World) -> None:
    (world.ca / "issuing-1.cert.pem").write_bytes((world.ca / "issuing-2.cert.pem").read_bytes())


def _same_issuer_twice(world: World) -> None:
    world.issuers[0] = {**world.issuers[1], "name": "issuing-1", "active": False}


def _root_as_issuer(world: World) -> None:
    world.issuers[0]["chain"] = ["ca/issuing-2.cert.pem"]


def _chain_without_root(world: World) -> None:
    world.issuers[0]["certificate"] = "ca/issuing-1.cert.pem"
    world.issuers[0]["chain"] = ["ca/issuing-1.cert.pem"]


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (_swap_keys, "the key is not the one that this certificate is for"),
        (_swap_certificates, "the key is not the one that this certificate is for"),
        (_same_issuer_twice, "two issuers are called CN=Shinkumi Issuing CA 2"),
        (_root_as_issuer, "is not issued by the next one of its chain"),
        (_chain_without_root, "is not issued by the next one of its chain"),
        (lambda world: (world.ca / "issuing-1.cert.pem").unlink(), "cannot be read: No such file"),
        (lambda world: (world.ca / "issuing-1.cert.pem").write_bytes(b""), "is no certificate in PEM"),
        (lambda world: (world.ca / "issuing-1.key.pem").unlink(), "cannot be read: No such file"),
        (lambda world: (world.ca / "issuing-1.key.pem").chmod(0o644), "may be read by others; run: chmod 0600"),
        (lambda world: (world.configuration().state / "signer").mkdir(mode=0o755), "may be entered by others"),
        (lambda world: (world.configuration().state / "signer").write_bytes(b""), "cannot be made: File exists"),
        (lambda world: world.clock.set(NOW - 1), "is not valid before 2027-01-15"),
        (lambda world: world.clock.advance(9 * 365 * 86_400), "expired on 2035-01-15"),
    ],
)
def test_what_does_not_fit_together_is_one_line_that_says_what_to_do(world: World, spoil: object, cause: str) -> None:
    world.begin()
    world.roll_over()
    _start(world)
    subprocess.run(["rm", "-r", str(world.folder / "state")], check=True)
    assert callable(spoil)
    spoil(world)
    replace_file(world.folder / "secret-28", PASSPHRASE, PRIVATE)
    with pytest.raises(GatewayError, match=cause) as refused:
        _start(world)
    assert "\n" not in str(refused.value)


def test_a_configuration_without_an_active_issuer_or_with_two_is_refused(world: World) -> None:
    world.begin()
    world.roll_over()
    for active in (False, True):
        for one in world.issuers:
            one["active"] = active
        with pytest.raises(ConfigurationError, match=r"[02] issuers are active; set active = true on the one"):
            world.configuration()


def test_the_folder_holds_nothing_else(world: World) -> None:
    world.begin()
    names = sorted(Path(path).name for path in world.ca.iterdir())
    assert names == [
        "issuing-1.cert.pem",
        "issuing-1.crl.der",
        "issuing-1.crl.pem",
        "issuing-1.key.pem",
        "root.cert.pem",
        "root.crl.der",
        "root.crl.pem",
        "root.key.pem",
    ]
