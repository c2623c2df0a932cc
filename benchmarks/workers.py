"""One worker and two: processor seconds of a request and of a handshake, and how evenly the work lies on them.

Where there are two cores only, the load generator shares them, and a rate of requests says nothing of what two workers
could do. What can be said is whether a request costs more with two than with one: locks, shared counters, a database
that is asked twice would show there. What this does not show: caches and memory that two *full* cores share.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks import gateway
from benchmarks.gateway import Gateway
from benchmarks.generator import BROWSER_HEADERS, Generator, backend, load_program
from benchmarks.machine import await_rest, processor_seconds
from benchmarks.material import Material

_USER = "user0001"
#: For each worker, without rest: a worker that is asked by more at a time finds more to do in each turn of its loop,
#: and half as many for each of two would look like a cost of there being two.
_CONNECTIONS = 64


def figures(*, quick: bool) -> dict[str, float]:
    """The figures of :func:`measure`, with a backend and gateways of its own."""
    rounds, seconds = (3, 0.5) if quick else (5, 2.0)
    with tempfile.TemporaryDirectory(prefix="mtls-bench-") as folder:
        build = Path(folder)
        with backend(build) as (port, pid):
            generator = Generator(load_program(build), pid)
            return measure(build, Material(build / "material"), generator, port, rounds, seconds)


def _share(running: Gateway, before: list[float]) -> float:
    """Of what the workers used, how much the busiest did."""
    used = [processor_seconds([pid]) - was for pid, was in zip(running.workers, before, strict=True)]
    return max(used) / sum(used) if sum(used) else 1.0


def measure(
    build: Path, material: Material, generator: Generator, port: int, rounds: int, seconds: float
) -> dict[str, float]:
    """Figures by name; microseconds of processor for one request and one handshake, and the busiest worker's share."""
    users = {_USER: material.client(_USER)}
    readings: dict[tuple[str, int], list[float]] = {}
    shares: list[float] = []
    with (
        gateway.running("one", build / "one-worker", material, port, users, core=None) as one,
        gateway.running("two", build / "two-workers", material, port, users, workers=2, core=None) as two,
    ):
        for running in (one, two):
            await_rest(running.target.watched[0])
        for _ in range(rounds):
            for count, running in ((1, one), (2, two)):
                headers = (*BROWSER_HEADERS, f"Cookie: {running.headers(_USER)['Cookie']}")
                for name, mode in (("request", "requests"), ("handshake", "handshake")):
                    before = [processor_seconds([pid]) for pid in running.workers]
                    reading = generator.measure(
                        mode,
                        running.target,
                        client=users[_USER],
                        seconds=seconds,
                        connections=count * _CONNECTIONS,
                        headers=headers if mode == "requests" else (),
                    )
                    readings.setdefault((name, count), []).append(reading.proxy_cpu / reading.count * 1e6)
                    if count == 2:
                        shares.append(_share(running, before))
    found = {f"{name}_us_{count}": round(statistics.median(all_of), 1) for (name, count), all_of in readings.items()}
    for name in ("request", "handshake"):
        pairs = zip(readings[name, 1], readings[name, 2], strict=True)
        found[f"{name}_two_workers_would_do"] = round(2 * statistics.median(one / two for one, two in pairs), 2)
    found["busiest_of_two"] = round(statistics.median(shares), 2)
    for name, figure in found.items():
        print(f"{name:<40}{figure:>10.2f}", flush=True)
    return found
