"""``mtls-gateway doctor``: what an operator would look at first, looked at; nothing is changed.

Each check says what it found, whether that is well, and if not what to do. It can be run beside a running gateway.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from mtls_gateway.app.rows import open_rows
from mtls_gateway.cli.check_config import find_problems
from mtls_gateway.cli.output import counted
from mtls_gateway.cli.times import print_time
from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration
from mtls_gateway.errors import GatewayError
from mtls_gateway.trust.bundle import load_bundle
from mtls_gateway.trust.revocation import load_revocation

_DAY: Final = 86_400.0
#: A host's or a CA's certificate that ends within so many days wants to be renewed.
_SOON_DAYS: Final = 30
#: Below so much free space the next CRL or backup may not fit.
_LEAST_FREE_OCTETS: Final = 1024**3
_LEAST_FREE_SHARE: Final = 0.05
_CONNECT_SECONDS: Final = 5.0
#: adjtimex(2): what it returns while nothing disciplines the clock.
_TIME_ERROR: Final = 5


class Health(str, Enum):
    """How a thing is."""

    GOOD = "good"
    #: It works, and will not for long.
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found of one thing."""

    check: str
    health: Health
    said: str


Check = Callable[[Configuration, Clock], Iterator[Finding]]


def examine(file: Path, clock: Clock) -> list[Finding]:
    """Everything that there is to find; a check that itself fails is a finding."""
    problems = find_problems(file, clock)
    found = [Finding("configuration", Health.BAD, str(problem)) for problem in problems]
    if not found:
        found.append(Finding("configuration", Health.GOOD, str(file)))
    try:
        from mtls_gateway.config import read_configuration

        configuration = read_configuration(file)
    except GatewayError:
        return found
    for check in CHECKS:
        try:
            found += check(configuration, clock)
        except (GatewayError, OSError, ValueError) as error:
            found.append(Finding(check.__name__.strip("_"), Health.BAD, str(error)))
    return found


def _clock(configuration: Configuration, clock: Clock) -> Iterator[Finding]:
    """Certificates and CRLs are judged by the second: a clock that nobody sets drifts away from the CA's."""
    libc = ctypes.CDLL(None, use_errno=True)
    # struct timex is 208 octets on Linux; modes 0 only reads.
    state = libc.adjtimex(ctypes.create_string_buffer(256))
    if state == _TIME_ERROR:
        said = "the system clock is not synchronised; see: timedatectl (certificates are judged by the second)"
        yield Finding("clock", Health.WARNING, said)
    else:
        yield Finding("clock", Health.GOOD, f"{print_time(clock.now())}, synchronised")


def _process(configuration: Configuration, clock: Clock) -> Iterator[Finding]:
    file = configuration.state / "run" / "master.pid"
    try:
        pid = int(file.read_text())
        os.kill(pid, 0)
    except FileNotFoundError:
        yield Finding("process", Health.WARNING, "the gateway is not running here; start it with: mtls-gateway serve")
    except (ValueError, ProcessLookupError):
        yield Finding("process", Health.BAD, f"{file} names no running process: the master has died; start it again")
    except PermissionError:
        yield Finding("process", Health.GOOD, f"the master runs (pid {pid})")
    else:
        yield Finding("process", Health.GOOD, f"the master runs (pid {pid})")


def _hosts(configuration: Configuration, clock: Clock) -> Iterator[Finding]:
    for site, host in (("public", configuration.public), ("certificate", configuration.certificate)):
        certificate = x509.load_pem_x509_certificates(host.certificate.read_bytes())[0]
        yield _ending(f"{site} host", certificate, clock)


def _authorities(configuration: Configuration, clock: Clock) -> Iterator[Finding]:
    for authority in load_bundle(configuration.trust):
        yield _ending(f"authority {authority.name}", authority.certificate, clock)


