"""Who has lately asked to choose another certificate (clause A.2).

The portal writes it down, the changes feed tells every worker, and for a few seconds the next handshakes of that
address end in an alert if they show the same certificate again, or none again: only that makes Chromium ask anew.
"""

from __future__ import annotations

from typing import Final

from mtls_gateway.clock import Clock
from mtls_gateway.model import PeerCertificate

#: What the waiting page has the browser fetch at the certificate host, below the portal's prefix.
PROBE: Final = "static/dot.gif"
#: Stands for "showed none" where a fingerprint is expected.
NO_CERTIFICATE: Final = bytes(32)
#: Seconds that a request to choose again is remembered.
REMEMBERED_SECONDS = 10.0
#: The same for somebody who showed none: whoever else at that address has none meets the alert too.
NONE_REMEMBERED_SECONDS = 5.0
_MOST = 10_000
_MOST_OF_ONE_ADDRESS = 64


class Unwanted:
    """The marks of one worker."""

    __slots__ = ("_clock", "_marks")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Address to fingerprint to the monotonic second until which the mark counts; the oldest address first.
        self._marks: dict[str, dict[bytes, float]] = {}

    def mark(self, subject: str) -> None:
        """Take ``<fingerprint in hex> <address>`` from the changes feed; anything else is ignored.

        Without a fingerprint the address has been alerted: whatever it chooses now is welcome.
        """
        printed, _, address = subject.partition(" ")
        if not printed:
            self._marks.pop(address, None)
            return
        try:
            fingerprint = bytes.fromhex(printed)
        except ValueError:
            return
        self._forget()
        marks = self._marks.pop(address, {})
        if not fingerprint:
            return
        if len(marks) >= _MOST_OF_ONE_ADDRESS:
            del marks[next(iter(marks))]
        if len(self._marks) >= _MOST:
            del self._marks[next(iter(self._marks))]
        seconds = NONE_REMEMBERED_SECONDS if fingerprint == NO_CERTIFICATE else REMEMBERED_SECONDS
        marks[fingerprint] = self._clock.monotonic() + seconds
        self._marks[address] = marks

    def must_ask_again(self, address: str) -> bool:
        """Whether somebody at ``address`` has asked."""
        if not self._marks:
            return False
        self._forget()
        return address in self._marks

    def is_unwanted(self, address: str, certificate: PeerCertificate | None) -> bool:
        """Whether somebody at ``address`` has asked for another certificate than this one; None: showed none."""
        marks = self._marks.get(address)
        if marks is None:
            return False
        fingerprint = NO_CERTIFICATE if certificate is None else certificate.fingerprint
        until = marks.get(fingerprint)
        return until is not None and self._clock.monotonic() < until

    def _forget(self) -> None:
        now = self._clock.monotonic()
        while self._marks:
            oldest = next(iter(self._marks))
            if max(self._marks[oldest].values()) > now:
                return
            del self._marks[oldest]
