"""Backup and restore: one file that holds what cannot be made again (clause E.6).

The rows, as an SQLite database whatever the store is, and the instance secret, without which sessions, enrolment codes
and the audit log's chain are worth nothing. Compiled revocation lists are made anew; host keys and the CA's key are
kept elsewhere by whoever keeps them. The gateway goes on while a backup is made.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mtls_gateway import __version__
from mtls_gateway.app.rows import audit_key
from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration
from mtls_gateway.errors import StateError
from mtls_gateway.signin.instance_secret import SECRET_OCTETS, load_instance_secret
from mtls_gateway.store.copying import copy_store, snapshot_store
from mtls_gateway.store.engine import Database
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.schema import REVISION

_ROWS: Final = "gateway.sqlite3"
_SECRET: Final = "instance.secret"
_MANIFEST: Final = "manifest.json"
_MANIFEST_OCTETS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds; ``made`` is POSIX seconds."""

    made: float
    version: str
    rows: Mapping[str, int]


async def back_up(configuration: Configuration, file: Path, clock: Clock) -> Backup:
    """Write a backup to ``file``, which nobody else may read; it appears whole or not at all.

    Raises:
        StateError: ``file`` is there already, or cannot be written.
        StoreUnavailable: the database does not answer.
    """
    folder_of_file = _folder(file)
    secret = load_instance_secret(configuration.state / _SECRET)
    with tempfile.TemporaryDirectory(dir=folder_of_file, prefix=".backup-") as folder:
        rows_file = Path(folder) / _ROWS
        url = f"sqlite:///{rows_file}"
        await migrate(url, clock)
        source = Database(configuration.database_url, clock, busy_timeout=configuration.store.busy_timeout)
        target = Database(url, clock)
        try:
            rows = await snapshot_store(source, target)
        finally:
            await source.close()
            await target.close()
        backup = Backup(clock.now(), __version__, rows)
        manifest = {
            "made": backup.made,
            "version": backup.version,
            "tables": REVISION,
            "rows": dict(rows),
            "sha256": {_ROWS: _digest(rows_file), _SECRET: hashlib.sha256(secret).hexdigest()},
        }
        draft = Path(folder) / "backup"
        _write(draft, json.dumps(manifest, indent=1).encode(), secret, rows_file)
        try:
            os.link(draft, file)
        except OSError as error:
            raise StateError(f"{file} cannot be written: {error.strerror}") from error
    return backup


async def restore(configuration: Configuration, file: Path, clock: Clock) -> Backup:
    """Put a backup into a store that has no rows yet, and its instance secret into the state directory.

    Raises:
        StateError: the file is not a whole backup of this version, the store has rows, or there is another
            instance secret; nothing was changed.
        StoreUnavailable: the database does not answer.
    """
    own = configuration.state / _SECRET
    with tempfile.TemporaryDirectory(dir=configuration.state, prefix=".restore-") as folder:
        backup, secret = _read(file, Path(folder))
        if own.exists() and own.read_bytes() != secret:
            raise StateError(f"{own} is another one than the backup's; move it away if the backup is to count")
        await migrate(configuration.database_url, clock, busy_timeout=configuration.store.busy_timeout)
        source = Database(f"sqlite:///{Path(folder) / _ROWS}", clock)
        target = Database(configuration.database_url, clock, busy_timeout=configuration.store.busy_timeout)
        try:
            found = await copy_store(source, target)
        finally:
            await source.close()
            await target.close()
        if dict(found) != dict(backup.rows):
            raise StateError(f"{file}: it has other rows than its manifest says")
        if not own.exists():
            draft = Path(folder) / "secret"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as written:
                written.write(secret)
                os.fsync(descriptor)
            draft.rename(own)
        # Read back once more as every process will: a secret that does not fit would end every session later.
        audit_key(configuration)
    return backup


def _folder(file: Path) -> Path:
    if file.exists():
        raise StateError(f"{file} is there already; give another name")
    folder = file.absolute().parent
    if not folder.is_dir():
        raise StateError(f"{folder} is not there; make it, readable for nobody else")
    return folder


def _write(draft: Path, manifest: bytes, secret: bytes, rows: Path) -> None:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        with tarfile.open(fileobj=written, mode="w:gz", compresslevel=6) as archive:
            for name, octets in ((_MANIFEST, manifest), (_SECRET, secret)):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(octets), 0o600
                archive.addfile(member, io.BytesIO(octets))
            archive.add(rows, _ROWS, recursive=False)
        written.flush()
        os.fsync(descriptor)


def _read(file: Path, folder: Path) -> tuple[Backup, bytes]:
    try:
        with tarfile.open(file, "r:gz") as archive:
            members = {member.name: member for member in archive.getmembers()}
            if set(members) != {_MANIFEST, _SECRET, _ROWS} or not all(member.isreg() for member in members.values()):
                raise StateError(f"{file} is not a backup of the gateway's")
            manifest: dict[str, Any] = json.loads(_content(archive, members[_MANIFEST], _MANIFEST_OCTETS))
            secret = _content(archive, members[_SECRET], SECRET_OCTETS)
            archive.extract(members[_ROWS], folder, filter="data")
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise StateError(f"{file} is not a whole backup: {error}") from error
    digests = {_ROWS: _digest(folder / _ROWS), _SECRET: hashlib.sha256(secret).hexdigest()}
    if manifest.get("sha256") != digests:
        raise StateError(f"{file} is not whole: what it holds is not what its manifest says")
    if manifest.get("tables") != REVISION:
        raise StateError(
            f"{file} has tables of version {manifest.get('tables')}, this program needs {REVISION}; "
            f"restore it with version {manifest.get('version')} and migrate then"
        )
    return Backup(manifest["made"], manifest["version"], manifest["rows"]), secret


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    opened = archive.extractfile(member)
    if opened is None or member.size > limit:
        raise ValueError(f"{member.name} is not what it should be")
    return opened.read()


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
