"""From readings to figures: medians, ratios within one round, a table, and one line of JSON."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from benchmarks.generator import Reading

#: A core that is busier than this is full.
_FULL = 0.93


@dataclass(frozen=True)
class Question:
    """One thing that is asked of several contestants in turn."""

    name: str
    mode: str
    connections: int = 32
    path: str = "/page"
    more: tuple[str, ...] = ()
    #: Count megabytes of body rather than completed exchanges.
    bulk: bool = False
    #: Send a browser's headers and the session cookie.
    browser: bool = False
    #: Seconds before the window: paced connections are opened a few at a time.
    warm: float = 0.3

    @property
    def unit(self) -> str:
        """What is counted, per processor second of the proxy."""
        return "MB" if self.bulk else "exchanges" if self.mode == "requests" else "handshakes"


@dataclass
class Answers:
    """The readings of one question, by contestant, in the order of the rounds."""

    question: Question
    readings: dict[str, list[Reading]] = field(default_factory=lambda: defaultdict(list))

    def add(self, contestant: str, reading: Reading) -> None:
        """One window."""
        self.readings[contestant].append(reading)

    def figures(self, contestant: str) -> list[float]:
        """What counts, per processor second of the proxy, round by round."""
        bulk = self.question.bulk
        return [each.megabytes_per_core if bulk else each.per_core for each in self.readings[contestant]]

    def figure(self, contestant: str) -> float:
        """The median."""
        return statistics.median(self.figures(contestant))

    def ratio(self, contestant: str, peer: str) -> float:
        """The median of the ratios within each round: a machine that grows slower slows both."""
        pairs = zip(self.figures(contestant), self.figures(peer), strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    def latency_ratio(self, contestant: str, peer: str) -> float:
        """The same of the 99th percentile; as low as possible."""
        pairs = zip(self.readings[contestant], self.readings[peer], strict=True)
        return statistics.median(ours.p99_ms / theirs.p99_ms for ours, theirs in pairs)

    def lines(self) -> Iterable[str]:
        """The table of this question."""
        yield f"{self.question.name}"
        for contestant, readings in self.readings.items():
            wall = statistics.median(
                each.body_octets / each.seconds / 1e6 if self.question.bulk else each.rate for each in readings
            )
            proxy = statistics.median(each.proxy_load for each in readings)
            load = statistics.median(each.load_load for each in readings)
            spread = self.figures(contestant)
            yield (
                f"  {contestant:<22}{self.figure(contestant):>10,.0f}"
                f"  ({min(spread):,.0f} to {max(spread):,.0f})".ljust(62)
                + f"{wall:>10,.0f}/s"
                + f"{statistics.median(each.p50_ms for each in readings):>10.2f}"
                + f"{statistics.median(each.p99_ms for each in readings):>10.2f}"
                + f"{proxy:>8.0%}{load:>7.0%}"
                + f"  {_limit(proxy, load)}"
            )

    def as_json(self) -> dict[str, object]:
        """Everything that was read."""
        return {
            "question": asdict(self.question),
            "unit": f"{self.question.unit} per processor second of the proxy",
            "contestants": {
                name: {"median": self.figure(name), "readings": [asdict(reading) for reading in readings]}
                for name, readings in self.readings.items()
            },
        }


HEADING = (
    f"  {'':<22}{'per core second, median (range)':<38}"
    f"{'wall':>12}{'p50 ms':>10}{'p99 ms':>10}{'proxy':>8}{'load':>7}  limit"
)


def _limit(proxy: float, load: float) -> str:
    if proxy >= _FULL:
        return "proxy"
    if load >= _FULL:
        return "load (compare per core second)"
    return "neither is full"
