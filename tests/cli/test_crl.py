from __future__ import annotations

import asyncio
from pathlib import Path

from mtls_gateway.clock import SystemClock
from mtls_gateway.issuance.development_ca import DevelopmentAuthority
from mtls_gateway.model import CertificateId, NewSession, print_serial
from mtls_gateway.store.opening import open_store

from .conftest import ISSUER, Command


def _sign_in(home: Path, certificate: CertificateId) -> None:
    async def work() -> None:
        clock = SystemClock()
        store = await open_store(f"sqlite:///{home / 'state' / 'gateway.sqlite3'}", clock)
        now = clock.now()
        new = NewSession(b"\x01" * 32, "taro", certificate, now, now + 600, b"")
        await store.sessions.open_session(new, idle=900)
        await store.close()

    asyncio.run(work())


def test_a_dry_run_names_whom_the_list_would_cut(acme: Command, home: Path) -> None:
    ca = DevelopmentAuthority(home / "ca", SystemClock())
    for user in ("taro", "hanako"):
        acme("ca", "issue", "--directory", home / "ca", "--user-id", user, "--out", home, "--register")
    serials = {one["user"]: one["serial"] for one in acme("certificate", "list", "--json").json}
    _sign_in(home, CertificateId(ISSUER, int(serials["taro"], 16)))
    for serial in serials.values():
        ca.revoke(int(serial, 16))
    words = ("crl", "dry-run", home / "ca" / "issuing.crl.pem", "--authority", "issuing")
    told = acme(*words, "--json").json
    assert (told["number"], told["entries"], told["would_refuse"], told["would_cut"]) == (3, 2, 2, 1)
    assert {(one["user"], one["serial"], one["signed_in"]) for one in told["certificates"]} == {
        ("taro", print_serial(int(serials["taro"], 16)), True),
        ("hanako", print_serial(int(serials["hanako"], 16)), False),
    }
    assert acme(*words).out.splitlines()[1] == "would refuse 2 registered certificates, would cut 1 signed-in user"
    # Nothing was changed by asking.
    assert acme("session", "list", "--json").json[0]["state"] == "live"


def test_a_list_that_would_not_be_taken_is_refused_with_its_cause(acme: Command, home: Path) -> None:
    root = home / "ca" / "root.crl.der"
    for words, status in (
        ((root, "--authority", "issuing"), 1),
        ((home / "gateway.toml", "--authority", "issuing"), 1),
        ((root, "--authority", "nobody"), 2),
        ((home / "nowhere.crl", "--authority", "root"), 2),
    ):
        refused = acme("crl", "dry-run", *words)
        assert (refused.status, refused.out) == (status, "")
        assert refused.err.startswith("mtls-gateway: ")
        assert refused.err.count("\n") == 1
    assert "the configuration has root, issuing" in acme("crl", "dry-run", root, "--authority", "nobody").err
