"""From a ceremony to a signer that is started alone, by the commands that an operator types."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from mtls_gateway.clock import ManualClock, SystemClock
from mtls_gateway.errors import SignerUnavailable
from mtls_gateway.issuance.key_files import PRIVATE, replace_file
from mtls_gateway.issuance.signer_client import SignerClient
from tests.issuance.signer.world import World

ROOT_SECRET, SECRET = b"the root's passphrase\n", b"the issuing key's passphrase\n"


class Bank:
    """A folder with what an operator has there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "gateway.toml"
        replace_file(folder / "root.secret", ROOT_SECRET, PRIVATE)
        replace_file(folder / "issuing.secret", SECRET, PRIVATE)

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mtls_gateway", "--config", str(self.file), *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **more},
        )

    def ceremony(self, command: str = "ceremony", *words: str) -> subprocess.CompletedProcess[str]:
        own = ["--organisation", "信用組合"] if command == "ceremony" else []
        return self.run(
            "ca",
            command,
            "--directory",
            str(self.folder / "ca"),
            "--root-crl-url",
            "http://pki.example.co.jp/root.crl",
            "--root-passphrase",
            f"file:{self.folder / 'root.secret'}",
            "--issuing-passphrase",
            f"file:{self.folder / 'issuing.secret'}",
            *own,
            *words,
        )

    def configure(self, passphrase: str, **signer: object) -> None:
        settings = "\n".join(f"{name} = {json.dumps(value)}" for name, value in signer.items())
        self.file.write_text(
            f"""
state = "state"
public = {{ name = "ib.localhost", listen = ["127.0.0.1:8443"], certificate = "h.pem", key = "h.key.pem" }}
certificate = {{ name = "cert.ib.localhost", listen = ["127.0.0.1:8443"], certificate = "h.pem", key = "h.key.pem" }}
[[trust.authorities]]
name = "issuing-1"
certificate = "ca/issuing-1.cert.pem"
revocation = "none"
[legacy]
backends = ["http://127.0.0.1:1"]
session_cookies = ["S"]
guarded = ["/login"]
login = {{ kind = "argon2id" }}
[signer]
role = false
socket = "run/signer.sock"
directory = "journal"
{settings}
[[signer.issuers]]
name = "issuing-1"
active = true
certificate = "ca/issuing-1.cert.pem"
chain = ["ca/root.cert.pem"]
key = {{ kind = "pem", file = "ca/issuing-1.key.pem", passphrase = "{passphrase}" }}
crl_url = "http://pki.example.co.jp/issuing-1.crl"
"""
        )
        (self.folder / "run").mkdir(mode=0o750, exist_ok=True)

    @contextlib.contextmanager
    def signer(self) -> Iterator[subprocess.Popen[str]]:
        """The signer, with its passphrase on descriptor 3 as ``3<issuing.secret`` would give it."""
        log = (self.folder / "signer.log").open("a")
        command = (
            f"exec '{sys.executable}' -m mtls_gateway --config '{self.file}' signer 3<'{self.folder}/issuing.secret'"
        )
        process = subprocess.Popen(["/bin/sh", "-c", command], stderr=log, text=True, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            log.close()

    @property
    def log(self) -> str:
        return (self.folder / "signer.log").read_text()


PEOPLE = ("--participant", "立会人 山田", "--participant", "鍵管理者 鈴木")


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


async def _describe(client: SignerClient) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(SignerUnavailable):
                await client.describe()
                return
            await asyncio.sleep(0.05)


async def test_a_ceremony_makes_what_a_signer_started_alone_uses(bank: Bank, free_port: int) -> None:
    held = bank.ceremony("ceremony", *PEOPLE)
    assert held.returncode == 0, held.stderr
    assert "[[signer.issuers]]" in held.stdout
    (minutes,) = (bank.folder / "ca").glob("minutes-*.txt")
    assert "認証局鍵生成式" in minutes.read_text(encoding="utf-8")
    bank.configure("fd:3", metrics=f"127.0.0.1:{free_port}")
    client = SignerClient(bank.folder / "run" / "signer.sock")
    # Orders of the present: the signer goes by the machine's clock.
    world = World(bank.folder, clock=ManualClock(SystemClock().now()))
    with bank.signer() as process:
        await _describe(client)
        made = await client.sign_certificate(world.order())
        certificate = x509.load_der_x509_certificate(made)
        assert certificate.issuer.rfc4514_string() == "CN=信用組合 Issuing CA 1,O=信用組合,C=JP"

        def scrape() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=5) as answer:
                text: str = answer.read().decode()
                return text

        figures = await asyncio.to_thread(scrape)
        assert 'mtls_gateway_signatures_total{kind="certificate",outcome="signed"} 1.0' in figures
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
    await client.close()
    assert "the journal has 0 records" in bank.log
    listed = bank.run("signer", "journal")
    assert [line.split()[2] for line in listed.stdout.splitlines()] == ["intended", "signed"]
    records = [json.loads(line) for line in bank.run("signer", "journal", "--json").stdout.splitlines()]
    assert bytes.fromhex(records[1]["content"]) == made
    assert SECRET.decode().strip() not in bank.log + listed.stdout


