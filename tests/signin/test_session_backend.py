"""Where a session lives, by what was written down or by what every node reckons alike."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest

from mtls_gateway.config import Legacy
from mtls_gateway.signin.session_backend import end_at, home_of, open_at

A, B, C = "http://a", "http://b", "http://c"
DIGESTS = [hashlib.sha256(bytes([n, m])).digest() for n in range(20) for m in range(20)]


def legacy(*backends: str, affinity: str = "strict") -> Legacy:
    login: dict[str, Any] = {"kind": "argon2id"}
    given = {"backends": backends, "session_cookies": ["S"], "guarded": ["/login"], "login": login}
    return Legacy.model_validate({**given, "affinity": affinity})


def test_the_home_of_a_session_is_one_for_every_node_and_stays_when_others_come_and_go() -> None:
    homes = {digest: home_of(digest, [A, B, C]) for digest in DIGESTS}
    assert homes == {digest: home_of(digest, [C, A, B]) for digest in DIGESTS}
    without = {digest: home_of(digest, [A, C]) for digest in DIGESTS}
    assert all(without[digest] == home for digest, home in homes.items() if home != B)
    assert min(Counter(homes.values()).values()) > len(DIGESTS) / 5
    # By value: a node that is started tomorrow must find the same.
    assert home_of(bytes(32), [A, B, C]) == B


@pytest.mark.parametrize(
    ("preferred", "found"),
    [
        (None, (A, B)),
        ((B, A), (B, A)),
        ((B,), (B,)),
        # All are out: nobody is asked.
        ((), ()),
        # Of a worker with another configuration.
        ((C, B), (B,)),
        ((C,), (A, B)),
    ],
)
def test_a_session_is_opened_where_the_worker_prefers_it(
    preferred: tuple[str, ...] | None, found: tuple[str, ...]
) -> None:
    assert open_at(preferred, legacy(A, B)) == found


@pytest.mark.parametrize(
    ("backend", "strict", "prefer"),
    [(B, (B,), (B, A)), ("", (A, B), (A, B)), (C, (), (A, B))],
)
def test_a_session_is_ended_where_it_lives(backend: str, strict: tuple[str, ...], prefer: tuple[str, ...]) -> None:
    assert end_at(backend, legacy(A, B)) == strict
    assert end_at(backend, legacy(A, B, affinity="prefer")) == prefer
    assert end_at(backend, legacy(A)) == (A,)
