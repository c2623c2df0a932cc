"""What SREs touch: database, processes, metrics, logs (clauses E.1 to E.6)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtls_gateway.config.values import Count, Endpoint, LogFile, Octets, Seconds, Section


class Store(Section):
    """Where the rows are."""

    #: ``sqlite:///absolute/path``; left out: ``gateway.sqlite3`` in the state directory. For several machines
    #: ``postgresql://USER@HOST:PORT/NAME``, with parameters as libpq's: ``?passfile=FILE&sslmode=verify-full``.
    url: str | None = None
    #: How often a worker asks for changes; revocation must reach everything within a second.
    poll: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    #: How long a worker goes on with what it knows while it hears of no changes; then it admits nobody.
    silence: Annotated[float, Field(ge=1.0, le=300.0)] = 10.0
    busy_timeout: Seconds = 5.0


class Operations(Section):
    """What SREs touch."""

    #: /metrics, /healthz, /readyz.
    listen: Endpoint = "127.0.0.1:9464"
    workers: Count = 2
    #: The access log: a file, or ``-`` for standard output; one JSON object for each request. Left out: none.
    access_log: LogFile | None = None
    #: A worker that has not reported for so long is replaced.
    worker_timeout: Annotated[int, Field(ge=2)] = 30
    #: With less than this left on the state directory's file system, /readyz says no.
    disk_reserve: Octets = 64 * 1024**2
    #: Whether /readyz says no (503) when no backend can be used. Left so, it says it and stays 200: the balancer has
    #: no better node to send customers to, and they see the gateway's own page.
    ready_needs_backend: bool = False
    #: How often sessions, locked users and certificates are counted for the metrics.
    census_every: Seconds = 60.0
    user: str | None = None
    group: str | None = None
