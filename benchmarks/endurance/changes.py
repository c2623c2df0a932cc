"""Users who are signed in ask without a pause while the gateway is reloaded and upgraded under them: nothing fails.

``REQUESTS`` through twenty reloads, each with a new key for the hosts, five upgrades, and a new CRL each second.
"""

from __future__ import annotations

import json
import os
import random
import signal
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.endurance.customer import Customer
from benchmarks.endurance.processes import lives
from benchmarks.gateway import Gateway, running
from benchmarks.generator import backend
from benchmarks.machine import BenchmarkError
from benchmarks.material import CERTIFICATE_NAME, Material

REQUESTS = 100_000
_LONGEST = 1_500.0
#: Four reloads, then an upgrade; five times.
_STEPS = (*(["reload"] * 4), "upgrade") * 5
_STEP_SECONDS = 120.0
_USERS = 6
#: Customers by what they do: without a pause, with one of up to so many seconds, anew for each request.
_BUSY, _SLOW, _FRESH = 10, 4, 2
_LONGEST_PAUSE = 4.0


class Tally:
    """What came of all requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.latencies: list[float] = []
        self.failures: Counter[str] = Counter()
        self.events: Counter[str] = Counter()

    def answered(self, seconds: float) -> None:
        """One more, good."""
        self.latencies.append(seconds)

    def failed(self, what: str) -> None:
        """One more, bad."""
        with self._lock:
            self.failures[what] += 1

    def saw(self, what: str) -> None:
        """Something that is worth a figure."""
        with self._lock:
            self.events[what] += 1

    @property
    def count(self) -> int:
        """Requests, of both kinds."""
        return len(self.latencies) + self.failures.total()


class Crowd:
    """All customers, a thread each."""

    def __init__(self, gateway: Gateway, tally: Tally) -> None:
        self._gateway = gateway
        self._tally = tally
        self._stop = threading.Event()
        kinds = ["busy"] * _BUSY + ["slow"] * _SLOW + ["fresh"] * _FRESH
        self._threads = [threading.Thread(target=self._live, args=item) for item in enumerate(kinds)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def _live(self, number: int, kind: str) -> None:
        chance = random.Random(number)
        user = list(self._gateway.clients)[number % _USERS]
        held = self._gateway.clients[user]
        context = ssl.create_default_context(cafile=str(self._gateway.material.bundle))
        context.load_cert_chain(held.certificate_file, held.key_file)
        cookie = self._gateway.headers(user)["Cookie"]
        customer: Customer | None = None
        session: ssl.SSLSession | None = None
        while not self._stop.is_set():
            began = time.perf_counter()
            try:
                if customer is not None and customer.was_closed():
                    self._tally.saw("closed while idle")
                    customer = self._left(customer)
                if customer is None:
                    began = time.perf_counter()
                    customer = Customer(self._gateway.target.port, CERTIFICATE_NAME, context, session)
                    self._tally.saw("connections")
                status = customer.ask("/page", cookie)
                session = customer.session
                if status == 200:
                    self._tally.answered(time.perf_counter() - began)
                else:
                    self._tally.failed(f"status {status}")
                if customer.is_over:
                    self._tally.saw("told Connection: close")
                if customer.is_over or kind == "fresh":
                    customer = self._left(customer)
            except (OSError, ValueError, LookupError) as error:
                self._tally.failed(f"{type(error).__name__}: {error}")
                customer = self._left(customer)
            if kind == "slow":
                self._stop.wait(chance.uniform(0.0, _LONGEST_PAUSE))
        self._left(customer)

    @staticmethod
    def _left(customer: Customer | None) -> None:
        if customer is not None:
            customer.close()


class Operator:
    """Reloads and upgrades, and waits until each has been taken."""

    def __init__(self, gateway: Gateway, material: Material) -> None:
        self._gateway = gateway
        self._material = material
        self._file = gateway.crl.parent / "gateway.toml"
        self._keys = 0
        self._shown = (str(material.server_chain), str(material.server.key_file))

    @property
    def master(self) -> int:
        """Its process ID."""
        return int((self._gateway.configuration.state / "run" / "master.pid").read_text())

    def reload(self) -> None:
        """With a new key for both hosts."""
        self._keys += 1
        chain, key = self._material.another_server(self._keys)
        text = self._file.read_text()
        for before, after in zip(self._shown, (str(chain), str(key)), strict=True):
            text = text.replace(before, after)
        self._shown = (str(chain), str(key))
        self._file.write_text(text)
        already = self._count("reload done")
        os.kill(self.master, signal.SIGHUP)
        self._until(lambda: self._count("reload done") > already)

    def upgrade(self) -> None:
        """To the program that is installed: the same, begun anew."""
        before = self.master
        os.kill(before, signal.SIGUSR2)
        self._until(lambda: self.master != before and not lives(before))

    def _count(self, words: str) -> int:
        return self._gateway.log.read_text(errors="replace").count(words)

    def _until(self, look: Callable[[], bool]) -> None:
        give_up = time.monotonic() + _STEP_SECONDS
        while not look():
            if time.monotonic() > give_up:
                raise BenchmarkError(
                    f"not taken within {_STEP_SECONDS:g} s; the log: {self._gateway.log.read_text()[-3000:]}"
                )
            time.sleep(0.1)

    def end(self) -> None:
        """Whoever is the master now."""
        master = self.master
        os.kill(master, signal.SIGTERM)
        give_up = time.monotonic() + _STEP_SECONDS
        while lives(master) and time.monotonic() < give_up:
            time.sleep(0.1)


@contextmanager
def new_crls(gateway: Gateway, material: Material, tally: Tally) -> Iterator[None]:
    """A new CRL each second."""
    stop = threading.Event()

    def publish() -> None:
        entries = 10
        while not stop.wait(1.0):
            entries += 1
            gateway.put_crl(material.crl(entries))
            tally.saw("CRLs")

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def run(folder: Path, requests: int) -> bool:
    """Measure and print; whether nothing failed."""
    folder.mkdir(parents=True)
    load_before = os.getloadavg()
    material = Material(folder / "material")
    users = {f"user{number}": material.client(f"user{number}") for number in range(_USERS)}
    tally = Tally()
    began = time.monotonic()
    with (
        backend(folder) as (port, _),
        running("endurance", folder / "gateway", material, port, users, workers=2, core=None) as gateway,
    ):
        operator = Operator(gateway, material)
        try:
            with Crowd(gateway, tally), new_crls(gateway, material, tally):
                for number, step in enumerate(_STEPS):
                    _wait_for(tally, requests * (number + 1) // (len(_STEPS) + 1), began)
                    operator.reload() if step == "reload" else operator.upgrade()
                    print(f"{time.monotonic() - began:6.0f} s  {step} {number + 1} of {len(_STEPS)}: ", end="")
                    print(f"{tally.count} requests, {tally.failures.total()} failed", flush=True)
                _wait_for(tally, requests, began)
        finally:
            operator.end()
        refused = gateway.log.read_text(errors="replace").count(" refused, everything stays")
        tracebacks = gateway.log.read_text(errors="replace").count("Traceback")
    latencies = sorted(tally.latencies)
    figures = {
        "requests": tally.count,
        "failed": tally.failures.total(),
        "failures": dict(tally.failures),
        "reloads": _STEPS.count("reload"),
        "upgrades": _STEPS.count("upgrade"),
        "refused": refused,
        "tracebacks": tracebacks,
        **{name.replace(" ", "_").replace(":", "").lower(): count for name, count in tally.events.items()},
        "seconds": round(time.monotonic() - began, 1),
        "p50_ms": round(latencies[len(latencies) // 2] * 1_000, 1),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1_000, 1),
        "worst_ms": round(latencies[-1] * 1_000, 1),
        "load_before": round(load_before[0], 1),
        "load_after": round(os.getloadavg()[0], 1),
    }
    for name, figure in figures.items():
        print(f"{name:<28}{figure}")
    print(json.dumps({"changes": figures}), flush=True)
    return not tally.failures and not refused and not tracebacks and tally.count >= requests


def _wait_for(tally: Tally, count: int, began: float) -> None:
    while tally.count < count:
        if time.monotonic() - began > _LONGEST:
            raise BenchmarkError(f"only {tally.count} requests within {_LONGEST:g} s")
        time.sleep(0.05)
