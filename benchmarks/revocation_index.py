"""What revoked serials cost: ``python -m benchmarks.revocation_index [ENTRIES ...]``; 0, 10,000, 100,000, 1,000,000.

Compilation, and for how long it keeps the loop of whoever asks for it from turning; a look-up; the memory of a process
that maps the index and looks 10,000 serials up, in a child of its own for each size; a certificate judged for the
first time and judged again.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from benchmarks.crl import write_crl
from mtls_gateway.clock import SystemClock
from mtls_gateway.config import Authority, Crl, Trust
from mtls_gateway.issuance import development_profiles as profiles
from mtls_gateway.model import PeerCertificate
from mtls_gateway.trust import compile_process
from mtls_gateway.trust.bundle import Bundle, load_bundle
from mtls_gateway.trust.compile_process import compile_aside
from mtls_gateway.trust.compiler import compile_authority
from mtls_gateway.trust.revocation import Manifest, load_revocation, write_manifest
from mtls_gateway.trust.verdict import Accepted, Judge

_SIZES = (0, 10_000, 100_000, 1_000_000)
_LOOK_UPS = 10_000
_LEAVES = 200
_BEAT = 0.002


class _Stalls:
    """The longest time for which a thread of this process could not run."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._stopped.wait(_BEAT):
            now = time.monotonic()
            self.longest = max(self.longest, now - last - _BEAT)
            last = now

    def __enter__(self) -> _Stalls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()


class _Bank:
    """A root, an issuing CA below it with a CRL of ``entries`` serials, and users."""

    def __init__(self, folder: Path, entries: int) -> None:
        now = SystemClock().now()
        self.folder = folder
        self.root = profiles.root("bank", "Root CA", now - 3_600)
        self.list = write_crl(self.root.certificate, self.root.key, entries=entries, number=7)
        (folder / "root.pem").write_bytes(self.root.certificate.public_bytes(Encoding.PEM))
        authority = Authority(name="root", certificate=folder / "root.pem", crls=(Crl(source="/list"),))
        self.bundle: Bundle = load_bundle(Trust(authorities=(authority,)))

    def compile(self, *, threaded: bool) -> tuple[float, float]:
        """Seconds to compile the list, and seconds for which this process stood still."""
        (authority,) = self.bundle
        directory = self.folder / f"threaded-{threaded}"
        directory.mkdir()
        fetched = {"/list": self.list}
        began = time.monotonic()
        with _Stalls() as stalls:
            if threaded:
                asyncio.run(asyncio.to_thread(compile_authority, authority, fetched, (), directory, began_at()))
            else:
                compiled = asyncio.run(compile_aside(authority, fetched, (), directory, began_at()))
                write_manifest(directory, Manifest(1, {"root": compiled.files}))
        return time.monotonic() - began, stalls.longest

    def leaf(self) -> PeerCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "user")]))
            .issuer_name(self.root.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root.key.public_key()), critical=False
            )
        )
        return PeerCertificate(builder.sign(self.root.key, hashes.SHA256()).public_bytes(Encoding.DER))


def began_at() -> float:
    """POSIX seconds."""
    return SystemClock().now()


def _microseconds(call: Callable[[int], object], times: int) -> float:
    taken = []
    for place in range(times):
        began = time.perf_counter_ns()
        call(place)
        taken.append(time.perf_counter_ns() - began)
    return statistics.median(taken) / 1_000


def _judged(bank: _Bank, directory: Path) -> tuple[float, float]:
    """Microseconds for a certificate that was not seen before, and for one that was."""
    judge = Judge(bank.bundle, load_revocation(directory))
    leaves = [bank.leaf() for _ in range(_LEAVES)]
    now = began_at()
    first = _microseconds(lambda place: judge.judge(leaves[place], now), _LEAVES)
    if not all(isinstance(judge.judge(leaf, now), Accepted) for leaf in leaves):
        raise SystemExit("a good certificate was refused: the figures would be of something else")
    return first, _microseconds(lambda place: judge.judge(leaves[place % _LEAVES], now), 20 * _LEAVES)


def _resident() -> dict[str, int]:
    """KiB of this process: its own, and pages of files, which all processes share."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssFile"))}
    return {"own": found["RssAnon"], "shared": found["RssFile"]}


def _read(directory: Path) -> None:
    """The child: a worker's part, alone."""
    before = _resident()
    began = time.perf_counter()
    revocation = load_revocation(directory)
    mapping = time.perf_counter() - began
    mapped = _resident()
    (index,) = revocation.of("root")
    generator = random.Random(7)
    serials = [generator.getrandbits(127) for _ in range(_LOOK_UPS)]
    look_up = _microseconds(lambda place: serials[place] in index, _LOOK_UPS)
    figures = {"map_ms": mapping * 1_000, "look_up_us": look_up, "before": before, "mapped": mapped}
    print(json.dumps({**figures, "after": _resident()}))


def _reader(directory: Path) -> dict[str, dict[str, int]]:
    command = [sys.executable, "-m", "benchmarks.revocation_index", "--read", str(directory)]
    found: dict[str, dict[str, int]] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main(arguments: list[str]) -> None:
    """Measure each size and print a table."""
    if arguments[:1] == ["--read"]:
        _read(Path(arguments[1]))
        return
    print(
        f"{'entries':>10} {'CRL':>8} {'compile':>9} {'stall':>8} {'in a thread':>12} {'stall':>8} {'map':>8} "
        f"{'look-up':>9} {'own memory':>11} {'shared':>9} {'first':>8} {'again':>8}"
    )
    for entries in [int(one) for one in arguments] or _SIZES:
        with tempfile.TemporaryDirectory() as folder:
            bank = _Bank(Path(folder), entries)
            threaded, its_stall = bank.compile(threaded=True)
            compiled, stall = bank.compile(threaded=False)
            directory = Path(folder) / "threaded-False"
            reader = _reader(directory)
            own, shared = (reader["after"][kind] - reader["before"][kind] for kind in ("own", "shared"))
            first, again = _judged(bank, directory)
            aside = "" if len(bank.list) > compile_process.SMALL else " (in a thread)"
            print(
                f"{entries:>10,} {len(bank.list) / 1024**2:>5.1f} MB {compiled:>7.2f} s {stall:>6.3f} s "
                f"{threaded:>10.2f} s {its_stall:>6.3f} s {reader['map_ms']:>5.1f} ms {reader['look_up_us']:>6.1f} us "
                f"{own:>+7} KiB {shared:>+5} KiB {first:>5.0f} us {again:>5.1f} us{aside}"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
