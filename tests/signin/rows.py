"""A store of one company on the certificate method and one on the password method, at a time that the test owns."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from mtls_gateway.clock import ManualClock
from mtls_gateway.model import CertificateId, Method, NewSession, SessionState
from mtls_gateway.signin.token import Token, Tokens
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.users import NewUser

START = 1_800_000_000.0
SECRET = bytes(range(32))
ISSUER = "CN=Demo Issuing CA,O=Demo Shinkumi,C=JP"
TARO = CertificateId(ISSUER, 1)
HANAKO = CertificateId(ISSUER, 2)
NOBODY = CertificateId(ISSUER, 99)


#: The database as it is at the beginning: made once, as a migration takes longer than most tests.
_TEMPLATES: list[bytes] = []


async def open_rows(directory: Path, clock: ManualClock) -> Store:
    """Taro and Hanako of ``acme`` with a certificate each, Jiro of ``old`` with a password only."""
    path = directory / "gateway.sqlite3"
    if not _TEMPLATES:
        await _make(path, clock)
        _TEMPLATES.append(path.read_bytes())
    else:
        path.write_bytes(_TEMPLATES[0])
        path.chmod(0o600)
    return await open_store(f"sqlite:///{path}", clock)


async def _make(path: Path, clock: ManualClock) -> None:
    await migrate(f"sqlite:///{path}", clock)
    store = await open_store(f"sqlite:///{path}", clock)
    await store.companies.create("acme", "株式会社アクメ", "Acme Ltd.", actor="test")
    await store.companies.set_method("acme", Method.CERTIFICATE, actor="test")
    await store.companies.create("old", "旧社", "Old Ltd.", actor="test")
    added = [NewUser("taro", "acme", administrator=True), NewUser("hanako", "acme"), NewUser("jiro", "old")]
    await store.users.add(added, actor="test")
    registered = [NewCertificate(TARO, "taro"), NewCertificate(HANAKO, "hanako")]
    await store.certificates.register(registered, actor="test")
    await store.close()
    assert not path.with_name(f"{path.name}-wal").exists()


async def sign_in(
    store: Store, clock: ManualClock, user_id: str, certificate: CertificateId | None, absolute: float = 28_800.0
) -> tuple[Token, SessionState]:
    """What the portal does once the password was right."""
    token = Tokens(SECRET).mint()
    new = NewSession(token.digest, user_id, certificate, clock.now(), clock.now() + absolute, b"")
    return token, await store.sessions.open_session(new, idle=900.0)


def take_away(directory: Path, table: str) -> None:
    """From now on the database does not answer what needs ``table``."""
    _rename(directory, table, f"{table}_away")


def give_back(directory: Path, table: str) -> None:
    """It answers again."""
    _rename(directory, f"{table}_away", table)


def _rename(directory: Path, old: str, new: str) -> None:
    connection = sqlite3.connect(directory / "gateway.sqlite3")
    try:
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
        connection.commit()
    finally:
        connection.close()
