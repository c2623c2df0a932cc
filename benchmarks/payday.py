"""Sign-ins on the morning of payday, simulated: ``python -m benchmarks.payday [--out DIRECTORY] [--costs FILE]``.

What no two cores can show: sign-ins of a million users over several machines. Each sign-in goes through stations with a
queue each: a worker of its machine, the portal of its machine, the one turn of writers that the whole service has, and
the bank, which keeps no queue here. Workers take that turn too, to write down when their sessions were last used. What
a station takes is exponential around a measured mean, which is worse than it is in earnest; arrivals are a Poisson
stream at the rate of the busiest ten minutes. Seeded: the same figures each time. Bounded: ``_SIGN_INS`` sign-ins in
each simulation.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.picture import Series, chart

_SEED = 25
_SIGN_INS = 12_000
#: So many come first and count nothing: the queues begin empty.
_WARM = 1_000
#: A station that is asked for more of its time than this does not keep up: figures would only tell how long it ran.
_FULL = 0.98
_USERS = (10_000, 30_000, 100_000, 200_000, 300_000, 500_000, 700_000, 1_000_000, 2_000_000)
_MACHINES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Costs:
    """Means, in seconds; measured by ``benchmarks.sign_in`` and ``benchmarks.store_costs``."""

    worker: float = 0.019
    portal: float = 0.031
    #: One writing transaction: nobody else writes meanwhile.
    turn: float = 0.005
    #: To write down when one session was last used: each worker does that for all of its own in one turn.
    note: float = 0.00006
    #: Of every worker of every machine, for each sign-in anywhere: it reads the session before its browser comes.
    newcomer: float = 0.0012
    #: The bank's own answers to the replayed form, as this bank's take.
    bank: float = 0.15
    #: Workers on each machine.
    workers: int = 4


@dataclass(frozen=True)
class Assumptions:
    """Of the customers."""

    #: Of all users, how many sign in in the busiest hour, and by how much its busiest ten minutes exceed it.
    busiest_hour: float = 0.20
    peak: float = 1.5
    #: A session is used for so many seconds, for so many requests.
    session: float = 600.0
    requests: int = 40

    def sign_ins_per_second(self, users: int) -> float:
        return users * self.busiest_hour / 3600 * self.peak

    def sessions(self, users: int) -> float:
        """In use at a time."""
        return self.sign_ins_per_second(users) * self.session

    def used_within(self, users: int, seconds: float) -> float:
        """Sessions that are used at least once within ``seconds``."""
        return self.sessions(users) * (1 - math.exp(-seconds * self.requests / self.session))


#: Seconds between two times that a worker writes down the last uses (``sessions.note_use_every``).
_NOTE_EVERY = 15.0


@dataclass(frozen=True)
class Found:
    """Of one simulation; seconds."""

    users: int
    machines: int
    sign_ins_per_second: float
    p50: float
    p99: float
    #: How much of its time each kind of station is asked for; above 1 it cannot be given.
    workers: float
    portals: float
    turn: float

    @property
    def keeps_up(self) -> bool:
        return max(self.workers, self.portals, self.turn) < _FULL


class _Station:
    """First come, first served, by ``servers``."""

    def __init__(self, servers: int) -> None:
        self._free = [0.0] * servers

    def serve(self, now: float, taken: float) -> float:
        """When it is done. Must be asked in the order of arrivals."""
        begun = max(now, heapq.heappop(self._free))
        heapq.heappush(self._free, begun + taken)
        return begun + taken


def simulate(users: int, machines: int, costs: Costs, assumptions: Assumptions) -> Found:
    """The busiest ten minutes, or as much of them as is simulated."""
    source = random.Random(_SEED)
    rate = assumptions.sign_ins_per_second(users)
    workers = [_Station(costs.workers) for _ in range(machines)]
    portals = [_Station(1) for _ in range(machines)]
    turn = _Station(1)
    now, arrivals = 0.0, []
    for _ in range(_SIGN_INS):
        now += source.expovariate(rate)
        arrivals.append(now)
    # What every worker does for each sign-in anywhere is missing to those that it serves.
    newcomers = rate * costs.newcomer
    slowed = costs.worker / (1 - min(0.9, newcomers))
    # Where a sign-in goes, and what part of the station's mean it takes there; None: the bank.
    way: list[tuple[list[_Station] | None, float]] = [
        (workers, slowed / 2),
        (portals, costs.portal / 2),
        ([turn] * machines, costs.turn),
        (None, costs.bank),
        ([turn] * machines, costs.turn),
        ([turn] * machines, costs.turn),
        (portals, costs.portal / 2),
        (workers, slowed / 2),
    ]
    events = [(at, number, 0) for number, at in enumerate(arrivals)]
    # Each worker by its own clock.
    writers = machines * costs.workers
    batch = assumptions.used_within(users, _NOTE_EVERY) / writers * costs.note
    for _ in range(writers):
        at = source.uniform(0, _NOTE_EVERY)
        while at < arrivals[-1]:
            events.append((at, -1, 0))
            at += _NOTE_EVERY
    heapq.heapify(events)
    waited = []
    while events:
        at, number, step = heapq.heappop(events)
        if number < 0:
            turn.serve(at, batch)
            continue
        stations, mean = way[step]
        taken = source.expovariate(1 / mean)
        done = at + taken if stations is None else stations[number % machines].serve(at, taken)
        if step + 1 < len(way):
            heapq.heappush(events, (done, number, step + 1))
        elif number >= _WARM:
            waited.append(done - arrivals[number])
    waited.sort()
    return Found(
        users=users,
        machines=machines,
        sign_ins_per_second=round(rate, 2),
        p50=round(waited[len(waited) // 2], 3),
        p99=round(waited[int(len(waited) * 0.99)], 3),
        workers=round(rate * costs.worker / costs.workers / machines + newcomers, 3),
        portals=round(rate * costs.portal / machines, 3),
        turn=round(rate * 3 * costs.turn + batch * writers / _NOTE_EVERY, 3),
    )


def main() -> int:
    """Print the table, draw the picture; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/growth"))
    parser.add_argument(
        "--costs", type=Path, help="JSON with the fields of Costs that are other than the built-in ones"
    )
    given = parser.parse_args()
    costs = Costs(**json.loads(given.costs.read_text(encoding="utf-8"))) if given.costs else Costs()
    found = [simulate(users, machines, costs, Assumptions()) for machines in _MACHINES for users in _USERS]
    print("| users | sign-ins a second | machines | p50 | p99 | workers | portals | turn of writers |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for one in found:
        times = f"{one.p50:.2f} s | {one.p99:.2f} s" if one.keeps_up else "does not keep up |"
        print(
            f"| {one.users:,} | {one.sign_ins_per_second:,.1f} | {one.machines} | {times} "
            f"| {one.workers:.0%} | {one.portals:.0%} | {one.turn:.0%} |"
        )
    lines = [
        Series(
            f"{machines} machine{'s' if machines > 1 else ''}",
            [(float(one.users), one.p99) for one in found if one.machines == machines and one.keeps_up],
        )
        for machines in _MACHINES
    ]
    given.out.mkdir(parents=True, exist_ok=True)
    picture = chart("A sign-in on payday, simulated: 99 of 100 within", "users", "seconds", lines)
    (given.out / "payday.svg").write_text(picture, encoding="utf-8")
    print(json.dumps({"costs": asdict(costs), "found": [asdict(one) for one in found]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
