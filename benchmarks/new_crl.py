"""What a CRL costs by its length, and what a new one costs under load: ``python -m benchmarks.new_crl [ENTRIES ...]``.

Gateways with CRLs of every length run side by side on the proxy's core and are asked in turn, so that a machine that
grows slower slows all. Then new lists come to the one with the longest while a load goes on: how long the 99th
percentile was more than double of what it had been, by how much the worker has grown, and the time until the last
certificate of the list is refused, beside the same list given to nginx with a reload.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import gateway
from benchmarks.client import Client
from benchmarks.figures import HEADING, Answers, Question
from benchmarks.gateway import Gateway
from benchmarks.generator import BROWSER_HEADERS, Generator, Target, backend, load_program
from benchmarks.machine import BenchmarkError, anonymous, await_rest
from benchmarks.material import Material
from benchmarks.peers import nginx

_USER = "user0001"
_QUESTIONS = (
    Question("full handshakes by the length of the CRL", "handshake"),
    Question("requests by the length of the CRL", "requests", 32, browser=True),
)
#: The load that goes on: so many connections, each resting so long after an answer: a part of what a core can do.
_CONNECTIONS = 64
_PAUSE_MS = 100
#: Seconds of one line of the load's.
_INTERVAL = 0.5
_PATIENCE = 60.0
#: How often the revoked client asks: the resolution of the time from file to effect.
_EVERY = 0.02


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    entries: tuple[int, ...]
    rounds: int
    seconds: float
    lists: int
    #: Seconds of load before the first list, and between two: what one disturbs is not to run into the next one's.
    calm: float
    pause: float

    @staticmethod
    def of(quick: bool) -> Plan:
        """``quick``: within about forty seconds."""
        if quick:
            return Plan((0, 100_000), 3, 0.5, 2, 5.0, 2.0)
        return Plan((0, 10_000, 100_000, 1_000_000), 7, 2.0, 5, 10.0, 5.0)


def _label(entries: int) -> str:
    return (
        f"{entries // 1_000_000}m"
        if entries >= 1_000_000
        else f"{entries // 1000}k"
        if entries >= 1000
        else str(entries)
    )


class _Lengths:
    """Gateways with CRLs of every length, asked in turn."""

    def __init__(self, build: Path, material: Material, plan: Plan) -> None:
        self._build, self._material, self._plan = build, material, plan
        self._client = material.client(_USER)
        self.figures: dict[str, float] = {}

    def measure(self, generator: Generator, port: int) -> None:
        with contextlib.ExitStack() as stack:
            running = {
                entries: stack.enter_context(
                    gateway.running(
                        f"CRL of {entries:,}",
                        self._build / f"gateway-{entries}",
                        self._material,
                        port,
                        {_USER: self._client},
                        crl_entries=entries,
                    )
                )
                for entries in self._plan.entries
            }
            # After its start the clerk compiles each list once more.
            for each in running.values():
                await_rest(each.target.watched[0])
            for name, question in zip(("handshakes", "requests"), _QUESTIONS, strict=True):
                self._ask(generator, name, question, running)

    def _ask(self, generator: Generator, name: str, question: Question, running: dict[int, Gateway]) -> None:
        answers = Answers(question)
        for _ in range(self._plan.rounds):
            for each in running.values():
                reading = generator.measure(
                    question.mode,
                    each.target,
                    client=self._client,
                    seconds=self._plan.seconds,
                    connections=question.connections,
                    headers=(*BROWSER_HEADERS, f"Cookie: {each.headers(_USER)['Cookie']}") if question.browser else (),
                    warm=0.3,
                )
                answers.add(each.target.name, reading)
        print("\n".join(answers.lines()), flush=True)
        shortest = running[min(running)].target.name
        ratios = {entries: answers.ratio(each.target.name, shortest) for entries, each in running.items()}
        for entries, ratio in ratios.items():
            if entries != min(running):
                self.figures[f"{name}_crl_{_label(entries)}_vs_{_label(min(running))}"] = round(ratio, 3)
        self.figures[f"{name}_least_with_crl"] = round(min(ratios.values()), 3)


class _Arrivals:
    """New lists for a gateway and for an nginx that both have one already, each with one certificate more."""

    def __init__(self, material: Material, entries: int, lists: int) -> None:
        self._material = material
        self.victims = {f"victim{number}": material.client(f"victim{number}") for number in range(lists + 1)}
        self._entries = entries
        self._lists: dict[str, bytes] = {}

    def make(self) -> None:
        """Every list, beforehand: to make one takes a processor seconds, which the load would feel.

        Their numbers are higher than those of all lists so far, as they must be.
        """
        revoked: tuple[int, ...] = ()
        for user, held in self.victims.items():
            revoked += (held.certificate.serial_number,)
            self._lists[user] = self._material.crl(self._entries, revoked)

    def to_gateway(self, running: Gateway, user: str) -> float:
        """Seconds from the file's being there to the first request of a new connection that is refused."""
        headers = running.headers(user)

        def is_refused() -> bool:
            with Client(running.target, self._material, running.clients[user], timeout=20) as client:
                return client.get("/page", headers) != 200

        return _seconds_until(is_refused, lambda: running.put_crl(self._lists[user]))

    def to_nginx(self, target: Target, crl: Path, user: str, master: int) -> float:
        """The same of nginx: the file, which must be PEM and have the root's list too, and SIGHUP to its master."""
        pem = _pem(self._lists[user]) + _pem(self._material.empty_root_crl())

        def is_refused() -> bool:
            with Client(target, self._material, self.victims[user], timeout=60) as client:
                return client.get("/page", {}) != 200

        def put() -> None:
            draft = crl.with_suffix(".draft")
            draft.write_bytes(pem)
            draft.replace(crl)
            os.kill(master, signal.SIGHUP)

        return _seconds_until(is_refused, put)


