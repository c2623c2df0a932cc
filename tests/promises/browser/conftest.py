"""The demo behind the gateway, a template of a customer's PC, and the one policy file of the run."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from cryptography import x509

from mtls_gateway.demo.cast import PKCS12_PASSWORD
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.material import Ports
from mtls_gateway.demo.run import Running, started
from tests.promises.browser import chromium
from tests.promises.browser.customer import SUPPORTED, Customer, customer

#: What every test here needs.
BROWSER = ("chromium", "certutil", "chromium-policies")

#: ``pc("good", "revoked")``: a customer with these certificates of the demo's, who picks the first.
Pc = Callable[..., AbstractAsyncContextManager[Customer]]


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    gateway, operations, bank = free_ports(3)
    ports = Ports(gateway=gateway, operations=operations, bank=bank)
    with started(tmp_path_factory.mktemp("demo"), ports, fresh=True) as running:
        yield running


@pytest.fixture(scope="module")
def policy() -> Iterator[chromium.Policy]:
    with chromium.policy() as ours:
        yield ours


@pytest.fixture(scope="session")
def bare_home(bank: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PC that trusts the host's certificates and has none of its own."""
    home = tmp_path_factory.mktemp("bare")
    chromium.add_authority(home, bank.material.certificates.server_ca)
    return home


@pytest.fixture
def pc(bank: Running, policy: chromium.Policy, bare_home: Path, tmp_path: Path) -> Pc:
    numbers = itertools.count()

    def make(
        *certificates: str, arguments: Sequence[str] = (), user_agent: str | None = SUPPORTED
    ) -> AbstractAsyncContextManager[Customer]:
        home = tmp_path / f"home-{next(numbers)}"
        shutil.copytree(bare_home, home)
        made = bank.material.certificates
        for name in certificates:
            chromium.add_client(home, made.users / f"{name}.p12", PKCS12_PASSWORD)
        chosen = common_name(made.user(certificates[0])) if certificates else None
        return customer(home, policy, bank.ports.gateway, chosen, arguments=arguments, user_agent=user_agent)

    return make


def common_name(certificate: Path) -> str:
    """What the policy knows a certificate by."""
    subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
    return str(subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
