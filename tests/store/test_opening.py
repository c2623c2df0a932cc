from __future__ import annotations

from mtls_gateway.signin import ports
from mtls_gateway.store.opening import Store


def _what_signin_asks_for(
    store: Store,
) -> tuple[ports.WorkerStore, ports.AttemptStore, ports.SessionStore, ports.UserStore, ports.PasswordHashStore]:
    """mypy holds the parts against the Protocols here, before ``app`` does."""
    return store.worker, store.attempts, store.sessions, store.identities, store.users


async def test_each_part_satisfies_the_port_it_is_for(store: Store) -> None:
    worker, attempts, sessions, identities, hashes = _what_signin_asks_for(store)
    assert await worker.latest_change() > 0
    assert (await attempts.begin_attempt("taro", limit=5, suspension=1, suspensions=3)).allowed
    assert await sessions.session(b"") is None
    assert await identities.user("nobody") is None
    assert await hashes.password_hash("taro") is None
