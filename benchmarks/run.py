"""Peers and gateway in turn, in one run; only ratios travel from one machine to another.

Every window is taken of each contestant before the next round begins. The figure is what was completed per processor
second of the proxy with all its processes, which is the wall-clock rate of a full core, and still holds where the load
generator's core was full first.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend as wheel

from benchmarks import gateway, memory, revocation
from benchmarks.figures import HEADING, Answers, Question
from benchmarks.generator import BROWSER_HEADERS, Generator, Target, backend, load_program
from benchmarks.idle import idle_kilobytes
from benchmarks.machine import BenchmarkError
from benchmarks.material import Material
from benchmarks.peers import envoy, haproxy, nginx

GATEWAY, NGINX, AUTH_REQUEST, LUA, HAPROXY = "gateway", "nginx", "nginx auth_request", "nginx + Lua", "haproxy"
ENVOY, ENVOY_LUA = "envoy", "envoy + Lua"
_USER = "user0001"
#: A session cookie of the gateway's own length, for the peer that has none of its own.
_SESSION = "k7Qw2ZfA9cXrT0pLmB4vNs6JhYdGe1Ui" * 2
_MEGABYTE = 2**20

#: Peers of the performance record that have no recipe here yet, and the program that would be needed.
_WITHOUT_RECIPE = {
    "nginx auth_request + Go": "golang",
    "Caddy": "caddy",
    "Apache": "apache2",
}


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    rounds: int
    seconds: float
    idle_connections: int
    crls: tuple[int, ...]

    @staticmethod
    def of(quick: bool) -> Plan:
        """``quick``: under five minutes."""
        if quick:
            return Plan(5, 0.6, 1_000, (100_000,))
        return Plan(5, 4.0, 4_000, (10_000, 100_000, 1_000_000))


_PROXYING = (
    Question("full TLS 1.3 mutual handshakes", "handshake"),
    Question("full handshakes, each with one request", "handshake", more=("--ask",), browser=True),
    Question("full TLS 1.2 mutual handshakes", "handshake", more=("--tls", "1.2")),
    Question("resumed TLS 1.3 handshakes", "resume"),
    Question("download, 1 MiB bodies", "bulk", 8, f"/octets/{_MEGABYTE}", bulk=True, browser=True),
    Question("download, 100 MiB bodies", "bulk", 4, f"/octets/{100 * _MEGABYTE}", bulk=True, browser=True),
    Question("upload, 1 MiB bodies", "bulk", 8, more=("--body", str(_MEGABYTE)), bulk=True, browser=True),
)
_WHOLE_JOB = (
    Question("whole job, 2 KB page, 32 connections", "requests", 32, browser=True),
    Question("whole job, 2 KB page, 256 connections", "requests", 256, browser=True),
)


class Contest:
    """One run's contestants and what they answered."""

    def __init__(self, build: Path, plan: Plan) -> None:
        self.plan = plan
        self.build = build
        self.material = Material(build / "material")
        self.client = self.material.client(_USER)
        self.answers: dict[str, Answers] = {}
        self.ratios: dict[str, float] = {}
        self.missing: dict[str, str] = {}
        self._cookies: dict[str, str] = {}

    def run(self) -> None:
        """Everything, in the order in which it disturbs itself least."""
        with backend(self.build) as (port, pid):
            generator = Generator(load_program(self.build), pid)
            self.idle(port)
            with contextlib.ExitStack() as stack:
                targets = self._start(stack, port)
                proxying = [targets[name] for name in (NGINX, HAPROXY, ENVOY, GATEWAY) if name in targets]
                whole = [targets[name] for name in (NGINX, AUTH_REQUEST, LUA, ENVOY_LUA, GATEWAY) if name in targets]
                for question in _PROXYING:
                    self._ask(generator, question, proxying)
                for question in _WHOLE_JOB:
                    self._ask(generator, question, whole)
            for entries in self.plan.crls:
                self._with_crl(generator, port, entries)

    def _start(self, stack: contextlib.ExitStack, port: int) -> dict[str, Target]:
        started = [self._gateway(stack, port, "gateway", 0)]
        if self._present(NGINX, nginx.missing):
            started.append(stack.enter_context(self._nginx(port, None)))
            judged = nginx.with_auth_request(
                AUTH_REQUEST, self.build / "nginx-auth-request", self.material, port, self.client, _SESSION
            )
            started.append(stack.enter_context(judged))
        if self._present(LUA, nginx.lua_missing):
            in_process = nginx.with_lua(LUA, self.build / "nginx-lua", self.material, port, self.client, _SESSION)
            started.append(stack.enter_context(in_process))
        if self._present(HAPROXY, haproxy.missing):
            started.append(stack.enter_context(self._haproxy(port, None)))
        if self._present(ENVOY, envoy.missing):
            started.append(stack.enter_context(envoy.proxy_only(ENVOY, self.build / "envoy", self.material, port)))
            in_process = envoy.with_lua(ENVOY_LUA, self.build / "envoy-lua", self.material, port, self.client, _SESSION)
            started.append(stack.enter_context(in_process))
        return {target.name: target for target in started}

    def _present(self, name: str, why_not: Callable[[], str | None]) -> bool:
        reason = why_not()
        if reason is not None:
            self.missing[name] = reason
        return reason is None

    def _nginx(self, port: int, crl: Path | None) -> contextlib.AbstractContextManager[Target]:
        return nginx.proxy_only(NGINX, self.build / "nginx", self.material, port, crl)

    def _haproxy(self, port: int, crl: Path | None) -> contextlib.AbstractContextManager[Target]:
        return haproxy.proxy_only(HAPROXY, self.build / "haproxy", self.material, port, crl)

    def _gateway(self, stack: contextlib.ExitStack, port: int, folder: str, entries: int) -> Target:
        users = {_USER: self.client}
        running = gateway.running(GATEWAY, self.build / folder, self.material, port, users, crl_entries=entries)
        started = stack.enter_context(running)
        self._cookies[GATEWAY] = started.cookies[_USER]
        return started.target

    def _headers(self, target: Target) -> tuple[str, ...]:
        cookie = self._cookies.get(target.name, _SESSION)
        return (*BROWSER_HEADERS, f"Cookie: __Host-ib-session={cookie}")

    def _ask(self, generator: Generator, question: Question, targets: list[Target]) -> None:
        answers = self.answers[question.name] = Answers(question)
        _say(f"{question.name}: {', '.join(target.name for target in targets)}")
        for _ in range(self.plan.rounds):
            for target in targets:
                reading = generator.measure(
                    question.mode,
                    target,
                    client=self.client,
                    seconds=self.plan.seconds,
                    connections=question.connections,
                    headers=self._headers(target) if question.browser else (),
                    path=question.path,
                    more=question.more,
                    warm=0.3,
                )
                answers.add(target.name, reading)

    def _with_crl(self, generator: Generator, port: int, entries: int) -> None:
        crl = self.material.crl_file(entries)
        question = Question(f"full handshakes, a CRL of {entries:,} entries", "handshake")
        with contextlib.ExitStack() as stack:
            targets = [self._gateway(stack, port, f"gateway-{entries}", entries)]
            if NGINX not in self.missing:
                targets.insert(0, stack.enter_context(self._nginx(port, crl)))
            if HAPROXY not in self.missing:
                targets.insert(1, stack.enter_context(self._haproxy(port, crl)))
            self._ask(generator, question, targets)

    def idle(self, port: int, names: Sequence[str] = (NGINX, HAPROXY, GATEWAY)) -> None:
        """First, with fresh processes: what earlier load left in an allocator would hide it."""
        program = load_program(self.build)
        for name in names:
            with contextlib.ExitStack() as stack:
                if name == GATEWAY:
                    target = self._gateway(stack, port, "gateway-idle", 0)
                elif name == NGINX and nginx.missing() is None:
                    target = stack.enter_context(self._nginx(port, None))
                elif name == HAPROXY and haproxy.missing() is None:
                    target = stack.enter_context(self._haproxy(port, None))
                else:
                    continue
                generator = Generator(program, os.getpid())
                found = idle_kilobytes(
                    generator, target, self.client, self._headers(target), self.plan.idle_connections
                )
                self.ratios[f"idle_kb_{name}"] = round(found, 1)
                _say(f"idle connection, {name}: {found:.1f} KB")

    def work_out(self) -> None:
        """Every ratio by its name, gateway to peer: above one the gateway is better (p99 and KB: below one)."""
        proxying, whole = (list(questions) for questions in (_PROXYING, _WHOLE_JOB))
        names = (
            "full_handshakes",
            "first_requests",
            "full_handshakes_tls12",
            "resumed",
            "bulk_1m",
            "bulk_100m",
            "upload_1m",
        )
        for name, question in zip(names, proxying, strict=True):
            for peer in (NGINX, HAPROXY, ENVOY):
                self._ratio(name, question.name, peer)
        for name, question in zip(("requests_32", "requests_256"), whole, strict=True):
            answers = self.answers[question.name]
            for peer in (AUTH_REQUEST, LUA, ENVOY_LUA, NGINX):
                self._ratio(name, question.name, peer)
                if peer in answers.readings:
                    self.ratios[f"{name}_p99_vs_{_named(peer)}"] = round(answers.latency_ratio(GATEWAY, peer), 3)
        for entries in self.plan.crls:
            question_name = f"full handshakes, a CRL of {entries:,} entries"
            label = f"{entries // 1000}k" if entries < 1_000_000 else f"{entries // 1_000_000}m"
            self._ratio(f"handshakes_crl_{label}", question_name, NGINX)
            self._ratio(f"handshakes_crl_{label}", question_name, HAPROXY)
            own = self.answers[question_name].figure(GATEWAY) / self.answers[proxying[0].name].figure(GATEWAY)
            self.ratios[f"handshakes_crl_{label}_vs_gateway_without"] = round(own, 3)
        self._worse_of("bulk_vs_nginx", "bulk_1m_vs_nginx", "bulk_100m_vs_nginx", "upload_1m_vs_nginx")
        for peer in (AUTH_REQUEST, LUA, ENVOY_LUA):
            whole_job = [f"requests_{connections}_vs_{_named(peer)}" for connections in (32, 256)]
            self._worse_of(f"requests_vs_{_named(peer)}", *whole_job)
        if f"idle_kb_{NGINX}" in self.ratios:
            idle = self.ratios[f"idle_kb_{GATEWAY}"] / self.ratios[f"idle_kb_{NGINX}"]
            self.ratios["idle_kb_vs_nginx"] = round(idle, 3)

    def add(self, name: str, found: Mapping[str, float]) -> None:
        """Figures that are no ratios: each, and the worst of them."""
        for part, figure in found.items():
            self.ratios[f"{name}_{part}"] = figure
        self.ratios[name] = max(found.values())

    def _ratio(self, name: str, question: str, peer: str) -> None:
        answers = self.answers[question]
        if peer in answers.readings:
            self.ratios[f"{name}_vs_{_named(peer)}"] = round(answers.ratio(GATEWAY, peer), 3)

    def _worse_of(self, name: str, *others: str) -> None:
        found = [self.ratios[other] for other in others if other in self.ratios]
        if found:
            self.ratios[name] = min(found)