def _ending(what: str, certificate: x509.Certificate, clock: Clock) -> Finding:
    ends = certificate.not_valid_after_utc.timestamp()
    days = (ends - clock.now()) / _DAY
    if days < 0:
        return Finding(what, Health.BAD, f"its certificate expired on {print_time(ends)}")
    if days < _SOON_DAYS:
        return Finding(
            what, Health.WARNING, f"its certificate ends in {days:.0f} days, on {print_time(ends)}; renew it"
        )
    return Finding(what, Health.GOOD, f"its certificate ends on {print_time(ends)}")


def _revocation(configuration: Configuration, clock: Clock) -> Iterator[Finding]:
    in_force = load_revocation(configuration.revocation_directory, check_records=False)
    for settings in configuration.trust.authorities:
        if settings.revocation == "none":
            continue
        indexes = in_force.of(settings.name)
        what = f"CRL of {settings.name}"
        if not indexes:
            yield Finding(what, Health.WARNING, "none is in force yet; the gateway compiles it when it starts")
            continue
        ends = min(index.header.next_update for index in indexes)
        left = ends - clock.now()
        if left <= 0:
            health = Health.WARNING if settings.stale == "accept" else Health.BAD
            said = f"is past its next update since {print_time(ends)} (stale = {settings.stale!r}); publish a new one"
            yield Finding(what, health, said)
        elif left < _DAY:
            said = f"is past its next update in {left / 3_600:.1f} hours; is the next one coming?"
            yield Finding(what, Health.WARNING, said)
        else:
            yield Finding(what, Health.GOOD, f"next update by {print_time(ends)}")


def _backends(configuration: Configuration, clock: Clock) -> Iterator[Finding]:
    for url in configuration.legacy.backends:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), _CONNECT_SECONDS).close()
        except OSError as error:
            yield Finding(f"backend {url}", Health.BAD, f"cannot be reached: {error.strerror or error}")
        else:
            yield Finding(f"backend {url}", Health.GOOD, "accepts connections")


def _database(configuration: Configuration, clock: Clock) -> Iterator[Finding]:
    async def look() -> tuple[int, int]:
        store = await open_rows(configuration, clock)
        try:
            users = len(await store.users.all())
            return users, (await store.audit.head()).sequence
        finally:
            await store.close()

    if configuration.store.url is None and not (configuration.state / "gateway.sqlite3").exists():
        yield Finding("database", Health.WARNING, "is not there yet; it is made when the gateway first starts")
        return
    users, lines = asyncio.run(look())
    said = f"answers: {counted(users, 'user')}, {counted(lines, 'line')} in the audit log"
    yield Finding("database", Health.GOOD, said)


def _disk(configuration: Configuration, clock: Clock) -> Iterator[Finding]:
    usage = shutil.disk_usage(configuration.state)
    said = f"{usage.free / 1024**3:.1f} GiB of {usage.total / 1024**3:.1f} GiB are free"
    if usage.free < _LEAST_FREE_OCTETS or usage.free < usage.total * _LEAST_FREE_SHARE:
        yield Finding("disk", Health.BAD, f"{said}; make room, or the next CRL may not be taken")
    else:
        yield Finding("disk", Health.GOOD, said)


def _files(configuration: Configuration, clock: Clock) -> Iterator[Finding]:
    """Secrets that others may read."""
    secrets = [configuration.public.key, configuration.certificate.key]
    secrets += [configuration.state / name for name in ("instance.secret", "gateway.sqlite3")]
    open_ones = [path for path in secrets if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o037]
    for path in open_ones:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield Finding(
            "file modes", Health.BAD, f"{path} may be read by others (mode {mode:04o}); run: chmod 0600 {path}"
        )
    if not open_ones:
        yield Finding("file modes", Health.GOOD, "keys and secrets are nobody else's")


CHECKS: Final[tuple[Check, ...]] = (
    _clock,
    _process,
    _hosts,
    _authorities,
    _revocation,
    _backends,
    _database,
    _disk,
    _files,
)
