"""Cost against size: ``python -m benchmarks.growth [--out DIRECTORY]``; three pictures, and a table on standard output.

Processor time of one request against the number of open connections, of users and sessions, and of workers' look-ups
against the number of users, of sessions in use, of rules. All of it should be flat. ``QUICK=1``: fewer points, and the
pictures go to ``build/growth``. Bounded: no more than fifteen minutes, three with ``QUICK=1``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import gateway, look_ups, workers
from benchmarks.gateway import Gateway
from benchmarks.generator import BROWSER_HEADERS, Generator, backend, load_program
from benchmarks.idle import held
from benchmarks.machine import BenchmarkError, await_rest, descendants, processor_seconds
from benchmarks.material import Material
from benchmarks.picture import Series, chart

_USER = "user0001"
#: Requests a second that are offered, however many connections they come over.
_OFFERED = 1_500
#: Connections that greet in a second while thousands are opened, at the least.
_GREETED = 200


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    connections: tuple[int, ...]
    crowds: tuple[int, ...]
    look_ups: tuple[int, ...]
    rounds: int
    seconds: float
    #: Seconds of rest: a minute has one census.
    rest: float

    @staticmethod
    def of(quick: bool) -> Plan:
        if quick:
            return Plan((10, 1_000, 5_000), (1, 10_000), (1, 1_000, 20_000), 3, 1.0, 5.0)
        return Plan((10, 100, 1_000, 3_000, 10_000), (1, 1_000, 100_000, 1_000_000), look_ups.SIZES, 5, 3.0, 60.0)


def _microseconds(generator: Generator, running: Gateway, connections: int, plan: Plan, pause: int = 0) -> float:
    """Processor microseconds of all the gateway's processes for one request: the median of the rounds."""
    found = []
    for _ in range(plan.rounds):
        reading = generator.measure(
            "requests",
            running.target,
            client=running.clients[_USER],
            seconds=plan.seconds,
            connections=connections,
            headers=_headers(running),
            more=("--pause-ms", str(pause)) if pause else (),
            warm=min(60.0, 0.5 + connections / _GREETED + pause / 1_000) if pause else 0.5,
        )
        found.append(reading.proxy_cpu / reading.count * 1e6)
    return statistics.median(found)


def _headers(running: Gateway) -> tuple[str, ...]:
    return (*BROWSER_HEADERS, f"Cookie: {running.headers(_USER)['Cookie']}")


def _by_connections(build: Path, material: Material, generator: Generator, port: int, plan: Plan) -> list[Series]:
    """Beside so many that rest, and by so many that all ask, together as much in every case."""
    users = {_USER: material.client(_USER)}
    resting, asking = [], []
    # The limit of open files holds the generator, too: its connections and the gateway's are of different processes.
    with gateway.running("gateway", build / "connections", material, port, users) as running:
        for count in plan.connections:
            # The generator that holds them is a process of its own, which does nothing meanwhile.
            with held(generator, running.target, users[_USER], _headers(running), count):
                resting.append((float(count), _microseconds(generator, running, 32, plan)))
            pause = max(1, round(count / _OFFERED * 1_000))
            # Once: opening thousands takes longer than asking.
            once = plan if count <= 1_000 else replace(plan, rounds=1, seconds=2 * plan.seconds)
            asking.append((float(count), _microseconds(generator, running, count, once, pause)))
            print(
                f"{count:>12,} connections: {resting[-1][1]:.0f} us beside them, {asking[-1][1]:.0f} us by them",
                flush=True,
            )
    return [
        Series("32 that ask, the others rest", resting),
        Series(f"all ask, together {_OFFERED:,} a second", asking),
    ]


def _by_users(build: Path, material: Material, generator: Generator, port: int, plan: Plan) -> list[Series]:
    users = {_USER: material.client(_USER)}
    found = []
    with contextlib.ExitStack() as stack:
        started = {
            crowd: stack.enter_context(
                gateway.running(f"{crowd:,} users", build / f"crowd-{crowd}", material, port, users, crowd=crowd)
            )
            for crowd in plan.crowds
        }
        for running in started.values():
            await_rest(running.target.watched[0])
        # In turn, so that a machine that grows slower slows all of them.
        for crowd, running in started.items():
            found.append((float(crowd), _microseconds(generator, running, 32, plan)))
            print(f"{crowd:>12,} users with a session each: {found[-1][1]:.0f} us", flush=True)
        for crowd, used in _resting(started, plan.rest).items():
            print(f"{crowd:>12,} users, nobody asks: {used:.2f} processor seconds in {plan.rest:g} s", flush=True)
    return [Series("users with a certificate and a session each", found)]


def _resting(started: dict[int, Gateway], seconds: float) -> dict[int, float]:
    """Processor seconds of each while nobody asks: the census, which counts rows every minute, and all that polls."""
    pids = {crowd: descendants(running.target.watched[0]) for crowd, running in started.items()}
    before = {crowd: processor_seconds(found) for crowd, found in pids.items()}
    time.sleep(seconds)
    return {crowd: processor_seconds(found) - before[crowd] for crowd, found in pids.items()}


def _draw(out: Path, name: str, picture: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.svg").write_text(picture, encoding="utf-8")
    print(f"{out / name}.svg", flush=True)


def _points(figures: dict[int, dict[str, float]], name: str) -> list[tuple[float, float]]:
    return [(float(size), row[name]) for size, row in figures.items()]


def _measure(out: Path, plan: Plan) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="mtls-bench-") as folder:
        build = Path(folder)
        material = Material(build / "material")
        with backend(build) as (port, pid):
            generator = Generator(load_program(build), pid)
            lines = _by_connections(build, material, generator, port, plan)
            _draw(
                out,
                "growth-connections",
                chart("One request against open connections", "open connections", "processor microseconds", lines),
            )
            crowds = _by_users(build, material, generator, port, plan)
            _draw(
                out,
                "growth-users",
                chart(
                    "One request against users and sessions", "users in the database", "processor microseconds", crowds
                ),
            )
            by_workers = workers.measure(build, material, generator, port, plan.rounds, plan.seconds)
    stored = look_ups.from_the_store(plan.look_ups)
    known = look_ups.remembered(plan.look_ups)
    rules = look_ups.places()
    _draw(
        out,
        "growth-look-ups",
        chart(
            "What a worker does not know yet, read from the store",
            "users and sessions in the database",
            "processor microseconds",
            [
                Series("a registration", _points(stored, "registration")),
                Series("a session", _points(stored, "session")),
            ],
        ),
    )
    _draw(
        out,
        "growth-known",
        chart(
            "What a worker knows already",
            "sessions in use, or rules",
            "processor microseconds",
            [
                Series("a session", _points(known, "known")),
                Series("the place of a path, by rules", _points(rules, "known")),
                Series("the place of a new path, by rules", _points(rules, "new")),
            ],
        ),
    )
    return {
        "connections": {line.name: line.points for line in lines},
        "users": {line.name: line.points for line in crowds},
        "workers": by_workers,
        "look_ups": stored,
        "known": known,
        "rules": rules,
    }


def main() -> int:
    """Measure, draw, print; the last line is JSON."""
    quick = os.environ.get("QUICK", "") not in ("", "0")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/growth" if quick else "docs/growth"))
    try:
        found = _measure(parser.parse_args().out, Plan.of(quick))
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks.growth: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
