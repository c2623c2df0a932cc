"""The CRLs of our own issuers: ordered from the signer, published as files (clause C.2).

One for each issuer that the signer has, so that during a roll-over the old one's goes on. The number is written down
before the signature and never given twice. The file is put in its place whole; trust reads it as it would read
anybody else's, and the portal publishes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, cast, get_args

from cryptography import x509

from mtls_gateway import metrics
from mtls_gateway.clerical import ListedRevocation, NumberedCrl
from mtls_gateway.clock import Clock
from mtls_gateway.config import OwnCrls
from mtls_gateway.errors import GatewayError, SignerRefused
from mtls_gateway.issuance.key_files import PUBLIC, replace_file
from mtls_gateway.issuance.orders import CrlOrder, Issuer, Reason, RevokedEntry, Signer

_LOG = logging.getLogger(__name__)
_REASONS = frozenset(get_args(Reason))
#: A CRL that could not be signed is tried again after so many seconds, then after twice as many, up to the second.
_RETRY, _RETRY_LONGEST = 1.0, 60.0
#: How often an issuer that the signer has got, or one whose file was taken away, is noticed. Seconds.
_LOOK_EVERY = 10.0


class CrlStore(Protocol):
    """What the CRLs are made of; every method may raise StoreUnavailable."""

    async def begin(
        self, issuer: str, *, above: int, this_update: float, next_update: float, ended_after: float
    ) -> int:
        """Write down a CRL of the issuer (a distinguished name) before it is signed; returns its number."""
        ...

    async def last(self, issuer: str) -> NumberedCrl | None:
        """What was written down last."""
        ...

    async def count(self, issuer: str, ended_after: float) -> int:
        """How many :meth:`listed` has."""
        ...

    def listed(self, issuer: str, ended_after: float) -> AsyncGenerator[ListedRevocation, None]:
        """What it lists, by rising serials."""
        ...


@dataclass(frozen=True, slots=True)
class Published:
    """A CRL in its place; POSIX seconds."""

    issuer: str
    file: Path
    number: int
    next_update: float


def crl_file(directory: Path, issuer: str) -> Path:
    """Where the CRL of an issuer of that name lies."""
    return directory / f"{issuer}.crl"


class OwnCrl:
    """Signs and publishes; made once by the clerk."""

    def __init__(self, signer: Signer, store: CrlStore, settings: OwnCrls, directory: Path, clock: Clock) -> None:
        """``directory`` is where the files are published; it is made when it is not there."""
        self._signer = signer
        self._store = store
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._wanted = asyncio.Event()
        #: Seconds; below the first value while all is well.
        self._retry = _RETRY / 2
        self._least = 0.0
        #: Number and nextUpdate of the files, as long as they are the same files.
        self._read: dict[Path, tuple[tuple[int, int, int], _Read]] = {}

    def revoked(self) -> None:
        """Something may have to be listed: sign as soon as may be. Too often does no harm."""
        self._wanted.set()

    async def publish_all(self, *, only_missing: bool = False) -> list[Published]:
        """A new CRL for every issuer, or for those that have none.

        Raises:
            SignerUnavailable: the signer does not answer; the same again is safe.
            SignerRefused: it breaks a rule of the signer's.
            StoreUnavailable: the database does not answer.
            StateError: a file cannot be written.
        """
        issuers = await self._signer.describe()
        if only_missing:
            issuers = tuple(one for one in issuers if not crl_file(self._directory, one.name).exists())
        return [await self._publish(issuer) for issuer in issuers]

    async def step(self) -> None:
        """Publish what is due."""
        # Cleared before the store is read: what is revoked meanwhile is seen now, or asks again.
        self._wanted.clear()
        published, failed = await self.look()
        self._retry = min(self._retry * 2, _RETRY_LONGEST) if failed else _RETRY / 2
        self._least = self._retry if failed else self._settings.shortest if published else 0.0

    async def rest(self) -> None:
        """Until a revocation is told of, or it is time to look again; not shorter than what the signer can stand."""
        await asyncio.sleep(self._least)
        # Not wait_for: on Python 3.11 that can swallow a cancellation.
        with suppress(TimeoutError):
            async with asyncio.timeout(0.0 if self._retry >= _RETRY else _LOOK_EVERY):
                await self._wanted.wait()
        if self._wanted.is_set():
            await asyncio.sleep(self._settings.gather)

    def stop(self) -> None:
        """A list that is being signed is finished."""

    async def look(self) -> tuple[int, int]:
        """Publish what is due; returns how many were, and how many could not be: those that are in place stay."""
        published = failed = 0
        try:
            issuers = await self._signer.describe()
        except GatewayError as error:
            self._say("the signer's issuers", error)
            return 0, 1
        for issuer in issuers:
            try:
                if await self._is_due(issuer):
                    await self._publish(issuer)
                    published += 1
            except GatewayError as error:
                self._say(issuer.name, error)
                failed += 1
        return published, failed

    async def _is_due(self, issuer: Issuer) -> bool:
        """Whether the CRL in its place is not the last one, near its end, or does not list all that it should."""
        last = await self._store.last(issuer.subject)
        if last is None:
            return True
        in_place = await asyncio.to_thread(self._in_place, issuer)
        if in_place is None or in_place.number != last.number:
            return True
        if in_place.next_update - self._clock.now() <= self._settings.renew_before:
            return True
        # Revocations are final: from one moment on there can only be more.
        return await self._store.count(issuer.subject, last.ended_after) != last.entries

    def _in_place(self, issuer: Issuer) -> _Read | None:
        """The CRL in its place; None: there is none, or it is no CRL of that issuer."""
        file = crl_file(self._directory, issuer.name)
        try:
            status = file.stat()
            mark = (status.st_ino, status.st_size, status.st_mtime_ns)
            known = self._read.get(file)
            if known is None or known[0] != mark:
                crl = x509.load_der_x509_crl(file.read_bytes())
                number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
                if crl.issuer != x509.load_der_x509_certificate(issuer.certificate).subject:
                    return None
                known = self._read[file] = mark, _Read(number, _posix(crl.next_update_utc))
        except (OSError, ValueError, x509.ExtensionNotFound):
            return None
        return known[1]

    async def _publish(self, issuer: Issuer) -> Published:
        now = float(int(self._clock.now()))
        ended_after = now - self._settings.listed_after_end
        next_update = now + float(int(self._settings.lifetime))
        number = await self._store.begin(
            issuer.subject, above=issuer.crl_number, this_update=now, next_update=next_update, ended_after=ended_after
        )
        entries = _Entries(self._store.listed(issuer.subject, ended_after), now)
        async with aclosing(entries.each()) as each:
            signed = await self._signer.sign_crl(CrlOrder(issuer.name, number, now, next_update, each))
        file = crl_file(self._directory, issuer.name)
        await asyncio.to_thread(_write, file, signed)
        metrics.OWN_CRLS.labels("published").inc()
        metrics.OWN_CRL_NUMBER.labels(issuer.name).set(number)
        metrics.OWN_CRL_SIGNED.labels(issuer.name).set(now)
        metrics.OWN_CRL_ENTRIES.labels(issuer.name).set(entries.count)
        _LOG.info("CRL %d of %s is published, with %d entries", number, issuer.name, entries.count)
        return Published(issuer.name, file, number, next_update)

    def _say(self, what: str, error: GatewayError) -> None:
        metrics.OWN_CRLS.labels("refused" if isinstance(error, SignerRefused) else "failed").inc()
        _LOG.error("no CRL of %s was signed, the one that is published stays, and it is tried again: %s", what, error)


@dataclass(frozen=True, slots=True)
class _Read:
    """Of a CRL in its place; POSIX seconds."""

    number: int
    next_update: float


def _posix(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()


class _Entries:
    """What the store lists, as the signer is given it, and how many there were."""

    def __init__(self, listed: AsyncGenerator[ListedRevocation, None], now: float) -> None:
        self._listed = listed
        self._now = now
        self.count = 0

    async def each(self) -> AsyncGenerator[RevokedEntry, None]:
        """Each once."""
        async with aclosing(self._listed) as listed:
            async for one in listed:
                self.count += 1
                reason = cast(Reason, one.reason) if one.reason in _REASONS else "unspecified"
                # The clock may have been set back since.
                yield RevokedEntry(one.serial, min(float(int(one.at)), self._now), reason)


def _write(file: Path, octets: bytes) -> None:
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    replace_file(file, octets, PUBLIC)
