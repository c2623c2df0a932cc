"""Only the signer holds the CA's key (clause D.7), and it is a role of ``serve`` like the others."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.material import Material
from mtls_gateway.demo.visit import place
from mtls_gateway.errors import SignerRefused, SignerUnavailable
from mtls_gateway.issuance.key_files import PUBLIC, replace_file
from mtls_gateway.issuance.orders import CrlOrder, IntendedCertificate, RevokedEntry
from mtls_gateway.issuance.signer_client import SignerClient
from mtls_gateway.issuance.validity import one_calendar_year
from mtls_gateway.model import CertificateId, Code
from mtls_gateway.store.certificates import NewCertificate
from tests.promises.test_kill_9 import kill, processes
from tests.promises.whole_gateway import Person, WholeGateway, eventually, prepared, whole_gateway


def _with_signer(material: Material, **changed: Any) -> dict[str, Any]:
    """The demo's issuing CA, its key given to the signer."""
    issuer = {
        "name": "demo-issuing",
        "active": True,
        "certificate": "ca/issuing.cert.pem",
        "chain": ["ca/root.cert.pem"],
        "key": {"kind": "pem", "file": "ca/issuing.key.pem", "unencrypted": True},
        "crl_url": "http://pki.localhost/issuing.crl",
        **changed,
    }
    return {"signer": {"issuers": [issuer]}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("signer"), _with_signer) as running:
        yield running


def _socket(gateway: WholeGateway) -> Path:
    return gateway.material.directory / "state" / "run" / "signer.sock"


