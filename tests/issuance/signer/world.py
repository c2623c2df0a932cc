"""A signer with CAs of its own: keys in files or in a SoftHSM token, the settings of a real configuration."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Configuration, Pkcs11Key, validate_configuration
from mtls_gateway.issuance.key_files import PRIVATE, replace_file
from mtls_gateway.issuance.orders import IntendedCertificate
from mtls_gateway.issuance.signer import opening
from mtls_gateway.issuance.signer.ceremony import Ceremony, IssuingPlan, Made, RootPlan
from mtls_gateway.issuance.signer.desk import Desk
from mtls_gateway.issuance.signer.key_pkcs11 import KeyKind
from mtls_gateway.issuance.signer.secret import Secrets
from mtls_gateway.issuance.signer.server import SignerServer
from mtls_gateway.issuance.signer_client import SignerClient
from mtls_gateway.issuance.validity import one_calendar_year

NOW = 1_800_000_000.0
ROOT_PASSPHRASE = b"the root's passphrase"
PASSPHRASE = b"the issuing key's passphrase"
PIN = b"1234567890"
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
ROOT_CRL_URL = "http://pki.example.co.jp/root.crl"
CRL_URL = "http://pki.example.co.jp/issuing-1.crl"


@dataclass
class World:
    """A folder with CAs, a state directory and a configuration."""

    folder: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    #: The token that issuing keys are made in; None: files.
    token: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    issuers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ca(self) -> Path:
        return self.folder / "ca"

    @property
    def file(self) -> Path:
        return self.folder / "gateway.toml"

    # --- making ---------------------------------------------------------------------------------

    def begin(self, *, root_key: KeyKind = "P-384", issuing_key: KeyKind = "P-256") -> Made:
        """Root and issuing CA."""
        root = RootPlan("Shinkumi", "Shinkumi Root CA", root_key, 20)
        plan = self.plan("issuing-1", "Shinkumi Issuing CA 1", issuing_key)
        made = Ceremony(self.ca, self.clock).begin(root, plan, ROOT_PASSPHRASE, 400)
        self._hold("issuing-1", CRL_URL)
        return made

    def roll_over(self, issuing_key: KeyKind = "P-256") -> Made:
        """The next issuing CA, active from now on."""
        plan = self.plan("issuing-2", "Shinkumi Issuing CA 2", issuing_key)
        made = Ceremony(self.ca, self.clock).roll_over(plan, ROOT_PASSPHRASE, 400)
        self._hold("issuing-2", "http://pki.example.co.jp/issuing-2.crl")
        return made

    def plan(self, name: str, common_name: str, key: KeyKind = "P-256") -> IssuingPlan:
        secret = PASSPHRASE if self.token is None else PIN
        return IssuingPlan(name, common_name, key, 8, ROOT_CRL_URL, secret, self._token_key(name))

    def _token_key(self, label: str) -> Pkcs11Key | None:
        if self.token is None:
            return None
        return Pkcs11Key(kind="pkcs11", module=MODULE, token=self.token, label=label, pin=f"file:{self.secret(PIN)}")

    def secret(self, content: bytes) -> Path:
        """A file that holds a secret, as people write them: with a line end."""
        path = self.folder / f"secret-{len(content)}"
        replace_file(path, content + b"\n", PRIVATE)
        return path

    def _hold(self, name: str, crl_url: str) -> None:
        key: dict[str, Any] = {
            "kind": "pem",
            "file": f"ca/{name}.key.pem",
            "passphrase": f"file:{self.secret(PASSPHRASE)}",
        }
        token = self._token_key(name)
        if token is not None:
            key = {**token.model_dump(mode="json")}
        for one in self.issuers:
            one["active"] = False
        self.issuers.append(
            {
                "name": name,
                "active": True,
                "certificate": f"ca/{name}.cert.pem",
                "chain": ["ca/root.cert.pem"],
                "key": key,
                "crl_url": crl_url,
            }
        )

    def configuration(self) -> Configuration:
        (self.folder / "state").mkdir(mode=0o700, exist_ok=True)
        (self.folder / "state" / "run").mkdir(mode=0o700, exist_ok=True)
        host = {"listen": ["127.0.0.1:8443"], "certificate": "host.pem", "key": "host.key.pem"}
        trusted: list[dict[str, Any]] = [
            {"name": one["name"], "certificate": one["certificate"], "crls": [{"source": f"{one['name']}.crl"}]}
            for one in self.issuers
        ]
        trusted.append({"name": "root", "certificate": "ca/root.cert.pem", "crls": [{"source": "ca/root.crl.der"}]})
        raw: dict[str, Any] = {
            "state": "state",
            "public": {"name": "ib.localhost", **host},
            "certificate": {"name": "cert.ib.localhost", **host},
            "trust": {"authorities": trusted},
            "legacy": {
                "backends": ["http://127.0.0.1:1"],
                "session_cookies": ["S"],
                "guarded": ["/login"],
                "login": {"kind": "argon2id"},
            },
            "signer": {"issuers": self.issuers, **self.settings},
        }
        return validate_configuration(raw, self.file)

    # --- using ----------------------------------------------------------------------------------

    def desk(self) -> Desk:
        return opening.open_desk(self.configuration(), self.file, Secrets(may_prompt=False), self.clock)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[SignerClient]:
        """The whole signer in this process, and a client of it."""
        configuration = self.configuration()
        desk = await asyncio.to_thread(self.desk)
        client = SignerClient(configuration.signer_socket, patience=0.2)
        try:
            server = SignerServer(desk, opening.server_settings(configuration, self.file))
            async with server.serving(opening.listen(configuration, self.file)):
                yield client
                await client.close()
        finally:
            desk.close()

    def order(self, user_id: str = "taro", **changed: Any) -> IntendedCertificate:
        """A good order, with a new key and a new serial."""
        first, last = one_calendar_year(self.clock.now())
        values: dict[str, Any] = {
            "serial": x509.random_serial_number(),
            "user_id": user_id,
            "common_name": "山田 太郎",
            "organisation": "株式会社山田商店",
            "not_before": first.timestamp(),
            "not_after": last.timestamp(),
            "public_key": public_key(),
        }
        return IntendedCertificate(**{**values, **changed})

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.ca / f"{name}.cert.pem").read_bytes())


def public_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> bytes:
    """DER of a SubjectPublicKeyInfo."""
    made = key or ec.generate_private_key(ec.SECP256R1())
    return made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def make_token(folder: Path, label: str) -> None:
    """A SoftHSM token; ``SOFTHSM2_CONF`` must name a configuration of ``folder`` already."""
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN.decode(), "--so-pin", "0987654321"],
        check=True,
        capture_output=True,
    )
