"""A TLS client with every switch in reach: sessions, versions, groups, certificates, SNI. Blocking; run in a thread."""

from __future__ import annotations

import asyncio
import functools
import socket
from dataclasses import dataclass, field

from OpenSSL import SSL

from tests.wire.material import CERTIFICATE, Material, Pair


@functools.cache
def _context(version: int, chain: tuple[Pair, ...]) -> SSL.Context:
    """One for all peers: a session is offered only from the context that it was taken in."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    for each in chain:
        context.add_extra_chain_cert(each.certificate)
    return context


@dataclass
class TlsPeer:
    material: Material
    port: int
    host: str | None = CERTIFICATE
    certificate: Pair | None = None
    chain: tuple[Pair, ...] = ()
    version: int = SSL.TLS1_3_VERSION
    session: SSL.Session | None = None
    named: list[str] = field(default_factory=list)
    group: str | None = None

    async def request(self) -> tuple[bytes, SSL.Session]:
        """Shake hands, ask once, and return the answer and a session to resume."""
        return await asyncio.wait_for(asyncio.to_thread(self._request), 10)

    def _request(self) -> tuple[bytes, SSL.Session]:
        context = _context(self.version, self.chain)
        with socket.create_connection(("127.0.0.1", self.port), 10) as connected:
            # With a time-out the socket would be non-blocking, and OpenSSL would say so.
            connected.settimeout(None)
            tls = SSL.Connection(context, connected)
            tls.set_connect_state()
            if self.certificate is not None:
                tls.use_certificate(self.certificate.certificate)
                tls.use_privatekey(self.certificate.key)
            if self.host is not None:
                tls.set_tlsext_host_name(self.host.encode())
            if self.session is not None:
                tls.set_session(self.session)
            tls.do_handshake()
            self.group = tls.get_group_name()
            self.named = [name.CN or "" for name in tls.get_client_ca_list()]
            host = self.host or "bank.localhost"
            tls.send(f"GET / HTTP/1.1\r\nHost: {host}:{self.port}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            try:
                while True:
                    answer += tls.recv(65_536)
            except SSL.ZeroReturnError:
                pass
            # Without a goodbye OpenSSL holds the session to be spoilt and would not offer it again.
            tls.shutdown()
            session = tls.get_session()
            assert session is not None
            return answer, session
