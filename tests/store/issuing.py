"""Codes and intentions as tests of the store need them; nobody here has a certificate yet."""

from __future__ import annotations

import itertools

from mtls_gateway.model import CertificateId, CodePurpose, Method, NewIntention
from mtls_gateway.store.codes import PrintedCode
from mtls_gateway.store.opening import Store
from mtls_gateway.store.users import NewUser

ISSUER = "CN=Bank Issuing CA,O=Bank,C=JP"
DAY = 86_400.0
YEAR = 365 * DAY
LIMIT = 5

_serials = itertools.count(1000)


async def populate(store: Store) -> None:
    await store.companies.create("acme", "株式会社アクメ", "Acme Ltd.", actor="test")
    await store.users.add(
        [
            NewUser("boss", "acme", administrator=True, email="boss@acme.example"),
            NewUser("taro", "acme", email="taro@acme.example", name="アクメ 太郎"),
            NewUser("hanako", "acme"),
        ],
        actor="test",
    )
    await store.companies.set_method("acme", Method.CERTIFICATE, actor="test")


async def printed(
    store: Store,
    user_id: str = "taro",
    *,
    locator: str = "AAAA",
    digest: bytes = b"d" * 32,
    expires: float,
    purpose: CodePurpose = CodePurpose.FIRST,
) -> int:
    """A code that is in a letter; its ID."""
    await store.codes.order(user_id, purpose, actor="operator")
    (due,) = await store.codes.due_letters(user_id=user_id)
    await store.codes.printed([PrintedCode(due.code_id, locator, digest, expires)], actor="operator")
    return due.code_id


def intention(now: float, user_id: str = "taro", *, key: bytes | None = None) -> NewIntention:
    """A new certificate for a new key, or this one."""
    serial = next(_serials)
    return NewIntention(
        CertificateId(ISSUER, serial),
        user_id,
        user_id,
        "Bank",
        now,
        now + YEAR,
        b"key %d" % serial if key is None else key,
        "tpm",
    )


async def actions(store: Store) -> list[str]:
    """What the audit log tells of, without how everything was set up."""
    return [line.action for line in await store.audit.lines() if line.actor != "test"]
