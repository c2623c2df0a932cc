"""Enrolments beside bare signatures: ``python -m benchmarks.enrolment [USERS] [AT ONCE]``; 300, 8.

The whole way of a customer: a new TLS connection to a worker, the portal, the code, the bank's own login form replayed,
the row, the signer's journal and signature, the row again, the answer. The limit is a loop of ``cryptography`` that
signs certificates and does nothing else. Processor seconds are counted process by process: a busy machine changes them
least.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.signing import bare
from mtls_gateway.clock import SystemClock
from mtls_gateway.config import Configuration, read_configuration
from mtls_gateway.demo.cast import PUBLIC_HOST
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.material import Ports, make_material
from mtls_gateway.demo.run import left_running, process, wait_until_it_answers
from mtls_gateway.issuance import est_bodies
from mtls_gateway.issuance.code import KEY_PURPOSE, digest, new_code, read_code
from mtls_gateway.issuance.est_bodies import Credentials
from mtls_gateway.model import CodePurpose
from mtls_gateway.signin.instance_secret import derive, load_instance_secret
from mtls_gateway.store.codes import PrintedCode
from mtls_gateway.store.opening import open_store
from mtls_gateway.store.users import NewUser

_COMPANY = "sato"
_PASSWORD = "a password of some length"
_SETTINGS = """
[lockout]
attempts_per_address = 1000000

[issuance]
organisation = "Demo Credit Cooperative"

[signer]
certificates_per_minute = 1000000

[[signer.issuers]]
name = "demo-issuing"
active = true
certificate = "ca/issuing.cert.pem"
chain = ["ca/root.cert.pem"]
key = { kind = "pem", file = "ca/issuing.key.pem", unencrypted = true }
crl_url = "http://pki.localhost/issuing.crl"
"""


@dataclass(frozen=True)
class Applicant:
    """A request as it is sent."""

    authorization: str
    body: bytes


def _request(user_id: str) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, user_id)])
    key = ec.generate_private_key(ec.SECP256R1())
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(signed.public_bytes(Encoding.DER))


async def _applicants(configuration: Configuration, count: int) -> list[Applicant]:
    """Users with a letter in hand."""
    clock = SystemClock()
    secret = load_instance_secret(configuration.state / "instance.secret")
    store = await open_store(configuration.database_url, clock)
    names = [f"applicant{number:05}" for number in range(count)]
    await store.users.add([NewUser(name, _COMPANY) for name in names], actor="benchmark")
    made = []
    for name in names:
        await store.codes.order(name, CodePurpose.FIRST, actor="benchmark")
        (due,) = await store.codes.due_letters(user_id=name)
        code = read_code(new_code())
        stored = digest(code, derive(secret, KEY_PURPOSE))
        printed = PrintedCode(due.code_id, code.locator, stored, clock.now() + 86_400)
        await store.codes.printed([printed], actor="benchmark")
        made.append(Applicant(est_bodies.basic(Credentials(name, f"{code.printed}:{_PASSWORD}")), _request(name)))
    await store.close()
    return made


async def _enrol(applicants: list[Applicant], port: int, server_ca: Path, at_once: int) -> tuple[float, list[float]]:
    """Seconds altogether, and of each."""
    context = ssl.create_default_context(cafile=str(server_ca))
    waiting = list(applicants)
    taken: list[float] = []
    url = f"https://127.0.0.1:{port}/.well-known/est/simpleenroll"
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask() -> None:
            while waiting:
                applicant = waiting.pop()
                headers = {
                    "Host": f"{PUBLIC_HOST}:{port}",
                    "Authorization": applicant.authorization,
                    "Content-Type": est_bodies.REQUEST,
                }
                began = time.perf_counter()
                async with session.post(
                    url, data=applicant.body, headers=headers, ssl=context, server_hostname=PUBLIC_HOST
                ) as answer:
                    body = await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"{answer.status}: {body.decode()}")
                taken.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(at_once)))
        return time.perf_counter() - began, sorted(taken)


def processor_by_role(master: int) -> dict[str, float]:
    """Processor seconds used by each role of the gateway."""
    used: dict[str, float] = defaultdict(float)
    for line in left_running([master]):
        pid, _, title = line.partition(" ")
        role = title.partition("mtls-gateway: ")[2].split(" ")[0] or "master"
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used[role] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def measure(folder: Path, count: int, at_once: int) -> dict[str, float]:
    """Figures by name."""
    gateway, operations, bank = free_ports(3)
    material = make_material(folder, Ports(gateway=gateway, operations=operations, bank=bank), fresh=True)
    names = [f"applicant{number:05}" for number in range(count + at_once)]
    material.accounts.write_text(json.dumps(dict.fromkeys(names, _PASSWORD)), encoding="utf-8")
    with material.configuration.open("a", encoding="utf-8") as file:
        file.write(_SETTINGS)
    words = ["-m", "mtls_gateway.demo.bank", "--port", str(bank), "--accounts", str(material.accounts)]
    with process(material.log("bank"), words) as running_bank:
        wait_until_it_answers("the bank", running_bank, bank, "/login", material.log("bank"))
        words = ["-m", "mtls_gateway", "--config", str(material.configuration), "serve"]
        with process(material.log("gateway"), words) as running:
            wait_until_it_answers("the gateway", running, operations, "/readyz", material.log("gateway"))
            configuration = read_configuration(material.configuration)
            applicants = asyncio.run(_applicants(configuration, count + at_once))
            ca = material.certificates.server_ca
            asyncio.run(_enrol(applicants[:at_once], gateway, ca, at_once))  # what is made once, is made
            before = processor_by_role(running.pid)
            seconds, taken = asyncio.run(_enrol(applicants[at_once:], gateway, ca, at_once))
            used = {role: spent - before.get(role, 0.0) for role, spent in processor_by_role(running.pid).items()}
    figures = {
        "enrolments_per_second": count / seconds,
        "p50_ms": taken[count // 2] * 1_000,
        "p99_ms": taken[min(count - 1, int(count * 0.99))] * 1_000,
        "enrolments_per_processor_second": count / sum(used.values()),
    }
    return figures | {f"{role}_ms_of_processor_each": spent / count * 1_000 for role, spent in sorted(used.items())}


def main() -> int:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    at_once = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    with tempfile.TemporaryDirectory() as folder:
        figures = {"bare_per_processor_second": bare(2.0)} | measure(Path(folder) / "demo", count, at_once)
    figures["of_bare"] = figures["enrolments_per_processor_second"] / figures["bare_per_processor_second"]
    for name, figure in figures.items():
        print(f"{name:<40}{figure:>12.2f}")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