def _named(peer: str) -> str:
    """A peer as part of a ratio's name."""
    return peer.replace(" + ", "_").replace(" ", "_").lower()


#: What the ratios must reach, and what the other figures must stay below.
_AT_LEAST = {
    "full_handshakes_vs_nginx": 2.2,
    "full_handshakes_vs_envoy": 0.85,
    "resumed_vs_nginx": 1.8,
    "handshakes_crl_100k_vs_nginx": 5.0,
    "handshakes_crl_1m_vs_nginx": 50.0,
    "requests_vs_nginx_auth_request": 1.0,
    "requests_vs_nginx_lua": 1.0,
    "requests_vs_envoy_lua": 1.6,
    "bulk_vs_nginx": 1.3,
}
_AT_MOST = {
    "idle_kb_vs_nginx": 1.2,
    "requests_32_p99_vs_nginx_lua": 1.5,
    "requests_256_p99_vs_nginx_lua": 1.5,
    "revocation_worst_seconds": revocation.PROMISE,
    "memory_moved_mb": memory.PROMISE,
}


def _verdict(name: str, figure: float) -> str:
    if name in _AT_LEAST:
        return f"   goal >= {_AT_LEAST[name]:g}: {'reached' if figure >= _AT_LEAST[name] else 'MISSED'}"
    if name in _AT_MOST:
        return f"   goal <= {_AT_MOST[name]:g}: {'reached' if figure <= _AT_MOST[name] else 'MISSED'}"
    return ""