def _pem(der: bytes) -> bytes:
    return b"-----BEGIN X509 CRL-----\n" + base64.encodebytes(der) + b"-----END X509 CRL-----\n"


def _seconds_until(is_refused: Callable[[], bool], put: Callable[[], None]) -> float:
    if is_refused():
        raise BenchmarkError("a certificate was refused before its list was there")
    began = time.monotonic()
    put()
    while time.monotonic() - began < _PATIENCE:
        try:
            refused = is_refused()
        except OSError:
            # A connection that was cut as the list came; the next one is told why, or is admitted.
            refused = False
        if refused:
            return time.monotonic() - began
        time.sleep(_EVERY)
    raise BenchmarkError(f"{_PATIENCE:g} s after its list came a revoked certificate is still admitted")


class _Load:
    """Another user's requests that go on while the context is open; afterwards ``lines`` has one for each interval."""

    def __init__(self, generator: Generator, running: Gateway, user: str) -> None:
        command = generator.command(
            "requests",
            running.target,
            client=running.clients[user],
            connections=_CONNECTIONS,
            headers=(*BROWSER_HEADERS, f"Cookie: {running.headers(user)['Cookie']}"),
        )
        more = ["--pause-ms", str(_PAUSE_MS), "--seconds", "300", "--warm", "2", "--interval", str(_INTERVAL)]
        self._command = [*command, *more, "--maximum-errors", "0"]
        self.lines: list[dict[str, float]] = []

    def __enter__(self) -> _Load:
        # The window begins so long after the program.
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self.began = time.monotonic() + 2
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        output, _ = self._process.communicate()
        found = [json.loads(line) for line in output.splitlines()]
        self.lines = [line for line in found if line.get("event") == "interval"]
        if error[0] is None and (not found or found[-1].get("errors") or found[-1].get("reconnects")):
            raise BenchmarkError(f"the load was disturbed by a new list: {found[-1:]}")


def _disturbed(percentiles: list[float], usual: float) -> float:
    """The longest run of seconds in which the 99th percentile was more than double of the usual one."""
    longest = run = 0.0
    for percentile in percentiles:
        run = run + _INTERVAL if percentile > 2 * usual else 0.0
        longest = max(longest, run)
    return longest


