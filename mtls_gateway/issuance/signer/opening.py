"""Everything is checked before the first order is taken: what is wrong is said in one line, and nothing is opened."""

from __future__ import annotations

import ctypes
import grp
import logging
import os
import pwd
import resource
import socket
import stat
from contextlib import suppress
from pathlib import Path

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration, Signer
from mtls_gateway.errors import ConfigurationError
from mtls_gateway.issuance.signer.crl import CrlLimits
from mtls_gateway.issuance.signer.desk import Desk, Rates
from mtls_gateway.issuance.signer.issuing import IssuingCa, open_issuer, require_distinct
from mtls_gateway.issuance.signer.journal import Journal
from mtls_gateway.issuance.signer.rate import Rate
from mtls_gateway.issuance.signer.rules import Profile
from mtls_gateway.issuance.signer.secret import Secrets
from mtls_gateway.issuance.signer.server import ServerSettings

_LOG = logging.getLogger(__name__)
#: Its name in the directory.
JOURNAL = "journal.sqlite3"
#: An active issuer that ends sooner cannot issue for a whole year. Seconds.
_ROLL_OVER_BEFORE = 400 * 86_400.0
_PR_SET_DUMPABLE = 4


def close_the_door() -> None:
    """Let no other process of this user look into this one (ptrace, /proc/PID/mem), and no core dump be written."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def settings_of(configuration: Configuration, file: Path) -> Signer:
    """The signer's part of the configuration in ``file``.

    Raises:
        ConfigurationError: there is none.
    """
    if configuration.signer is None:
        raise ConfigurationError(str(file), "signer", "is not there; this gateway has no signer (docs/signer.md)")
    return configuration.signer


def open_issuers(settings: Signer, file: Path, secrets: Secrets, now: float) -> list[IssuingCa]:
    """Read the issuers and try their keys; ``now`` is POSIX seconds.

    Raises:
        GatewayError: one cannot be used; says what and what to do.
    """
    issuers = [open_issuer(one, place, secrets, now) for place, one in enumerate(settings.issuers)]
    require_distinct(issuers, str(file))
    return issuers


def open_desk(configuration: Configuration, file: Path, secrets: Secrets, clock: Clock) -> Desk:
    """Read and try the keys, go through the journal; ``file`` holds the configuration.

    Raises:
        GatewayError: something cannot be used; says what and what to do.
    """
    settings = settings_of(configuration, file)
    directory = configuration.signer_directory
    _require_private(directory)
    now = clock.now()
    issuers = open_issuers(settings, file, secrets, now)
    for issuer in issuers:
        metrics.ISSUER_NOT_AFTER.labels(issuer.name).set(issuer.ends)
        if issuer.active and issuer.ends < now + _ROLL_OVER_BEFORE:
            days = int((issuer.ends - now) / 86_400)
            _LOG.warning("%s ends in %d days: roll over (mtls-gateway ca roll-over)", issuer.name, days)
    journal = Journal(directory / JOURNAL, clock)
    metrics.SIGNER_JOURNAL_RECORDS.set(journal.records)
    _LOG.info("the journal has %d records, the last with the digest %s", journal.records, journal.head.hex())
    rates = Rates(
        Rate(settings.certificates_per_minute, clock, journal.intended_since(now - 60.0)),
        Rate(settings.crls_per_minute, clock),
    )
    profile = Profile(frozenset(settings.key_types), settings.backdating)
    limits = CrlLimits(settings.backdating, settings.crl_longest, settings.crl_entries)
    return Desk(issuers, journal, profile, limits, rates, clock)


def server_settings(configuration: Configuration, file: Path) -> ServerSettings:
    """Who may connect, and for how long.

    Raises:
        ConfigurationError: there is no such user.
    """
    settings = settings_of(configuration, file)
    users = {os.geteuid()} if not settings.users else set()
    for name in settings.users:
        try:
            users.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            raise ConfigurationError(str(file), "signer.users", f"there is no user {name!r}") from None
    return ServerSettings(
        users=frozenset(users),
        connections=settings.connections,
        timeout=settings.timeout,
        idle=settings.idle,
        directory=configuration.signer_directory,
    )


def listen(configuration: Configuration, file: Path) -> socket.socket:
    """The listening socket; takes over from the signer before without a gap.

    Raises:
        ConfigurationError: its directory is missing or others can write to it, or there is no such group.
    """
    path = configuration.signer_socket
    group = settings_of(configuration, file).group
    _require_guarded(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        draft.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listening.bind(str(draft))
        finally:
            os.umask(before)
        if group is not None:
            os.chown(draft, -1, grp.getgrnam(group).gr_gid)
            draft.chmod(0o660)
        listening.listen(128)
        listening.setblocking(False)
        draft.replace(path)
    except KeyError:
        _discard(listening, draft)
        raise ConfigurationError(str(file), "signer.group", f"there is no group {group!r}") from None
    except OSError as error:
        _discard(listening, draft)
        raise ConfigurationError(str(path), "signer.socket", f"cannot be made: {error.strerror or error}") from error
    return listening


def _discard(listening: socket.socket, draft: Path) -> None:
    listening.close()
    with suppress(OSError):
        draft.unlink(missing_ok=True)


def _require_private(directory: Path) -> None:
    """The journal's directory is this user's alone; it is made where there is none."""
    key = "signer.directory"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.stat()
    except OSError as error:
        raise ConfigurationError(str(directory), key, f"cannot be made: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(str(directory), key, "is no directory")
    if os.geteuid() not in (0, status.st_uid):
        raise ConfigurationError(str(directory), key, f"belongs to another user; run: chown {os.geteuid()} {directory}")
    if status.st_mode & 0o077:
        raise ConfigurationError(str(directory), key, f"may be entered by others; run: chmod 0700 {directory}")


def _require_guarded(directory: Path) -> None:
    """Nobody else can put another socket in the place of ours."""
    key = "signer.socket"
    try:
        status = directory.stat()
    except OSError as error:
        raise ConfigurationError(str(directory), key, f"its directory cannot be used: {error.strerror}") from error
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        how = f"run: chown {os.geteuid()} {directory}; chmod go-w {directory}"
        raise ConfigurationError(str(directory), key, f"others can put a socket there; {how}")