def _order(user_id: str, key: ec.EllipticCurvePrivateKey | None = None) -> IntendedCertificate:
    made = key or ec.generate_private_key(ec.SECP256R1())
    first, last = one_calendar_year(time.time())
    return IntendedCertificate(
        serial=x509.random_serial_number(),
        user_id=user_id,
        common_name=user_id,
        organisation="株式会社山田商店",
        not_before=first.timestamp(),
        not_after=last.timestamp(),
        public_key=made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


def _sign(gateway: WholeGateway, order: IntendedCertificate) -> bytes:
    async def ask() -> bytes:
        client = SignerClient(_socket(gateway))
        try:
            return await client.sign_certificate(order)
        finally:
            await client.close()

    return asyncio.run(ask())


def _signs_again(gateway: WholeGateway, order: IntendedCertificate) -> bytes | None:
    try:
        return _sign(gateway, order)
    except SignerUnavailable:
        return None


def _acquire(gateway: WholeGateway) -> Person:
    """A user whose key was made here and whose certificate the signer has signed."""
    user_id = gateway.new_user()
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.load_der_x509_certificate(_sign(gateway, _order(user_id, key)))
    identity = CertificateId(made.issuer.rfc4514_string(), made.serial_number)
    gateway.register(NewCertificate(identity, user_id, made.not_valid_after_utc.timestamp()))
    pem = gateway.folder() / "both.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return Person(user_id, identity, pem)


def test_what_the_signer_has_signed_signs_in_until_the_signers_crl_revokes_it(gateway: WholeGateway) -> None:
    person = _acquire(gateway)
    browser = gateway.signed_in(person)
    # One more than the development CA, which shares the key here, has made.
    crl_file = gateway.material.certificates.authority / "issuing.crl.pem"
    before = x509.load_pem_x509_crl(crl_file.read_bytes())
    number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
    now = float(int(time.time()))
    revoked = {entry.serial_number: entry.revocation_date_utc.timestamp() for entry in before}
    # Nor may anything be left out that the clerk's own CRL of this issuer has.
    published = gateway.material.directory / "state" / "published" / "demo-issuing.crl"
    assert eventually(published.exists)
    theirs = x509.load_der_x509_crl(published.read_bytes())
    revoked |= {entry.serial_number: entry.revocation_date_utc.timestamp() for entry in theirs}
    number = max(number, theirs.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1)
    entries = [RevokedEntry(serial, at) for serial, at in revoked.items()]
    entries.append(RevokedEntry(person.certificate.serial, now, "keyCompromise"))
    order = CrlOrder("demo-issuing", number, now, now + 86_400, entries)

    async def ask() -> bytes:
        client = SignerClient(_socket(gateway))
        try:
            return await client.sign_crl(order)
        finally:
            await client.close()

    crl = x509.load_der_x509_crl(asyncio.run(ask()))
    replace_file(crl_file, crl.public_bytes(Encoding.PEM), PUBLIC)
    assert eventually(lambda: place(browser.get(CERTIFICATE_HOST, "/home")) == Code.CERTIFICATE_REVOKED.value)


def test_a_killed_signer_is_replaced_and_the_same_order_is_the_same_certificate(gateway: WholeGateway) -> None:
    order = _order("taro")
    made = _sign(gateway, order)
    kill(gateway, "signer")
    assert eventually(lambda: _signs_again(gateway, order) == made, 20)
    rival = _order("jiro")
    with pytest.raises(SignerRefused, match="serial_used"):
        _sign(gateway, IntendedCertificate(order.serial, *_but_serial(rival)))


def _but_serial(order: IntendedCertificate) -> tuple[Any, ...]:
    return tuple(getattr(order, name) for name in list(order.__dataclass_fields__)[1:])


def test_a_reload_replaces_the_signer_without_a_failed_order(gateway: WholeGateway) -> None:
    before = processes(gateway, "signer")
    assert len(before) == 1
    failed: list[BaseException] = []
    done = 0
    stop = threading.Event()

    async def ask() -> None:
        nonlocal done
        client = SignerClient(_socket(gateway))
        while not stop.is_set():
            try:
                await client.sign_certificate(_order("taro"))
                done += 1
                await asyncio.sleep(0.02)
            except SignerUnavailable as error:
                failed.append(error)
        await client.close()

    asking = threading.Thread(target=lambda: asyncio.run(ask()))
    asking.start()
    try:
        os.kill(gateway.process.pid, signal.SIGHUP)
        assert eventually(lambda: len(now := processes(gateway, "signer")) == 1 and now != before, 40)
    finally:
        stop.set()
        asking.join()
    assert not failed
    assert done > 10


def test_a_reload_with_a_key_that_does_not_fit_is_refused_and_everything_stays(gateway: WholeGateway) -> None:
    before = processes(gateway, "signer")
    key = gateway.material.certificates.authority / "issuing.key.pem"
    good = key.read_bytes()
    other = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        os.kill(gateway.process.pid, signal.SIGHUP)
        refused = "reload refused, everything stays as it was: .*the key is not the one that this certificate is for"
        assert eventually(lambda: re.search(refused, gateway.log) is not None, 30)
        assert processes(gateway, "signer") == before
        _sign(gateway, _order("taro"))
    finally:
        key.write_bytes(good)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read another process's memory")
def test_no_other_process_has_the_key_in_its_memory(gateway: WholeGateway) -> None:
    key = load_pem_private_key((gateway.material.certificates.authority / "issuing.key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    _sign(gateway, _order("taro"))
    # The look is good for something: where the key is, it is found.
    (signer,) = processes(gateway, "signer")
    assert _holds(signer, scalar)
    others = [
        gateway.process.pid,
        *(pid for role in ("gateway", "portal", "clerk") for pid in processes(gateway, role)),
    ]
    assert len(others) == 5
    assert not [pid for pid in others if _holds(pid, scalar)]


_LOOK = """
import sys
wanted = bytes.fromhex(sys.argv[2])
found = False
with open(f"/proc/{sys.argv[1]}/maps") as maps, open(f"/proc/{sys.argv[1]}/mem", "rb", 0) as memory:
    for line in maps:
        words = line.split()
        if not words[1].startswith("rw") or words[-1] in ("[vvar]", "[vsyscall]"):
            continue
        begin, end = (int(word, 16) for word in words[0].split("-"))
        try:
            memory.seek(begin)
            octets = memory.read(end - begin)
        except OSError:
            continue
        # As octets of DER, or as a big number of OpenSSL's.
        found = found or wanted in octets or wanted[::-1] in octets
print(found)
"""


def _holds(pid: int, scalar: bytes) -> bool:
    looked = subprocess.run(
        [sys.executable, "-c", _LOOK, str(pid), scalar.hex()], check=True, capture_output=True, text=True
    )
    return looked.stdout == "True\n"


def test_the_signer_listens_on_its_private_socket_only(gateway: WholeGateway) -> None:
    (signer,) = processes(gateway, "signer")
    held = set()
    for entry in Path(f"/proc/{signer}/fd").iterdir():
        try:
            held.add(str(entry.readlink()))
        except FileNotFoundError:
            continue
    sockets = {re.sub(r"\D", "", name) for name in held if name.startswith("socket:")}
    tcp = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    inodes = {line.split()[9] for line in tcp.splitlines() if "local_address" not in line}
    assert inodes
    assert sockets
    assert not inodes & sockets
    assert _socket(gateway).stat().st_mode & 0o777 == 0o600


def test_its_figures_are_among_the_gateways(gateway: WholeGateway) -> None:
    _sign(gateway, _order("taro"))
    with pytest.raises(SignerRefused):
        _sign(gateway, _order("not an ID"))
    assert gateway.metric("mtls_gateway_signatures_total", kind="certificate", outcome="signed") >= 1
    assert gateway.metric("mtls_gateway_signer_refusals_total", rule="user_id") >= 1
    assert gateway.metric("mtls_gateway_signature_seconds_count", kind="certificate") >= 1
    ends = x509.load_pem_x509_certificate(
        (gateway.material.certificates.authority / "issuing.cert.pem").read_bytes()
    ).not_valid_after_utc.timestamp()
    assert gateway.metric("mtls_gateway_issuer_not_after_seconds", issuer="demo-issuing") == ends
    assert gateway.metric("mtls_gateway_signer_journal_records") >= 2


def test_serve_does_not_start_with_a_key_that_does_not_fit(tmp_path: Path) -> None:
    material, _ = prepared(
        tmp_path,
        lambda material: _with_signer(material, key={"kind": "pem", "file": "ca/root.key.pem", "unencrypted": True}),
    )
    words = [sys.executable, "-m", "mtls_gateway", "--config", str(material.configuration)]
    for command in ("serve", "check-config"):
        ended = subprocess.run([*words, command], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 2
        assert "the key is not the one that this certificate is for" in ended.stderr.splitlines()[-1]
