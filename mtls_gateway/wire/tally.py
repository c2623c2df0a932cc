"""Counting on the path of a request: plain integers, added to the metrics once a second.

An increment of a shared counter costs more than reading a head. What is not yet added when a worker
is killed is lost; a second of figures, nothing else.
"""

from __future__ import annotations

from bisect import bisect_left

from mtls_gateway import metrics

#: Upper bounds of ``mtls_gateway_request_seconds``, as declared.
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Tally:
    """One worker's counts since the last time that they were added."""

    __slots__ = ("_durations", "_handshakes", "_requests", "octets_down", "octets_up")

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._handshakes: dict[tuple[str, str], int] = {}
        #: For each route and bucket: how many, and their seconds in all.
        self._durations: dict[tuple[str, int], tuple[int, float]] = {}
        self.octets_up = 0
        self.octets_down = 0

    def shook_hands(self, site: str, outcome: str) -> None:
        """Count one finished handshake."""
        key = (site, outcome)
        self._handshakes[key] = self._handshakes.get(key, 0) + 1

    def answered(self, site: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        key = (site, route, status)
        requests = self._requests
        requests[key] = requests.get(key, 0) + 1
        place = (route, bisect_left(_BOUNDS, seconds))
        count, total = self._durations.get(place, (0, 0.0))
        self._durations[place] = (count + 1, total + seconds)

    def add_up(self) -> None:
        """Add everything to the metrics and begin anew."""
        for (site, route, status), count in self._requests.items():
            metrics.REQUESTS.labels(site, route, str(status)).inc(count)
        self._requests.clear()
        for (site, outcome), count in self._handshakes.items():
            metrics.HANDSHAKES.labels(site, outcome).inc(count)
        self._handshakes.clear()
        for (route, bucket), (count, total) in self._durations.items():
            # Histogram.observe() takes one value at a time and would cost more than the request that it counts; its
            # buckets are counters of their own and are added to here. A test holds this against observe().
            histogram = metrics.REQUEST_SECONDS.labels(route)
            histogram._buckets[bucket].inc(count)
            histogram._sum.inc(total)
        self._durations.clear()
        if self.octets_up:
            metrics.OCTETS.labels("up").inc(self.octets_up)
            self.octets_up = 0
        if self.octets_down:
            metrics.OCTETS.labels("down").inc(self.octets_down)
            self.octets_down = 0
