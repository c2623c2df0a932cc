"""Limits and time-outs of the front (clause B.4)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtls_gateway.config.values import Count, Octets, Seconds, Section


class Limits(Section):
    """Each has a metric: ``mtls_gateway_limit_refusals_total``, or ``_limits_reached_total`` if it refuses nobody."""

    #: For each worker. Fewer where RLIMIT_NOFILE leaves no room for them beside the backends' connections.
    connections: Count = 20_000
    connections_per_address: Count = 500
    #: A balancer's PROXY header with everything that it tells besides addresses.
    proxy_header_octets: Annotated[int, Field(ge=64, le=65_551)] = 4_096
    head_octets: Octets = 32_768
    header_count: Count = 100
    target_octets: Octets = 8_192
    body_octets: Octets = 4 * 1024**3
    portal_body_octets: Octets = 65_536
    #: A form that is read before it is forwarded, see ``legacy.guarded``.
    guarded_body_octets: Octets = 65_536
    response_head_octets: Octets = 65_536
    #: Waiting for who is slower, in each direction; then who is quicker is read no further.
    buffer_octets: Octets = 262_144
    #: Read from a client and thrown away after its answer, e.g. of an upload that was refused: whoever were cut off
    #: before would not read why.
    linger_octets: Octets = 64 * 1024**2
    backend_connections: Count = 512
    #: Of these, for each worker: who is signed in must not keep all others out with slow uploads.
    backend_connections_per_session: Count = 16
    backend_waiting: Count = 2_048
    #: The last one is answered with ``Connection: close``.
    requests_per_connection: Count = 100_000


class Timeouts(Section):
    """In seconds. ``body`` and ``response`` bound the silence between two reads, not the whole transfer."""

    handshake: Seconds = 10.0
    head: Seconds = 15.0
    body: Seconds = 30.0
    idle: Seconds = 75.0
    write: Seconds = 60.0
    backend_connect: Seconds = 5.0
    backend_first_octet: Seconds = 60.0
    backend_silence: Seconds = 60.0
    tunnel_silence: Seconds = 600.0
    #: After the last answer, until the client has closed: in all, and without an octet of ``linger_octets``.
    linger: Seconds = 30.0
    linger_silence: Seconds = 2.0
    #: How long old workers finish what they have begun after a reload.
    drain: Seconds = 30.0
    #: How long an idle connection of theirs may still begin a request: one may be on its way.
    last_request: Seconds = 2.0
