"""Counting on the path of a request: plain integers, added to the metrics once a second.

An increment of a shared counter costs more than reading a head. What is not yet added when a worker
is killed is lost; a second of figures, nothing else.
"""

from __future__ import annotations

from bisect import bisect_left

from mtls_gateway import metrics

#: Upper bounds of ``mtls_gateway_request_seconds``, as declared.
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class _Requests:
    """How many there were, by the histogram's buckets, and their seconds in all."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_BOUNDS) + 1)
        self.seconds = 0.0


class Tally:
    """One worker's counts since the last time that they were added."""

    __slots__ = ("_handshakes", "_requests", "octets_down", "octets_up")

    def __init__(self) -> None:
        #: For each site, route and status.
        self._requests: dict[tuple[str, str, int], _Requests] = {}
        self._handshakes: dict[tuple[str, str], int] = {}
        self.octets_up = 0
        self.octets_down = 0

    def shook_hands(self, site: str, outcome: str) -> None:
        """Count one finished handshake."""
        key = (site, outcome)
        self._handshakes[key] = self._handshakes.get(key, 0) + 1

    def answered(self, site: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        key = (site, route, status)
        requests = self._requests.get(key)
        if requests is None:
            requests = self._requests[key] = _Requests()
        requests.buckets[bisect_left(_BOUNDS, seconds)] += 1
        requests.seconds += seconds

    def add_up(self) -> None:
        """Add everything to the metrics and begin anew."""
        for (site, route, status), requests in self._requests.items():
            metrics.REQUESTS.labels(site, route, str(status)).inc(sum(requests.buckets))
            # Histogram.observe() takes one value at a time and would cost more than the request that it counts; its
            # buckets are counters of their own and are added to here. A test holds this against observe().
            histogram = metrics.REQUEST_SECONDS.labels(route)
            for bucket, count in enumerate(requests.buckets):
                if count:
                    histogram._buckets[bucket].inc(count)
            histogram._sum.inc(requests.seconds)
        self._requests.clear()
        for (site, outcome), count in self._handshakes.items():
            metrics.HANDSHAKES.labels(site, outcome).inc(count)
        self._handshakes.clear()
        if self.octets_up:
            metrics.OCTETS.labels("up").inc(self.octets_up)
            self.octets_up = 0
        if self.octets_down:
            metrics.OCTETS.labels("down").inc(self.octets_down)
            self.octets_down = 0
