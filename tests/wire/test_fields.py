"""No spelling of a header that someone could take for the gateway's word is forwarded (clause B.2)."""

from __future__ import annotations

import pytest

from mtls_gateway.wire.fields import Fate, Fates, fate_of

IDENTITY = [
    "X-User-ID", "X-Remote-User", "Remote-User", "X-Forwarded-For", "X-Forwarded-User", "X-Forwarded-Client-Cert",
    "Forwarded", "Client-Cert", "Client-Cert-Chain", "X-SSL-Client-Cert", "SSL-Client-Verify", "X-Client-Cert",
    "X-Real-IP", "Gateway-Context", "Gateway-Anything", "X-Original-URL", "X-Rewrite-URL", "X-Authenticated-User",
    "X-Auth-Request-User", "X-WebAuth-User", "iv-user", "WL-Proxy-Client-Cert", "Proxy-Remote-User", "X-ARR-ClientCert",
    "X-Amzn-Mtls-Clientcert", "X-MS-Client-Principal", "X-Goog-Authenticated-User-Email", "CF-Connecting-IP",
    "X-HTTP-Method-Override", "Via",
]  # fmt: skip


@pytest.mark.parametrize("name", IDENTITY)
def test_identity_headers_are_dropped_in_every_spelling(name: str) -> None:
    for spelling in (name, name.lower(), name.upper(), name.swapcase()):
        assert fate_of(spelling.encode()) is Fate.DROP
    for mark in "_.":
        for spelling in (name.replace("-", mark), name.replace("-", mark, 1), name.upper().replace("-", mark)):
            if spelling.lower() != name.lower():
                assert fate_of(spelling.encode()) is Fate.DROP


@pytest.mark.parametrize("name", ["X_User_ID", "a.b", "x!y", "x~", "a$", "Content_Length", "Transfer_Encoding"])
def test_only_letters_digits_and_hyphens_pass(name: str) -> None:
    assert fate_of(name.encode()) is Fate.DROP


@pytest.mark.parametrize(
    "name", ["Connection", "Keep-Alive", "TE", "Trailer", "Proxy-Connection", "Proxy-Authorization", "HTTP2-Settings"]
)
def test_hop_by_hop_headers_do_not_pass(name: str) -> None:
    assert fate_of(name.encode()) in (Fate.DROP, Fate.CONNECTION)


@pytest.mark.parametrize(
    "name",
    ["Accept-Language", "Content-Type", "If-None-Match", "Range", "Authorization", "Sec-Fetch-Site", "X-CSRFToken"],
)
def test_what_browsers_and_their_pages_send_passes(name: str) -> None:
    assert fate_of(name.encode()) is Fate.PASS


def test_spellings_are_remembered_but_not_without_bound() -> None:
    fates = Fates()
    for number in range(10_000):
        assert fates.decide(b"x-%d" % number) is Fate.PASS
    assert len(fates.known) <= 4_096
    assert fates.decide(b"X_USER_ID") is Fate.DROP


def test_a_strangers_long_names_are_not_remembered() -> None:
    fates = Fates()
    assert fates.decide(b"x" * 30_000) is Fate.PASS
    assert fates.known == {}