def _say(line: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """``build/bench`` for what lasts; sockets need a short path, and a checkout may lie deep."""
    lasting = Path("build/bench").resolve()
    lasting.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="mtls-bench-"))
    try:
        for name in ("load", "backend"):
            if (lasting / name).exists():
                shutil.copy2(lasting / name, scratch / name)
        yield scratch
        for name in ("load", "backend"):
            shutil.copy2(scratch / name, lasting / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main() -> int:
    """Run, print the table, write ``build/bench/results.json``; the last line is the ratios as JSON."""
    quick = os.environ.get("QUICK", "") not in ("", "0")
    if (os.cpu_count() or 1) < 2:
        print("benchmarks: two cores are needed, one for the proxy and one for the load", file=sys.stderr)
        return 2
    began = time.monotonic()
    try:
        with workspace() as build:
            contest = Contest(build, Plan.of(quick))
            contest.run()
        contest.work_out()
        _say("revocation, with 1,000 live connections")
        contest.add("revocation_worst_seconds", revocation.worst_seconds())
        _say("memory, 2 GB past a slow peer")
        contest.add("memory_moved_mb", memory.moved_megabytes())
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    _report(contest, quick, time.monotonic() - began)
    return 0


def _report(contest: Contest, quick: bool, seconds: float) -> None:
    print(HEADING)
    for answers in contest.answers.values():
        print("\n".join(answers.lines()))
    print("\nratios, gateway to peer")
    for name, ratio in contest.ratios.items():
        print(f"  {name:<52}{ratio:>9.2f}{_verdict(name, ratio)}")
    for name, reason in contest.missing.items():
        print(f"missing: {name}: {reason}")
    for name, package in _WITHOUT_RECIPE.items():
        print(f"not measured: {name}: no recipe in benchmarks/peers yet (it would need {package})")
    about = {
        "quick": quick,
        "seconds": round(seconds),
        "machine": platform.platform(),
        "python": platform.python_version(),
        "openssl of the gateway": wheel.openssl_version_text(),
        "openssl of the system (peers, load)": ssl.OPENSSL_VERSION,
    }
    results = Path("build/bench/results.json")
    results.parent.mkdir(parents=True, exist_ok=True)
    written = {
        "about": about,
        "ratios": contest.ratios,
        "missing": contest.missing,
        "answers": [answers.as_json() for answers in contest.answers.values()],
    }
    results.write_text(json.dumps(written, indent=1) + "\n")
    print(f"\n{seconds:.0f} s; every reading is in {results}")
    print(json.dumps(contest.ratios))