async def test_a_passphrase_may_be_a_credential_of_systemds(bank: Bank) -> None:
    bank.ceremony("ceremony", *PEOPLE)
    bank.configure("credential:issuing.secret")
    checked = bank.run("signer", "check", CREDENTIALS_DIRECTORY=str(bank.folder))
    assert checked.stdout == "the signer could start: 1 issuer\n", checked.stderr
    alone = bank.run("signer", "check")
    assert alone.returncode == 2
    assert alone.stderr.startswith("mtls-gateway: credential:issuing.secret: this process was not given credentials")


def test_what_keeps_a_signer_from_starting_is_one_line(bank: Bank) -> None:
    bank.ceremony("ceremony", *PEOPLE)
    bank.configure("prompt")
    refused = bank.run("signer")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith("cannot be asked for here: there is no terminal")
    assert "Traceback" not in refused.stderr
    bank.configure(f"file:{bank.folder / 'root.secret'}")
    wrong = bank.run("signer")
    assert wrong.returncode == 1
    assert wrong.stderr.splitlines()[-1].endswith("cannot be decrypted; is the passphrase right?")


def test_nobody_is_alone_with_a_key(bank: Bank) -> None:
    for people in ((), PEOPLE[:2], ("--participant", "山田", "--participant", " 山田 ")):
        refused = bank.ceremony("ceremony", *people)
        assert refused.returncode == 2
        assert not (bank.folder / "ca").exists()


def test_a_roll_over_and_the_roots_crl_are_a_command_each(bank: Bank) -> None:
    bank.ceremony("ceremony", *PEOPLE)
    names = ("--issuer", "issuing-2", "--issuing-name", "信用組合 Issuing CA 2")
    rolled = bank.ceremony("roll-over", *names, *PEOPLE)
    assert rolled.returncode == 0, rolled.stderr
    assert 'name = "issuing-2"' in rolled.stdout
    again = bank.ceremony("roll-over", *names, *PEOPLE)
    assert again.returncode == 1
    assert "issuing-2.key.pem is there already" in again.stderr
    words = ("--directory", str(bank.folder / "ca"), "--root-passphrase", f"file:{bank.folder / 'root.secret'}")
    revoked = ("--revoke", str(bank.folder / "ca" / "issuing-1.cert.pem"), "--reason", "keyCompromise")
    crl = bank.run("ca", "root-crl", *words, *revoked)
    assert crl.stdout.startswith("root CRL 3 written"), crl.stderr
    assert bank.run("ca", "root-crl", *words, "--reason", "because").returncode == 2
    (entry,) = x509.load_der_x509_crl((bank.folder / "ca" / "root.crl.der").read_bytes())
    first = x509.load_pem_x509_certificate((bank.folder / "ca" / "issuing-1.cert.pem").read_bytes())
    assert entry.serial_number == first.serial_number


def test_a_journal_that_somebody_has_changed_is_not_signed_on(bank: Bank) -> None:
    import sqlite3

    bank.ceremony("ceremony", *PEOPLE)
    bank.configure(f"file:{bank.folder / 'issuing.secret'}")
    assert bank.run("signer", "check").returncode == 0
    connection = sqlite3.connect(bank.folder / "journal" / "journal.sqlite3")
    connection.execute("INSERT INTO records VALUES (1, 0, 'intended', 'issuing-1', '01', x'', x'', x'00')")
    connection.commit()
    connection.close()
    refused = bank.run("signer")
    assert refused.returncode == 1
    assert re.search(r"journal\.sqlite3: record 1 is not what was written", refused.stderr.splitlines()[-1])
