"""From the operator's command to its effect, with 1,000 live connections: ``python -m benchmarks.revocation``.

Two commands: a certificate revoked in the store, and a new CRL put where the clerk fetches it. Three effects, each on a
connection that was there before: a request refused, a download cut, a WebSocket cut. Each must come within a second.
The other connections must not notice anything.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import gateway
from benchmarks.gateway import Gateway
from benchmarks.generator import Generator, load_program
from benchmarks.machine import LOAD_CORE, BenchmarkError, await_listener, free_port, pinned, process
from benchmarks.material import Material
from benchmarks.victim import Victim
from mtls_gateway.clock import SystemClock
from mtls_gateway.store.opening import open_store

_CONNECTIONS = 1_000
_TRIALS = 5
#: Seconds: the promise, and how long to wait before giving up.
PROMISE = 1.0
_PATIENCE = 15.0
_BYSTANDER = "bystander"

_TITLES = {
    "store": "revoked in the store",
    "command_line": "revoked by the command line, its own start included",
    "small_crl": "a new CRL of a few entries",
    "crl_100k": "a new CRL of 100,000 entries",
}

Order = Callable[[Gateway, str], float]


def _by_store(running: Gateway, user: str) -> float:
    """As the command does once it has read its arguments; returns when it was begun (monotonic seconds)."""

    async def revoke() -> float:
        store = await open_store(running.configuration.database_url, SystemClock())
        try:
            began = time.monotonic()
            await store.certificates.revoke(running.clients[user].identity, actor="benchmark")
            return began
        finally:
            await store.close()

    return asyncio.run(revoke())


def _by_command(running: Gateway, user: str) -> float:
    """The command line, from the moment it is entered: its own start counts."""
    identity = running.clients[user].identity
    command = running.command("certificate", "revoke", "--issuer", identity.issuer, f"{identity.serial:x}")
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)}: {done.stderr.strip()}")
    return began


class _ByCrl:
    """A new CRL with this certificate and all before it, put in place whole."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._revoked: tuple[int, ...] = ()

    def __call__(self, running: Gateway, user: str) -> float:
        self._revoked += (running.clients[user].certificate.serial_number,)
        crl = running.material.crl(self._entries, self._revoked)
        began = time.monotonic()
        running.put_crl(crl)
        return began


def _trial(running: Gateway, user: str, order: Order) -> tuple[dict[str, float], str]:
    victim = Victim(running, user)
    victim.start()
    began = order(running, user)
    victim.join(_PATIENCE)
    return {effect: at - began for effect, at in victim.ended.items()}, victim.refusal


def _measure(running: Gateway, orders: dict[str, Order]) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for number, (name, order) in enumerate(orders.items()):
        effects = found.setdefault(name, {})
        refusals = set()
        for trial in range(_TRIALS):
            seconds, refusal = _trial(running, f"victim{number}{trial}", order)
            refusals.add(refusal)
            for effect, taken in seconds.items():
                effects.setdefault(effect, []).append(taken)
        print(f"{_TITLES[name]} (the live request ends with: {', '.join(sorted(refusals))})")
        for effect, times in effects.items():
            verdict = "" if max(times) <= PROMISE else "   LATE"
            print(f"  {effect:<18} median {statistics.median(times):.3f} s   worst {max(times):.3f} s{verdict}")
        sys.stdout.flush()
    return found


def _run(build: Path) -> dict[str, dict[str, list[float]]]:
    material = Material(build / "material")
    orders: dict[str, Order] = {
        "store": _by_store,
        "command_line": _by_command,
        "small_crl": _ByCrl(0),
        "crl_100k": _ByCrl(100_000),
    }
    names = [f"victim{number}{trial}" for number in range(len(orders)) for trial in range(_TRIALS)]
    users = {name: material.client(name) for name in (_BYSTANDER, *names)}
    port, log = free_port(), build / "backend.log"
    with process(pinned(LOAD_CORE, sys.executable, "-m", "benchmarks.live_backend", str(port)), log) as child:
        await_listener(port, child, log)
        with gateway.running("gateway", build / "gateway", material, port, users, core=None) as running:
            generator = Generator(load_program(build), child.pid)
            others = _bystanders(generator, running)
            try:
                time.sleep(3)
                found = _measure(running, orders)
            finally:
                others.terminate()
                output, _ = others.communicate()
            _require_undisturbed(output)
    return found


def _bystanders(generator: Generator, running: Gateway) -> subprocess.Popen[str]:
    """Another user's connections, each asking twice a second."""
    cookie = running.headers(_BYSTANDER)["Cookie"]
    client = running.clients[_BYSTANDER]
    command = generator.command(
        "requests", running.target, client=client, connections=_CONNECTIONS, headers=(f"Cookie: {cookie}",)
    )
    more = ["--pause-ms", "500", "--seconds", "300", "--warm", "3", "--maximum-errors", "0"]
    return subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True)


def _require_undisturbed(output: str) -> None:
    others = json.loads(output or "{}")
    if others.get("errors") != 0 or others.get("reconnects") != 0 or not others.get("count"):
        raise BenchmarkError(f"the other connections were disturbed: {others}")
    print(
        f"{others['connections']:,} other connections: {others['count']:,} requests, no error, "
        f"99 % within {others['p99_ms']:.0f} ms"
    )


def worst_seconds() -> dict[str, float]:
    """Print every figure; returns the slowest effect of each command, in seconds.

    Raises:
        BenchmarkError: something was not cut at all, or connections were disturbed that had nothing to do with it.
    """
    with tempfile.TemporaryDirectory(prefix="mtls-bench-") as build:
        found = _run(Path(build))
    return {name: round(max(max(times) for times in effects.values()), 3) for name, effects in found.items()}


def main() -> int:
    """Print the figures; the last line is JSON. Exit status 1 when the promise is not kept."""
    try:
        worst = worst_seconds()
    except BenchmarkError as error:
        print(f"benchmarks.revocation: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"revocation_worst_seconds": worst}))
    return 0 if max(worst.values()) <= PROMISE else 1


if __name__ == "__main__":
    sys.exit(main())
