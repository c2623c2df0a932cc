"""The access log: one JSON object for each answered request (clause E.3).

Never in it: passwords, codes, cookies, bodies, and what stands behind ``?`` in an address. Lines are kept for up to a
second and written together, by a thread; what is not yet written when a worker is killed is lost, a second of the log
and nothing else. A file that was moved away (logrotate) is made anew.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
from collections.abc import Hashable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.model import CertificateId, print_serial
from mtls_gateway.wire.exchange import Exchange
from mtls_gateway.wire.gate import Peer

_LOG = logging.getLogger(__name__)
#: Lines kept while they cannot be written; more are lost, and counted.
_MOST_LINES: Final = 50_000
#: W3C Trace Context, section 3.2: version, trace ID, parent ID, flags.
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class AccessLog:
    """Satisfies ``wire.worker.AccessLog``. For one worker."""

    def __init__(self, file: str, clock: Clock) -> None:
        """``file`` is a path, or ``-`` for standard output."""
        self._file = file
        self._clock = clock
        self._lines: list[str] = []
        # Tells this worker's requests from all others'; they are counted behind it.
        self._worker = secrets.token_hex(4)
        self._count = 0
        self._descriptor: int | None = None
        self._failing = False

    def __call__(
        self, peer: Peer, exchange: Exchange, bound: tuple[Hashable, ...], status: int, seconds: float
    ) -> None:
        """Note one answered request, admitted with ``bound``; ``seconds`` from its head to its end."""
        self._count += 1
        if len(self._lines) >= _MOST_LINES:
            metrics.ACCESS_LOG_LOST.inc()
            return
        head = exchange.head
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="milliseconds"),
            "request": f"{self._worker}-{self._count:x}",
            "site": peer.site.value,
            "address": peer.address,
            "port": peer.port,
            "tls": peer.tls_version,
            "resumed": peer.resumed,
            "method": head.method.decode("ascii", "replace"),
            "path": head.target.partition(b"?")[0].decode("ascii", "replace"),
            "status": status,
            "route": exchange.route,
            "verdict": exchange.verdict,
            "seconds": round(seconds, 6),
            # As announced; null: in chunks.
            "octets_up": head.length if head.length >= 0 else None,
            "octets_down": exchange.octets_down,
        }
        if exchange.backend and exchange.route == "legacy":
            line["backend"] = exchange.backend
        for key in bound:
            match key:
                case ("user" | "company" as kind, str() as name):
                    line[kind] = name
                case ("certificate" | "presented", CertificateId() as certificate):
                    line["serial"] = print_serial(certificate.serial)
                    line["issuer"] = certificate.issuer
                case _:
                    pass
        trace = _trace(head.headers)
        if trace is not None:
            line["trace"] = trace
        self._lines.append(json.dumps(line, ensure_ascii=True, separators=(",", ":")))

    def write(self) -> None:
        """Write what has come together; what cannot be written is tried again the next time. Never raises."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        octets = ("\n".join(lines) + "\n").encode("ascii")
        try:
            descriptor = self._open()
            while octets:
                octets = octets[os.write(descriptor, octets) :]
        except OSError as error:
            if not self._failing:
                self._failing = True
                _LOG.error("the access log %s cannot be written: %s", self._file, error.strerror)
            # From the first line that is not whole in the file.
            unwritten = octets.count(b"\n")
            self._lines[:0] = lines[len(lines) - unwritten :]
            return
        if self._failing:
            self._failing = False
            _LOG.warning("the access log %s is written again", self._file)

    def _open(self) -> int:
        if self._file == "-":
            return 1
        if self._descriptor is not None:
            here = os.fstat(self._descriptor)
            try:
                there = Path(self._file).stat()
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                return self._descriptor
            os.close(self._descriptor)
            self._descriptor = None
        self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        return self._descriptor


def _trace(headers: list[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name.lower() == b"traceparent":
            found = _TRACEPARENT.fullmatch(value)
            return None if found is None else found[1].decode("ascii")
    return None
