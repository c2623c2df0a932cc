from __future__ import annotations

from pathlib import Path

import pytest

from mtls_gateway.config import Host, Seen
from mtls_gateway.errors import StateError
from mtls_gateway.model import PeerCertificate, Site
from mtls_gateway.signin.legacy_headers import legacy_headers
from mtls_gateway.wire.gate import Peer

HOST = Host(name="cert.bank.example", listen=("127.0.0.1:8443",), certificate=Path("/c"), key=Path("/k"))
PEER = Peer(Site.CERTIFICATE, "127.0.0.1", 50_000, PeerCertificate(b"\x30\x00"), "TLSv1.3", "TLS_AES", False)
ALL = Seen(forwarded_headers=True, user_header=True, client_cert_header=True)


def test_nothing_is_said_by_default() -> None:
    assert legacy_headers(Seen(), HOST, PEER, "taro") == ()


def test_each_header_has_its_form() -> None:
    assert legacy_headers(ALL, HOST, PEER, "taro") == (
        (b"Forwarded", b'for=127.0.0.1;host="cert.bank.example:8443";proto=https'),
        (b"X-Forwarded-For", b"127.0.0.1"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Host", b"cert.bank.example:8443"),
        (b"X-Forwarded-Port", b"8443"),
        (b"X-User-ID", b"taro"),
        (b"Client-Cert", b":MAA=:"),
    )


@pytest.mark.parametrize("user_id", ["", "太郎", "ta ro", "ta\r\nX-Admin: yes", "taro\x00"])
def test_a_user_id_that_fits_no_header_is_refused_rather_than_bent(user_id: str) -> None:
    with pytest.raises(StateError, match="X-User-ID"):
        legacy_headers(ALL, HOST, PEER, user_id)
    assert legacy_headers(Seen(), HOST, PEER, user_id) == ()
