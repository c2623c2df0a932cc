"""Our own CRL: there before trust asks for it, published to everybody, and read as anybody else's (clause C.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import insert

from mtls_gateway.clock import SystemClock
from mtls_gateway.demo.cast import PUBLIC_HOST
from mtls_gateway.demo.client import Answer
from mtls_gateway.demo.material import Material
from mtls_gateway.demo.run import process
from mtls_gateway.issuance.validity import one_calendar_year
from mtls_gateway.model import CertificateId, CertificateState, print_serial
from mtls_gateway.store.opening import Store
from mtls_gateway.store.schema import certificates
from tests.promises.test_kill_9 import kill
from tests.promises.whole_gateway import WholeGateway, authorities, eventually, mtls_gateway, prepared, whole_gateway

NAME = "demo-issuing"


def _own(material: Material, **signer: Any) -> Mapping[str, Any]:
    """The demo's issuing CA, its key given to the signer, its CRL the signer's."""
    issuer = {
        "name": NAME,
        "active": True,
        "certificate": "ca/issuing.cert.pem",
        "chain": ["ca/root.cert.pem"],
        "key": {"kind": "pem", "file": "ca/issuing.key.pem", "unencrypted": True},
        "crl_url": f"https://{PUBLIC_HOST}/gateway/crl/{NAME}.crl",
    }
    trusted = authorities(material.configuration)
    (own,) = (one for one in trusted if one["name"] == NAME)
    own["crls"] = [{"source": f"state/published/{NAME}.crl", "refresh": 0.2}]
    return {
        "signer": {"issuers": [issuer], **signer},
        "issuance": {"organisation": "Demo Shinkumi", "crl": {"shortest": 0.2}, "finish_every": 0.5},
        "trust": {"authorities": trusted},
    }


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("own-crl"), _own) as running:
        yield running


def fetched(gateway: WholeGateway) -> Answer:
    """The list as a stranger gets it on the public host, without certificate and session."""
    return gateway.browser().get(PUBLIC_HOST, f"/gateway/crl/{NAME}.crl")


def published(gateway: WholeGateway) -> x509.CertificateRevocationList:
    answer = fetched(gateway)
    assert answer.status == 200
    return x509.load_der_x509_crl(answer.body)


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def lists(gateway: WholeGateway, serial: int) -> bool:
    return published(gateway).get_revoked_certificate_by_serial_number(serial) is not None


def revoke(gateway: WholeGateway) -> int:
    """A newcomer's certificate, as an operator does; returns its serial."""
    serial = gateway.newcomer().certificate.serial
    gateway.cli("certificate", "revoke", print_serial(serial), "--reason", "keyCompromise")
    return serial


def test_at_the_very_first_start_the_list_is_signed_before_trust_asks_for_it(gateway: WholeGateway) -> None:
    assert f"published/{NAME}.crl is not there: a signer is started to sign it" in gateway.log
    file = gateway.material.directory / "state" / "published" / f"{NAME}.crl"
    assert file.stat().st_mode & 0o777 == 0o644
    answer = fetched(gateway)
    assert answer.body == file.read_bytes()
    assert answer.headers["Content-Type"] == "application/pkix-crl"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert gateway.metric_reaches(6.9 * 86_400, "mtls_gateway_crl_seconds_left", authority=NAME)
    assert gateway.browser().get(PUBLIC_HOST, "/gateway/crl/nobody.crl").status == 404


def test_a_revocation_is_published_within_a_second_and_in_force_as_any_other_list(gateway: WholeGateway) -> None:
    before = number(published(gateway))
    serial = revoke(gateway)
    assert eventually(lambda: lists(gateway, serial), 2.0)
    crl = published(gateway)
    assert number(crl) > before
    entry = crl.get_revoked_certificate_by_serial_number(serial)
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    assert gateway.metric_reaches(len(crl), "mtls_gateway_crl_entries", authority=NAME)
    assert gateway.metric("mtls_gateway_own_crl_number", issuer=NAME) == number(crl)


async def _revoke(certificate: CertificateId, store: Store) -> None:
    await store.certificates.revoke(certificate, actor="test")


def test_many_revocations_at_once_do_not_make_as_many_lists(gateway: WholeGateway) -> None:
    before = number(published(gateway))
    certificates = [gateway.newcomer().certificate for _ in range(12)]
    for certificate in certificates:
        gateway.store(partial(_revoke, certificate))
    assert eventually(lambda: all(lists(gateway, one.serial) for one in certificates))
    assert number(published(gateway)) - before < len(certificates)


@pytest.mark.parametrize("role", ["clerk", "signer"])
def test_whoever_is_killed_the_next_revocation_is_published(gateway: WholeGateway, role: str) -> None:
    kill(gateway, role)
    serial = revoke(gateway)
    assert eventually(lambda: lists(gateway, serial), 30.0)


def test_a_certificate_that_was_written_down_and_never_signed_is_finished(gateway: WholeGateway) -> None:
    user_id = gateway.new_user()
    now = float(int(SystemClock().now()))
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    first, last = one_calendar_year(now)
    issuer = gateway.newcomer().certificate.issuer
    certificate = CertificateId(issuer, x509.random_serial_number())
    row = {
        "issuer": issuer,
        "serial": print_serial(certificate.serial),
        "user_id": user_id,
        "state": CertificateState.INTENDED,
        "not_before": first.timestamp(),
        "not_after": last.timestamp(),
        # Whoever wrote it down was killed a good minute ago.
        "registered": now - 61.0,
        "common_name": user_id,
        "organisation": "Demo Shinkumi",
        "public_key": key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "public_key_digest": b"unfinished".ljust(32),
    }

    async def write(store: Store) -> None:
        async with store.crls._database.writing("prepare a test") as connection:
            await connection.execute(insert(certificates).values(row))

    gateway.store(write)

    def is_finished() -> bool:
        registration = gateway.store(lambda store: store.certificates.registration(certificate))
        return registration is not None and registration.state is CertificateState.AWAITING

    assert eventually(is_finished, 10.0)


def test_an_operator_can_have_it_signed_now(gateway: WholeGateway) -> None:
    before = number(published(gateway))
    assert NAME in gateway.cli("crl", "sign")
    assert number(published(gateway)) > before
    assert gateway.cli("crl", "sign", "--missing") == "every issuer has a CRL\n"


def test_without_a_signer_that_could_sign_it_there_is_no_start(tmp_path: Path) -> None:
    material, _ = prepared(tmp_path, lambda material: _own(material, role=False))
    started = mtls_gateway(material.configuration, "serve")
    assert started.returncode == 2
    line = started.stderr.strip().splitlines()[-1]
    assert f"state/published/{NAME}.crl: issuance.crl: is not there, and nobody can sign it: start the signer" in line
    # With it, started alone as the documentation says, there is.
    with process(material.log("signer"), ["-m", "mtls_gateway", "--config", str(material.configuration), "signer"]):
        assert eventually(lambda: mtls_gateway(material.configuration, "crl", "sign").returncode == 0, 30.0)
    assert mtls_gateway(material.configuration, "check-config").returncode == 0


def test_a_list_that_is_not_there_yet_is_no_mistake_of_the_configuration(tmp_path: Path) -> None:
    material, _ = prepared(tmp_path, _own)
    checked = mtls_gateway(material.configuration, "check-config")
    assert (checked.returncode, checked.stderr) == (0, "")
