"""How many password attempts one address may make, whoever it claims to be (clause A.7).

Users are suspended by the store (``ports.AttemptStore``), and only after a valid certificate was shown.
This is the brake for everything else: guessing user IDs, or one password against many users. It is kept
in the portal's memory, as there is one portal, and is lost with it.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque

from mtls_gateway.clock import Clock

#: Seconds that an attempt is remembered.
_WINDOW = 60.0
#: Addresses remembered; more at once are a flood, which is braked as a whole.
_MAXIMUM_ADDRESSES = 100_000


class AddressThrottle:
    """At most ``limit`` attempts of one address within any 60 seconds."""

    __slots__ = ("_attempts", "_clock", "_limit")

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        # Monotonic seconds of each attempt; the address that was admitted longest ago comes first.
        self._attempts: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, address: str) -> float:
        """Count an attempt: 0.0, it may be made; otherwise the seconds until one may be."""
        now = self._clock.monotonic()
        self._forget(now - _WINDOW)
        key = _network(address)
        attempts = self._attempts.get(key)
        if attempts is None:
            if len(self._attempts) >= _MAXIMUM_ADDRESSES:
                return _WINDOW
            attempts = deque()
        while attempts and attempts[0] <= now - _WINDOW:
            attempts.popleft()
        if len(attempts) >= self._limit:
            return attempts[0] + _WINDOW - now
        attempts.append(now)
        self._attempts[key] = attempts
        self._attempts.move_to_end(key)
        return 0.0

    def take_back(self, address: str) -> None:
        """The attempt that was admitted last was a right one, or none at all: it does not count."""
        key = _network(address)
        attempts = self._attempts.get(key)
        if attempts:
            attempts.pop()
            if not attempts:
                del self._attempts[key]

    def _forget(self, before: float) -> None:
        while self._attempts:
            attempts = next(iter(self._attempts.values()))
            if attempts[-1] > before:
                return
            self._attempts.popitem(last=False)


def _network(address: str) -> str:
    """IPv6 customers own a /64: they count as one (RFC 6177, section 2)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
