"""After 101: both sides have left HTTP, and octets pass as they come (clause B.1).

A tunnel takes its exchange's place at the client's connection and at the backend's, and ends when either
does: by itself, by silence, or because what was admitted is no longer good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtls_gateway.wire.backend import BackendConnection
    from mtls_gateway.wire.exchange import Exchange
    from mtls_gateway.wire.frontend import Frontend


class Tunnel:
    """One upgraded connection."""

    __slots__ = ("_connection", "_exchange", "_frontend")

    def __init__(self, exchange: Exchange, frontend: Frontend, connection: BackendConnection) -> None:
        self._exchange = exchange
        self._frontend = frontend
        self._connection = connection
        connection.exchange = self
        frontend.expect("tunnel_silence")

    # --- told by the client's side --------------------------------------------------------------

    def from_client(self, data: bytes) -> None:
        """Pass it on."""
        self._frontend.expect("tunnel_silence")
        self._frontend.worker.tally.octets_up += len(data)
        self._connection.transport.write(data)

    def client_paused(self, paused: bool) -> None:
        """Read the backend no faster than the client takes it."""
        self._connection.read(not paused)
        if not paused:
            self._frontend.expect("tunnel_silence")

    def client_lost(self) -> Exchange:
        """The client has gone, or was cut; returns the exchange, for the log."""
        self._connection.discard()
        return self._exchange.client_lost()

    def recall(self) -> bool:
        """Never: what has passed cannot be taken back."""
        return False

    def overdue(self, status: int | None) -> None:
        """Nobody has said anything for too long."""
        self._frontend.abort()

    # --- told by the backend's side -------------------------------------------------------------

    @property
    def bound_to(self) -> str:
        """To nothing: it asks for no connection."""
        return ""

    def backend_ready(self, connection: BackendConnection) -> None:
        """Never: a tunnel asks for no connection."""
        raise RuntimeError("a tunnel has its connection")

    def backend_unavailable(self, reason: str) -> None:
        """Never: a tunnel asks for no connection."""
        raise RuntimeError("a tunnel has its connection")

    def from_backend(self, data: bytes) -> None:
        """Pass it on."""
        self._frontend.expect("tunnel_silence")
        self._frontend.worker.tally.octets_down += len(data)
        self._exchange.octets_down += len(data)
        self._frontend.transport.write(data)

    def backend_lost(self, error: Exception | None) -> None:
        """The backend has hung up: so do we, once the client has what was said."""
        self._exchange.head.keep_alive = False
        self._frontend.guarded(self._exchange.finish)

    def backend_paused(self, paused: bool) -> None:
        """Read the client no faster than the backend takes it."""
        self._frontend.backend_paused(paused)
