"""Certificates and CRLs as programs read them that nobody here wrote, and as the gateway's own trust does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.issuance.orders import CrlOrder, RevokedEntry
from mtls_gateway.issuance.signer.key_pkcs11 import KeyKind
from mtls_gateway.trust.bundle import load_bundle
from mtls_gateway.trust.crl import check_crl
from mtls_gateway.trust.entries import revoked_serials

from .world import NOW, World

DAY = 86_400
LINTERS = Path(sys.executable).parent


def _run(*words: str | Path) -> str:
    ran = subprocess.run([str(word) for word in words], check=False, capture_output=True, text=True)
    return f"{ran.stdout}{ran.stderr}exit status {ran.returncode}".lstrip()


class Papers:
    """What one signer has made, as files in PEM."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.good = world.folder / "good.pem"
        self.bad = world.folder / "bad.pem"
        self.crl = world.folder / "issuing-1.crl.pem"
        self.root = world.ca / "root.cert.pem"
        self.issuing = world.ca / "issuing-1.cert.pem"
        self.root_crl = world.ca / "root.crl.pem"
        self.crl_der = b""

    async def make(self) -> None:
        async with self.world.serving() as client:
            bad = self.world.order("jiro")
            for path, order in ((self.good, self.world.order()), (self.bad, bad)):
                made = x509.load_der_x509_certificate(await client.sign_certificate(order))
                path.write_bytes(made.public_bytes(Encoding.PEM))
            entries = [RevokedEntry(bad.serial, NOW - 60, "keyCompromise"), RevokedEntry(77, NOW - 90)]
            self.crl_der = await client.sign_crl(CrlOrder("issuing-1", 3, NOW, NOW + DAY, entries))
            self.crl.write_bytes(x509.load_der_x509_crl(self.crl_der).public_bytes(Encoding.PEM))


KINDS: list[tuple[KeyKind, KeyKind]] = [("P-384", "P-256"), ("P-256", "P-384"), ("RSA-4096", "RSA-3072")]


@pytest.fixture(params=KINDS, ids="-".join)
async def papers(world: World, request: pytest.FixtureRequest) -> Papers:
    root_key, issuing_key = request.param
    world.begin(root_key=root_key, issuing_key=issuing_key)
    made = Papers(world)
    await made.make()
    return made


@pytest.mark.needs("openssl")
async def test_openssl_verifies_them_and_the_whole_chains_crls(papers: Papers) -> None:
    together = papers.world.folder / "crls.pem"
    together.write_bytes(papers.crl.read_bytes() + papers.root_crl.read_bytes())
    words = [
        "openssl",
        "verify",
        "-x509_strict",
        "-crl_check_all",
        "-purpose",
        "sslclient",
        "-attime",
        str(int(NOW) + 5),
    ]
    words += ["-CAfile", str(papers.root), "-untrusted", str(papers.issuing), "-CRLfile", str(together)]
    assert _run(*words, papers.good).endswith("good.pem: OK\nexit status 0")
    assert "certificate revoked" in _run(*words, papers.bad)
    server = [word if word != "sslclient" else "sslserver" for word in words]
    assert "unsuitable certificate purpose" in _run(*server, papers.good)


@pytest.mark.needs("openssl")
async def test_openssl_reads_the_crl(papers: Papers) -> None:
    said = _run("openssl", "crl", "-in", papers.crl, "-noout", "-text", "-CAfile", papers.issuing)
    assert "verify OK" in said
    assert "Key Compromise" in said
    assert "X509v3 CRL Number: \n                3\n" in said


@pytest.mark.needs("certtool")
async def test_gnutls_reads_them(papers: Papers) -> None:
    said = _run("certtool", "--certificate-info", "--infile", papers.good)
    assert "TLS WWW Client" in said
    assert "Certificate Authority (CA): FALSE" in said
    assert "exit status 0" in said
    said = _run("certtool", "--crl-info", "--infile", papers.crl)
    assert "Revoked certificates (2)" in said
    assert "exit status 0" in said


async def test_a_linter_of_rfc_5280_finds_nothing(papers: Papers) -> None:
    for path in (papers.good, papers.issuing, papers.root):
        assert _run(LINTERS / "lint_pkix_cert", "lint", "-s", "NOTICE", path) == "exit status 0"
    pair = _run(LINTERS / "lint_pkix_signer_signee_cert_chain", "lint", "-s", "NOTICE", papers.issuing, papers.good)
    assert pair == "exit status 0"
    for kind, path in (("CRL", papers.crl), ("ARL", papers.root_crl)):
        assert _run(LINTERS / "lint_crl", "lint", "-t", kind, "-p", "PKIX", "-s", "NOTICE", path) == "exit status 0"


async def test_the_gateways_own_trust_takes_the_crl(papers: Papers) -> None:
    bundle = load_bundle(papers.world.configuration().trust)
    (issuing,) = (authority for authority in bundle if authority.name == "issuing-1")
    checked = check_crl(papers.crl_der, "issuing-1.crl", issuing, NOW)
    assert (checked.number, checked.this_update, checked.next_update) == (3, NOW, NOW + DAY)
    bad = x509.load_pem_x509_certificate(papers.bad.read_bytes())
    assert revoked_serials(checked, []) == {bad.serial_number, 77}
    (root,) = (authority for authority in bundle if authority.name == "root")
    root_crl = check_crl((papers.world.ca / "root.crl.der").read_bytes(), "root.crl", root, NOW)
    assert root_crl.number == 1
    with pytest.raises(TrustMaterialError):
        check_crl(papers.crl_der[:-1] + bytes([papers.crl_der[-1] ^ 1]), "issuing-1.crl", issuing, NOW)
