"""Any process is killed every two seconds while customers enrol, sign in, transfer and are revoked.

Nothing that was acknowledged may be lost, nobody revoked be let in, nobody see another's session, nobody who is signed
in be signed out. How many requests failed besides, and how, is a figure.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.endurance.bank import Bank, running
from benchmarks.endurance.people import Ledger, People, Person
from mtls_gateway.model import CertificateId, CertificateState
from mtls_gateway.store.opening import Store

SECONDS = 300.0
_EVERY = 2.0
#: How often each is the one: without a master nobody is served until it has been started again.
_ROLES = {"gateway": 4, "portal": 4, "signer": 3, "clerk": 2, "master": 1}
_NAMES = 5_000
#: Of those who stay signed in from the beginning to the end, and of those who come and go.
_STAYING, _COMING = 4, 3
#: Between two tries of the same. Seconds.
_PAUSE = 0.2
#: Seconds within which a revocation must have reached everything.
_PROMISED = 1.0
#: How long what is under way is waited for at the end.
_SETTLE = 60.0


class World:
    """The threads: what each does again and again until it is told to stop."""

    def __init__(self, bank: Bank, people: People, ledger: Ledger, staying: list[Person]) -> None:
        self._bank = bank
        self._people = people
        self._ledger = ledger
        self._stop = threading.Event()
        self._enrolled: list[Person] = []
        self._last_look: dict[str, float] = {}
        #: Seconds between two pages that somebody who had signed in was given.
        self.longest_wait = 0.0
        works: list[Callable[[], None]] = [self._enrol, self._enrol, self._revoke, self._look_at_revoked]
        works += [lambda one=person: self._stay(one) for person in staying]  # type: ignore[misc]
        works += [self._come_and_go] * _COMING
        self._threads = [threading.Thread(target=self._repeat, args=(work,)) for work in works]

    def __enter__(self) -> World:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(180)
            if thread.is_alive():
                self._ledger.broke("a customer still waits, long after the last kill")

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                work()
            except Exception as error:
                # Whatever it is, it is no way to fail.
                self._ledger.broke(f"{type(error).__name__}: {error}")

    def _goes_on(self) -> bool:
        return not self._stop.is_set()

    def _enrol(self) -> None:
        person = self._people.enrol(self._goes_on)
        if person is not None:
            self._enrolled.append(person)
        self._stop.wait(0.3)

    def _stay(self, person: Person) -> None:
        if self._ledger.tried("look", lambda: self._people.look(person)):
            now = time.monotonic()
            self.longest_wait = max(self.longest_wait, now - self._last_look.get(person.user_id, now))
            self._last_look[person.user_id] = now
        self._ledger.tried("transfer", lambda: self._people.transfer(person))
        self._stop.wait(0.05)

    def _come_and_go(self) -> None:
        person = self._somebody()
        if person is None:
            return
        for _ in range(4):
            if self._ledger.tried("sign-in", lambda: self._people.sign_in(person)):
                self._ledger.tried("transfer", lambda: self._people.transfer(person))
            self._stop.wait(_PAUSE)
        self._enrolled.append(person)

    def _revoke(self) -> None:
        person = self._somebody()
        if person is None:
            return
        if not self._ledger.tried("sign-in", lambda: self._people.sign_in(person)):
            self._enrolled.append(person)
            self._stop.wait(_PAUSE)
            return
        self._people.revoke(person)
        self._ledger.did("revocation")
        until = time.monotonic() + 2 * _PROMISED
        while time.monotonic() < until:
            if not self._ledger.tried("request of one revoked", lambda: self._people.is_refused(person, _PROMISED)):
                self._stop.wait(_PAUSE)

    def _look_at_revoked(self) -> None:
        for person in random.sample(self._ledger.revoked, min(8, len(self._ledger.revoked))):
            if self._goes_on():
                self._ledger.tried("request of one revoked", lambda one=person: self._people.is_refused(one, _PROMISED))  # type: ignore[misc]
        self._stop.wait(_PAUSE)

    def _somebody(self) -> Person | None:
        with suppress(IndexError):
            return self._enrolled.pop(0)
        self._stop.wait(_PAUSE)
        return None


def _kill(bank: Bank, seconds: float) -> Counter[str]:
    chance = random.Random("kill -9")
    killed: Counter[str] = Counter()
    until = time.monotonic() + seconds
    following = time.monotonic()
    while (now := time.monotonic()) < until:
        if now < following:
            time.sleep(min(following - now, until - now))
            continue
        following += _EVERY
        there = {role: pids for role in _ROLES if (pids := bank.service.processes(role))}
        if len(there) < len(_ROLES):
            # One that is still beginning would never get to have any others.
            del there["master"]
        if not there:
            continue
        role = chance.choices(list(there), [_ROLES[role] for role in there])[0]
        with suppress(ProcessLookupError):
            os.kill(chance.choice(there[role]), signal.SIGKILL)
            killed[role] += 1
    return killed


def _look_at_the_end(bank: Bank, people: People, ledger: Ledger, staying: list[Person]) -> None:
    """Everything that was acknowledged, held against the rows and against the gateway."""
    bank.wait_until_ready()
    give_up = time.monotonic() + _SETTLE
    while time.monotonic() < give_up and not ledger.tried("last look", lambda: people.look(staying[0])):
        time.sleep(0.5)
    for person in staying:
        ledger.tried("last look", lambda one=person: people.look(one))  # type: ignore[misc]
    for person in ledger.revoked:
        ledger.tried("last request of one revoked", lambda one=person: people.is_refused(one, 0.0))  # type: ignore[misc]
    revoked = {person.certificate for person in ledger.revoked}

    async def read(store: Store) -> dict[str, list[tuple[CertificateId, CertificateState]]]:
        found: dict[str, list[tuple[CertificateId, CertificateState]]] = {}
        for one in await store.certificates.all():
            found.setdefault(one.user_id, []).append((one.certificate, one.state))
        return found

    rows = bank.rows(read)
    for user_id, identity in ledger.enrolled.items():
        wanted = CertificateState.REVOKED if identity in revoked else CertificateState.VALID
        if rows.get(user_id) != [(identity, wanted)]:
            ledger.broke(f"{user_id}: {wanted.value} was acknowledged, and the rows have {rows.get(user_id)}")
    while bank.rows(lambda store: store.enrolments.unfinished(time.time() - 5.0)):
        if time.monotonic() > give_up:
            ledger.broke("an enrolment is left half done")
            break
        time.sleep(0.5)
    words = [sys.executable, "-m", "mtls_gateway", "--config", str(bank.material.configuration), "audit", "verify"]
    verified = subprocess.run(words, capture_output=True, text=True, check=False)
    if verified.returncode:
        ledger.broke(f"the audit log: {verified.stderr}")


def run(folder: Path, seconds: float) -> bool:
    """Measure and print; whether no promise was broken."""
    load_before = os.getloadavg()
    names = [f"person{number:04}" for number in range(_NAMES)]
    ledger = Ledger()
    with running(folder, names) as bank:
        people = People(bank, ledger, names)
        staying = [person for _ in range(_STAYING) if (person := people.enrol(lambda: True)) is not None]
        for person in staying:
            people.sign_in(person)
        with World(bank, people, ledger, staying) as world:
            killed = _kill(bank, seconds)
        _look_at_the_end(bank, people, ledger, staying)
        tracebacks = bank.log.count("Traceback")
        restarts = bank.service.restarts
    figures = {
        "seconds": seconds,
        "killed": dict(killed),
        "restarts": restarts,
        "broken_promises": len(ledger.broken),
        "done": dict(ledger.done),
        "failed": dict(ledger.failed.most_common()),
        "failed_of_all": f"{ledger.failed.total()} of {ledger.done.total() + ledger.failed.total()}",
        "longest_wait_seconds": round(world.longest_wait, 1),
        "acknowledged_certificates": len(ledger.enrolled),
        "acknowledged_revocations": len(ledger.revoked),
        "tracebacks": tracebacks,
        "load_before": round(load_before[0], 1),
        "load_after": round(os.getloadavg()[0], 1),
    }
    for name, figure in figures.items():
        print(f"{name:<28}{figure}")
    for broken in ledger.broken[:50]:
        print(f"BROKEN: {broken}")
    print(json.dumps({"kills": figures}), flush=True)
    return not ledger.broken
