"""What the legacy backend is told of a request besides the request itself: opt-in, one setting each (clause B.2)."""

from __future__ import annotations

import base64
import ipaddress
import re

from mtls_gateway.config import Host, Seen
from mtls_gateway.errors import StateError
from mtls_gateway.wire.gate import Header, Peer

_FIELD_VALUE = re.compile(r"[!-~]+")


def legacy_headers(seen: Seen, host: Host, peer: Peer, user_id: str | None) -> tuple[Header, ...]:
    """The headers of every request of ``peer`` to the legacy backend; ``wire`` has stripped what looks like them.

    ``Client-Cert`` is RFC 9440, section 2.1; ``Forwarded`` is RFC 7239, section 4.

    Raises:
        StateError: the user ID cannot be written in a header.
    """
    headers: list[Header] = []
    if seen.forwarded_headers:
        node = peer.address.partition("%")[0]
        if isinstance(ipaddress.ip_address(node), ipaddress.IPv6Address):
            forwarded = f'for="[{node}]";host="{host.authority}";proto=https'
        else:
            forwarded = f'for={node};host="{host.authority}";proto=https'
        headers += [
            (b"Forwarded", forwarded.encode()),
            (b"X-Forwarded-For", node.encode()),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Forwarded-Host", host.authority.encode()),
            (b"X-Forwarded-Port", str(host.browser_port).encode()),
        ]
    if seen.user_header and user_id is not None:
        if not _FIELD_VALUE.fullmatch(user_id):
            raise StateError(f"user ID {user_id!r} cannot be sent as X-User-ID: only printable ASCII can")
        headers.append((b"X-User-ID", user_id.encode("ascii")))
    if seen.client_cert_header and peer.certificate is not None:
        headers.append((b"Client-Cert", b":%b:" % base64.b64encode(peer.certificate.der)))
    return tuple(headers)
