"""A gateway that issues certificates, over the demo's CA; letters with codes, as somebody who has one in hand."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtls_gateway.config import read_configuration
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.material import Material
from mtls_gateway.issuance.code import KEY_PURPOSE, Code, digest, new_code, read_code
from mtls_gateway.model import CertificateState, CodePurpose
from mtls_gateway.signin.instance_secret import derive, load_instance_secret
from mtls_gateway.store.opening import Store
from tests.promises.whole_gateway import WholeGateway, password_of
from tests.store.issuing import printed

#: One that migrates: its users sign in with ID and password until they have a certificate.
MIGRATING = "sato"


def with_issuance(material: Material, **issuance: Any) -> dict[str, Any]:
    """The demo's issuing CA, its key given to the signer; files are looked at again quickly."""
    issuer = {
        "name": "demo-issuing",
        "active": True,
        "certificate": "ca/issuing.cert.pem",
        "chain": ["ca/root.cert.pem"],
        "key": {"kind": "pem", "file": "ca/issuing.key.pem", "unencrypted": True},
        "crl_url": "http://pki.localhost/issuing.crl",
    }
    return {
        "signer": {"issuers": [issuer], "certificates_per_minute": 100_000},
        "issuance": {"organisation": "Demo Shinkumi", "finish_every": 0.5, **issuance},
    }


def letter(
    gateway: WholeGateway, user_id: str, *, days: float = 80.0, purpose: CodePurpose = CodePurpose.FIRST
) -> Code:
    """Order, print and open an enrolment code."""
    secret = load_instance_secret(read_configuration(gateway.material.configuration).state / "instance.secret")
    code = read_code(new_code())
    key = derive(secret, KEY_PURPOSE)

    async def write(store: Store) -> None:
        await printed(
            store,
            user_id,
            locator=code.locator,
            digest=digest(code, key),
            expires=time.time() + days * 86_400,
            purpose=purpose,
        )

    gateway.store(write)
    return code


def states(gateway: WholeGateway, user_id: str) -> list[CertificateState]:
    """Of the user's certificates, in order."""

    async def read(store: Store) -> list[CertificateState]:
        return [one.state for one in await store.certificates.all(user_id=user_id)]

    return gateway.store(read)


@dataclass(frozen=True)
class Outcome:
    """How the reference client ended."""

    status: int
    said: str


def enrol(
    gateway: WholeGateway,
    folder: Path,
    *words: str,
    user_id: str | None = None,
    code: str | None = None,
    password: str | None = None,
    renew: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Outcome:
    """``mtls-gateway enrol`` as somebody types it in ``folder``; secrets come from the environment."""
    host = PUBLIC_HOST if renew is None else CERTIFICATE_HOST
    given = ["--server", f"https://{host}:{gateway.port}", "--ca", str(gateway.server_ca), "--connect", "127.0.0.1"]
    given += ["--password-from", "env:THE_PASSWORD", "--pkcs12-password-from", "env:THE_PKCS12_PASSWORD"]
    if renew is None:
        assert user_id is not None
        given += ["--user", user_id, "--code-from", "env:THE_CODE"]
    else:
        given += ["--renew", "--certificate", str(renew)]
    secrets = {
        "THE_PASSWORD": password_of(user_id or "") if password is None else password,
        "THE_CODE": code or "",
        "THE_PKCS12_PASSWORD": "pkcs12 password",
    }
    command = [sys.executable, "-m", "mtls_gateway", "enrol", *given, *words]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **secrets},
        pass_fds=pass_fds,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return Outcome(done.returncode, done.stdout + done.stderr)
