"""The contest: peers and gateway in turn, asked the same questions; only ratios travel from one machine to another.

Every window is taken of each contestant before the next round begins. The figure is what was completed per processor
second of the proxy with all its processes, which is the wall-clock rate of a full core, and still holds where the load
generator's core was full first.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import gateway
from benchmarks.figures import Answers, Question
from benchmarks.generator import BROWSER_HEADERS, Generator, NothingDone, Reading, Target, backend, load_program
from benchmarks.idle import idle_kilobytes
from benchmarks.machine import await_rest
from benchmarks.material import Material
from benchmarks.roster import (
    AS_WRITTEN,
    ENVOY,
    GATEWAY,
    HAPROXY,
    LUA,
    NGINX,
    PROXYING,
    SESSION,
    WHOLE_JOB,
    Roster,
    named,
)

_USER = "user0001"
_MEGABYTE = 2**20


def say(line: str) -> None:
    """A line of what is done at this moment."""
    print(f"[{time.strftime('%H:%M:%S')}] {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    quick: bool
    rounds: int
    seconds: float
    idle_connections: int
    crls: tuple[int, ...]

    @staticmethod
    def of(quick: bool) -> Plan:
        """``quick``: under five minutes."""
        if quick:
            return Plan(True, 4, 0.5, 1_000, (100_000,))
        return Plan(False, 5, 3.0, 4_000, (10_000, 100_000, 1_000_000))


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
#: The same offered load for whoever answers, about a third of what a core can do: the faster one is not asked more.
_PACED = (
    Question("whole job, 32 connections, paced", "requests", 32, more=("--pause-ms", "15"), browser=True, warm=1.0),
    Question("whole job, 256 connections, paced", "requests", 256, more=("--pause-ms", "120"), browser=True, warm=3.0),
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
        self.roster = Roster(build, self.material, self.client, plan.quick)
        self._cookies: dict[str, str] = {}

    def run(self) -> None:
        """Everything, in the order in which it disturbs itself least."""
        with backend(self.build) as (port, pid):
            generator = Generator(load_program(self.build), pid)
            self.idle(port)
            with contextlib.ExitStack() as stack:
                targets = self._start(stack, port)
                proxying = [targets[name] for name in (*PROXYING, GATEWAY) if name in targets]
                whole = [targets[name] for name in (NGINX, *WHOLE_JOB, AS_WRITTEN, GATEWAY) if name in targets]
                for question in _PROXYING:
                    self._ask(generator, question, proxying)
                for question in _WHOLE_JOB:
                    self._ask(generator, question, whole)
                for question in () if self.plan.quick else _PACED:
                    self._ask(generator, question, [targets[name] for name in (LUA, GATEWAY) if name in targets])
            for entries in self.plan.crls:
                self._with_crl(generator, port, entries)

    def _start(self, stack: contextlib.ExitStack, port: int) -> dict[str, Target]:
        started = [self._gateway(stack, port, "gateway", 0)]
        if gateway.COMPILED.exists():
            started.append(self._gateway(stack, port, "gateway-as-written", 0, AS_WRITTEN))
        for name in self.roster.present((*PROXYING, *WHOLE_JOB)):
            started.append(stack.enter_context(self.roster.start(name, port)))
        return {target.name: target for target in started}

    def _gateway(
        self, stack: contextlib.ExitStack, port: int, folder: str, entries: int, name: str = GATEWAY
    ) -> Target:
        users, compiled = {_USER: self.client}, name == GATEWAY
        place = self.build / folder
        running = gateway.running(name, place, self.material, port, users, crl_entries=entries, compiled=compiled)
        started = stack.enter_context(running)
        self._cookies[name] = started.cookies[_USER]
        return started.target

    def _headers(self, target: Target) -> tuple[str, ...]:
        cookie = self._cookies.get(target.name, SESSION)
        return (*BROWSER_HEADERS, f"Cookie: __Host-ib-session={cookie}")

    def _ask(self, generator: Generator, question: Question, targets: list[Target]) -> None:
        answers = self.answers[question.name] = Answers(question)
        say(f"{question.name}: {', '.join(target.name for target in targets)}")
        for _ in range(self.plan.rounds):
            for target in targets:
                reading = self._window(generator, question, target, self.plan.seconds)
                answers.add(target.name, reading)

    def _window(self, generator: Generator, question: Question, target: Target, seconds: float) -> Reading:
        """One window, or where the machine had no time for anything in it, one that is twice as long, three times."""
        try:
            return generator.measure(
                question.mode,
                target,
                client=self.client,
                seconds=seconds,
                connections=question.connections,
                headers=self._headers(target) if question.browser else (),
                path=question.path,
                more=question.more,
                warm=question.warm,
            )
        except NothingDone:
            if seconds > 4 * self.plan.seconds:
                raise
            return self._window(generator, question, target, 2 * seconds)

    def _with_crl(self, generator: Generator, port: int, entries: int) -> None:
        crl = self.material.crl_file(entries)
        question = Question(f"full handshakes, a CRL of {entries:,} entries", "handshake")
        with contextlib.ExitStack() as stack:
            targets = [self._gateway(stack, port, f"gateway-{entries}", entries)]
            # After its start the clerk compiles the list once more.
            await_rest(targets[0].watched[0])
            targets += [
                stack.enter_context(self.roster.start(name, port, crl))
                for name in self.roster.present((NGINX, HAPROXY))
            ]
            self._ask(generator, question, targets)

    def idle(self, port: int, names: Sequence[str] = (NGINX, HAPROXY, GATEWAY)) -> None:
        """First, with fresh processes: what earlier load left in an allocator would hide it."""
        program = load_program(self.build)
        for name in (*self.roster.present((NGINX, HAPROXY)), GATEWAY):
            with contextlib.ExitStack() as stack:
                if name == GATEWAY:
                    target = self._gateway(stack, port, "gateway-idle", 0)
                else:
                    target = stack.enter_context(self.roster.start(name, port))
                generator = Generator(program, os.getpid())
                found = idle_kilobytes(
                    generator, target, self.client, self._headers(target), self.plan.idle_connections
                )
                self.ratios[f"idle_kb_{name}"] = round(found, 1)
                say(f"idle connection, {name}: {found:.1f} KB")

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
            for peer in PROXYING:
                self._ratio(name, question.name, peer)
        for name, question in zip(("requests_32", "requests_256"), whole, strict=True):
            answers = self.answers[question.name]
            for peer in (*WHOLE_JOB, NGINX, AS_WRITTEN):
                self._ratio(name, question.name, peer)
                if peer in answers.readings:
                    self.ratios[f"{name}_p99_vs_{named(peer)}"] = round(answers.latency_ratio(GATEWAY, peer), 3)
        for name, question in zip(("paced_32", "paced_256"), () if self.plan.quick else _PACED, strict=False):
            answers = self.answers[question.name]
            if LUA in answers.readings:
                self.ratios[f"{name}_p99_vs_{named(LUA)}"] = round(answers.latency_ratio(GATEWAY, LUA), 3)
        for entries in self.plan.crls:
            question_name = f"full handshakes, a CRL of {entries:,} entries"
            label = f"{entries // 1000}k" if entries < 1_000_000 else f"{entries // 1_000_000}m"
            self._ratio(f"handshakes_crl_{label}", question_name, NGINX)
            self._ratio(f"handshakes_crl_{label}", question_name, HAPROXY)
        for peer in (NGINX, ENVOY):
            parts = (f"{each}_vs_{peer}" for each in ("bulk_1m", "bulk_100m", "upload_1m"))
            self._worse_of(f"bulk_vs_{peer}", *parts)
        for peer in WHOLE_JOB:
            whole_job = [f"requests_{connections}_vs_{named(peer)}" for connections in (32, 256)]
            self._worse_of(f"requests_vs_{named(peer)}", *whole_job)
        if f"idle_kb_{NGINX}" in self.ratios:
            idle = self.ratios[f"idle_kb_{GATEWAY}"] / self.ratios[f"idle_kb_{NGINX}"]
            self.ratios["idle_kb_vs_nginx"] = round(idle, 3)

    def take(self, found: Mapping[str, float]) -> None:
        """Figures that have their names already."""
        self.ratios.update(found)

    def add(self, name: str, found: Mapping[str, float]) -> None:
        """Figures that are no ratios: each, and the worst of them."""
        for part, figure in found.items():
            self.ratios[f"{name}_{part}"] = figure
        self.ratios[name] = max(found.values())

    def _ratio(self, name: str, question: str, peer: str) -> None:
        answers = self.answers[question]
        if peer in answers.readings:
            self.ratios[f"{name}_vs_{named(peer)}"] = round(answers.ratio(GATEWAY, peer), 3)

    def _worse_of(self, name: str, *others: str) -> None:
        found = [self.ratios[other] for other in others if other in self.ratios]
        if found:
            self.ratios[name] = min(found)
