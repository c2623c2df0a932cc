"""What the demo makes fits what it says of it: configuration, certificates, CRL and database agree."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import read_configuration
from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import Defect, Trouble
from mtls_gateway.demo.material import Material, Ports, make_material
from mtls_gateway.model import CertificateId, CertificateState, Method
from mtls_gateway.store.opening import open_store

NOW = 1_790_000_000.0
DAY = 86_400.0
PORTS = Ports(gateway=8443, operations=9464, bank=8080)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def material(tmp_path: Path, clock: ManualClock) -> Material:
    return make_material(tmp_path / "demo", PORTS, fresh=False, clock=clock)


def identity(material: Material, name: str) -> CertificateId:
    return material.certificates.identity(name)[0]


def test_every_certificate_of_the_cast_has_its_user_and_every_user_its_company() -> None:
    users = {user.user_id: user.company_id for user in cast.USERS}
    assert {certificate.user_id for certificate in cast.CERTIFICATES} <= set(users)
    assert set(users.values()) == {company.company_id for company in cast.COMPANIES}
    assert set(cast.PASSWORD_USERS) <= set(users)


def test_the_configuration_is_valid_and_names_two_hosts_on_one_port(material: Material) -> None:
    configuration = read_configuration(material.configuration)
    assert configuration.public.origin == "https://bank.localhost:8443"
    assert configuration.certificate.origin == "https://cert.bank.localhost:8443"
    assert configuration.operations.workers == 2


async def test_the_database_has_every_case(tmp_path: Path, clock: ManualClock) -> None:
    material = await asyncio.to_thread(make_material, tmp_path / "demo", PORTS, fresh=False, clock=clock)
    store = await open_store(read_configuration(material.configuration).database_url, clock)
    try:
        found = {}
        for certificate in cast.CERTIFICATES:
            found[certificate.name] = await store.certificates.registration(identity(material, certificate.name))
    finally:
        await store.close()
    assert found.pop("unregistered") is None
    states = {name: registration.state for name, registration in found.items() if registration is not None}
    assert set(states) == set(found)
    assert {name for name, state in states.items() if state is not CertificateState.VALID} == {"superseded"}
    users = {name: registration.user for name, registration in found.items() if registration is not None}
    assert users["stopped-user"].stopped
    assert users["locked-out-user"].suspended_until == NOW + 1800
    assert users["suspended-company"].company_suspended
    assert users["password-company"].company_method is Method.PASSWORD
    assert users["migrating-company"].company_method is Method.MIGRATING


def test_the_crl_has_the_revoked_certificate_and_another_one_when_told_so(material: Material) -> None:
    def read() -> tuple[int, set[int]]:
        crl = x509.load_pem_x509_crl((material.certificates.authority / "issuing.crl.pem").read_bytes())
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        return number, {entry.serial_number for entry in crl}

    number, serials = read()
    assert serials == {identity(material, "revoked").serial}
    material.certificates.revoke("revoked-later")
    assert read() == (number + 1, serials | {identity(material, "revoked-later").serial})


def test_the_certificates_have_the_lives_they_are_said_to_have(material: Material) -> None:
    for wanted in cast.CERTIFICATES:
        certificate = x509.load_pem_x509_certificate(material.certificates.user(wanted.name).read_bytes())
        begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        assert (begins <= NOW) == (wanted.defect is not Defect.NOT_YET_VALID)
        assert (ends > NOW) == (wanted.defect is not Defect.EXPIRED)


def test_private_keys_are_their_owners_only_and_the_p12_opens(material: Material) -> None:
    keys = [*material.directory.rglob("*.key.pem"), *material.certificates.users.iterdir()]
    assert len(keys) == 2 + 2 * 3 + 2 * len(cast.CERTIFICATES)
    assert {oct(key.stat().st_mode & 0o777) for key in keys} == {"0o600"}
    packed = (material.certificates.users / "good.p12").read_bytes()
    assert pkcs12.load_pkcs12(packed, cast.PKCS12_PASSWORD.encode()).cert is not None


def test_a_second_start_keeps_the_certificates_and_takes_the_new_ports(
    material: Material, tmp_path: Path, clock: ManualClock
) -> None:
    before = identity(material, "good")
    clock.advance(DAY)
    again = make_material(tmp_path / "demo", Ports(9443, 9465, 8081), fresh=False, clock=clock)
    assert identity(again, "good") == before
    assert read_configuration(again.configuration).legacy.backends == ("http://127.0.0.1:8081",)
    clock.advance(7 * DAY)
    assert identity(make_material(tmp_path / "demo", PORTS, fresh=False, clock=clock), "good") != before


def test_files_of_others_in_the_directory_are_left_alone(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "ca").mkdir()
    make_material(tmp_path, PORTS, fresh=True, clock=clock)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_somebody_is_locked_out() -> None:
    assert [user.user_id for user in cast.USERS if user.trouble is Trouble.LOCKED_OUT] == ["yamada11"]