def _new_lists(build: Path, material: Material, generator: Generator, port: int, plan: Plan) -> dict[str, float]:
    entries = max(plan.entries)
    arrivals = _Arrivals(material, entries, plan.lists)
    users = {_USER: material.client(_USER), **arrivals.victims}
    with gateway.running("gateway", build / "gateway-new", material, port, users, crl_entries=entries) as running:
        (worker,) = running.workers
        arrivals.make()
        await_rest(running.target.watched[0])
        with _Load(generator, running, _USER) as load:
            time.sleep(2 + plan.calm)
            # The first list makes what is made once; memory is compared from there on.
            first_list = time.monotonic() - load.began
            taken = [arrivals.to_gateway(running, "victim0")]
            time.sleep(plan.pause)
            before = anonymous([worker])
            for number in range(1, plan.lists + 1):
                taken.append(arrivals.to_gateway(running, f"victim{number}"))
                time.sleep(plan.pause)
            grown = (anonymous([worker]) - before) / 2**20
    before_it = [line["p99_ms"] for line in load.lines if line["began"] + _INTERVAL < first_list]
    since = [line["p99_ms"] for line in load.lines if line["began"] + _INTERVAL >= first_list]
    usual = statistics.median(before_it)
    disturbed, noise, worst = _disturbed(since, usual), _disturbed(before_it, usual), max(since)
    print(
        f"a new CRL of {entries:,} entries, {plan.lists + 1} times: in force after {statistics.median(taken):.2f} s "
        f"(median; worst {max(taken):.2f})\n"
        f"  99 % of a load's requests within {usual:.1f} ms before, {worst:.1f} ms in the worst half second since;\n"
        f"  more than doubled for {disturbed:g} s at the longest ({noise:g} s without a new list); "
        f"worker grown by {grown:.1f} MB",
        flush=True,
    )
    return {
        "new_crl_seconds_to_effect": round(statistics.median(taken), 3),
        "new_crl_seconds_disturbed": disturbed,
        "new_crl_seconds_disturbed_without": noise,
        "new_crl_worst_p99_vs_before": round(worst / usual, 2),
        "new_crl_worker_mb_grown": round(grown, 2),
    }


def _nginx_reloads(build: Path, material: Material, port: int, plan: Plan) -> dict[str, float]:
    entries = max(plan.entries)
    arrivals = _Arrivals(material, entries, 2)
    crl = material.crl_file(entries)
    arrivals.make()
    with nginx.proxy_only("nginx", build / "nginx", material, port, crl) as target:
        taken = [arrivals.to_nginx(target, crl, user, target.watched[0]) for user in arrivals.victims]
    print(f"the same list for nginx, with a reload: in force after {statistics.median(taken):.2f} s", flush=True)
    return {"new_crl_nginx_seconds_to_effect": round(statistics.median(taken), 3)}


def figures(plan: Plan) -> dict[str, float]:
    """Print every figure; returns them by name.

    Raises:
        BenchmarkError: something was refused that is good, or admitted that is not, or the load was disturbed.
    """
    with tempfile.TemporaryDirectory(prefix="mtls-bench-") as folder:
        build = Path(folder)
        material = Material(build / "material")
        with backend(build) as (port, pid):
            generator = Generator(load_program(build), pid)
            lengths = _Lengths(build, material, plan)
            lengths.measure(generator, port)
            found = {**lengths.figures, **_new_lists(build, material, generator, port, plan)}
            if nginx.missing() is None:
                found.update(_nginx_reloads(build, material, port, plan))
                theirs = found["new_crl_nginx_seconds_to_effect"]
                found["new_crl_effect_vs_nginx_reload"] = round(found["new_crl_seconds_to_effect"] / theirs, 3)
    return found


def main() -> int:
    """Print the figures; the last line is JSON."""
    lengths = tuple(sorted(int(word) for word in sys.argv[1:]))
    plan = Plan.of(quick=os.environ.get("QUICK", "") not in ("", "0"))
    if lengths:
        plan = replace(plan, entries=lengths)
    print(HEADING)
    try:
        found = figures(plan)
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks.new_crl: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
