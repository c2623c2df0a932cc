"""The whole gateway in front of a legacy application: processes, certificates, database, and settings only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mtls_gateway.clock import SystemClock
from mtls_gateway.config import read_configuration
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.run import process, wait_until_it_answers
from mtls_gateway.issuance.development_ca import DevelopmentAuthority, Issued
from mtls_gateway.model import Method
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import open_store
from mtls_gateway.store.users import NewUser
from tests.promises.legacy_apps.application import LegacyApplication

PUBLIC = "bank.localhost"
CERTIFICATE = "cert.bank.localhost"


@dataclass(frozen=True)
class FrontedApplication:
    """An application with the gateway in front of it; its user has a certificate."""

    application: LegacyApplication
    port: int
    server_ca: Path
    certificate: Path
    pkcs12: Path

    def browser(self, *, with_certificate: bool = True) -> Browser:
        return Browser(self.port, self.server_ca, self.certificate if with_certificate else None)


def toml(value: object) -> str:
    """A value as TOML writes it, tables inline."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def fronted(application: LegacyApplication, folder: Path) -> Iterator[FrontedApplication]:
    """Start the gateway below ``folder``, end it afterwards."""
    port, operations = free_ports(2)
    authority = DevelopmentAuthority(folder / "ca", SystemClock())
    authority.initialise("Test")
    for host in (PUBLIC, CERTIFICATE):
        authority.issue_server((host,), folder / "hosts")
    issued = authority.issue(application.user, application.user, folder / "certificates", password="test")
    both = folder / "certificates" / "both.pem"
    both.write_bytes(issued.certificate_file.read_bytes() + issued.key_file.read_bytes())
    hosts = {
        table: {
            "name": host,
            "listen": [f"127.0.0.1:{port}"],
            "certificate": f"hosts/{host}.cert.pem",
            "key": f"hosts/{host}.key.pem",
        }
        for table, host in (("public", PUBLIC), ("certificate", CERTIFICATE))
    }
    authorities = [
        {"name": name, "certificate": f"ca/{name}.cert.pem", "crls": [{"source": f"{folder}/ca/{name}.crl.pem"}]}
        for name in ("root", "issuing")
    ]
    whole: dict[str, object] = {
        "state": "state",
        **hosts,
        "trust": {"authorities": authorities},
        "legacy": application.legacy,
        "operations": {"listen": f"127.0.0.1:{operations}", "workers": 2},
    }
    file = folder / "gateway.toml"
    file.write_text("".join(f"{name} = {toml(value)}\n" for name, value in whole.items()), encoding="utf-8")
    (folder / "state").mkdir(mode=0o700)
    asyncio.run(_fill(file, application.user, issued))
    log = folder / "gateway.log"
    with process(log, ["-m", "mtls_gateway", "--config", str(file), "serve"]) as gateway:
        wait_until_it_answers("the gateway", gateway, operations, "/readyz", log)
        yield FrontedApplication(application, port, folder / "ca" / "server-ca.cert.pem", both, issued.pkcs12_file)


async def _fill(file: Path, user_id: str, issued: Issued) -> None:
    clock = SystemClock()
    url = read_configuration(file).database_url
    await migrate(url, clock)
    store = await open_store(url, clock)
    try:
        await store.companies.create("company", "会社", actor="test")
        await store.users.add([NewUser(user_id, "company")], actor="test")
        await store.certificates.register([NewCertificate(issued.certificate, user_id, issued.not_after)], actor="test")
        await store.companies.set_method("company", Method.CERTIFICATE, actor="test")
    finally:
        await store.close()
