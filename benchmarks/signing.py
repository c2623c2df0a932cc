"""What the signer costs beside bare signatures: ``python -m benchmarks.signing [SECONDS] [ENTRIES]``; 4, 1,000,000.

A loop of ``cryptography`` that builds and signs certificates, in one process, is the limit. The signer is started
alone, as operators start it, with its journal on this machine's disk; it is given orders for new certificates, one
after the other and 32 at once, and then a CRL. ``of_bare`` compares processor seconds, which a busy machine changes
least; how many there are in a second of the clock is up to the disk, whose waits are counted beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_gateway.clock import SystemClock
from mtls_gateway.errors import SignerUnavailable
from mtls_gateway.issuance.development_profiles import root
from mtls_gateway.issuance.key_files import PRIVATE, replace_file
from mtls_gateway.issuance.orders import CrlOrder, IntendedCertificate, RevokedEntry
from mtls_gateway.issuance.signer_client import SignerClient
from mtls_gateway.issuance.validity import one_calendar_year

_CRL_URL = "http://pki.localhost/issuing-1.crl"


def _public_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def bare(seconds: float) -> float:
    """Certificates per processor second of a loop that does nothing else."""
    issuer = root("bank", "Root CA", SystemClock().now() - 3_600)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    first, last = (datetime.fromtimestamp(moment.timestamp(), UTC) for moment in one_calendar_year(SystemClock().now()))
    made, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        names = [(NameOID.COUNTRY_NAME, "JP"), (NameOID.ORGANIZATION_NAME, "company"), (NameOID.COMMON_NAME, "user")]
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(_CRL_URL)], None, None, None)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(oid, value) for oid, value in names]))
            .issuer_name(issuer.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(first)
            .not_valid_after(last)
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False)
            .add_extension(x509.CRLDistributionPoints([point]), False)
        )
        builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)
        made += 1
    return made / (time.process_time() - began)


def synced(folder: Path, seconds: float) -> float:
    """Waits for this disk per second."""
    count, began = 0, time.perf_counter()
    with (folder / "synced").open("wb") as file:
        while time.perf_counter() - began < seconds:
            file.write(b"x" * 4_096)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
    return count / (time.perf_counter() - began)


@contextlib.contextmanager
def _signer(folder: Path) -> Iterator[int]:
    """The signer, alone; its process ID."""
    for name in ("root", "issuing"):
        replace_file(folder / f"{name}.secret", f"the secret of the {name} key".encode(), PRIVATE)
    word = [sys.executable, "-m", "mtls_gateway", "--config", str(folder / "gateway.toml")]
    options = {
        "--directory": str(folder / "ca"),
        "--organisation": "bank",
        "--root-crl-url": _CRL_URL,
        "--root-passphrase": f"file:{folder}/root.secret",
        "--issuing-passphrase": f"file:{folder}/issuing.secret",
        "--participant": "one",
    }
    subprocess.run(
        [*word, "ca", "ceremony", *(word for pair in options.items() for word in pair), "--participant", "two"],
        check=True,
        capture_output=True,
    )
    host = '{ name = "%s.localhost", listen = ["127.0.0.1:1"], certificate = "h", key = "h" }'
    (folder / "gateway.toml").write_text(
        f"""
state = "state"
public = {host % "a"}
certificate = {host % "b"}
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
socket = "signer.sock"
directory = "journal"
certificates_per_minute = 1000000
crl_entries = 10000000
[[signer.issuers]]
name = "issuing-1"
active = true
certificate = "ca/issuing-1.cert.pem"
chain = ["ca/root.cert.pem"]
key = {{ kind = "pem", file = "ca/issuing-1.key.pem", passphrase = "file:issuing.secret" }}
crl_url = "{_CRL_URL}"
"""
    )
    process = subprocess.Popen([*word, "signer"], stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


async def _ready(client: SignerClient) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(SignerUnavailable):
                await client.describe()
                return
            await asyncio.sleep(0.05)


async def _orders(client: SignerClient, at_once: int, seconds: float) -> tuple[float, float, int]:
    """Certificates per second, the milliseconds that 99 of 100 took at most, and how many they were."""
    public_key = _public_key()
    first, last = (moment.timestamp() for moment in one_calendar_year(SystemClock().now()))
    taken: list[float] = []
    until = time.perf_counter() + seconds

    async def ask() -> None:
        while (began := time.perf_counter()) < until:
            serial = x509.random_serial_number()
            await client.sign_certificate(
                IntendedCertificate(serial, "user", "user", "company", first, last, public_key)
            )
            taken.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(at_once)))
    taken.sort()
    return len(taken) / (time.perf_counter() - began), taken[int(len(taken) * 0.99)] * 1_000, len(taken)


def _processor(pid: int) -> float:
    """Seconds of the processor that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    """The most that the process has held, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return float(found[1]) / 1_024 if found else 0.0


async def _measure(folder: Path, pid: int, seconds: float, entries: int) -> dict[str, float]:
    client = SignerClient(folder / "signer.sock", crl_timeout=600)
    await _ready(client)
    one, one_p99, _ = await _orders(client, 1, seconds)
    used = _processor(pid)
    many, many_p99, count = await _orders(client, 32, seconds)
    used = _processor(pid) - used
    before = _memory(pid)
    now = float(int(SystemClock().now()))
    revoked = (RevokedEntry((1 << 150) + 7 * place, now - 60, "superseded") for place in range(entries))
    began = time.perf_counter()
    crl = await client.sign_crl(CrlOrder("issuing-1", 1, now, now + 86_400, revoked))
    crl_seconds = time.perf_counter() - began
    await client.close()
    return {
        "one_at_a_time_per_second": one,
        "one_at_a_time_p99_ms": one_p99,
        "32_at_once_per_second": many,
        "32_at_once_p99_ms": many_p99,
        "32_at_once_per_processor_second": count / used,
        "crl_seconds": crl_seconds,
        "crl_mb": len(crl) / 1e6,
        "signer_mb_before_crl": before,
        "signer_mb_after_crl": _memory(pid),
    }


def main() -> int:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    entries = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        figures = {"bare_per_processor_second": bare(seconds), "disk_waits_per_second": synced(folder, 1.0)}
        with _signer(folder) as pid:
            figures |= asyncio.run(_measure(folder, pid, seconds, entries))
    figures["of_bare"] = figures["32_at_once_per_processor_second"] / figures["bare_per_processor_second"]
    for name, figure in figures.items():
        print(f"{name:<34}{figure:>12.2f}")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
