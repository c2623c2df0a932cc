"""Keeps the compiled indexes up to date; runs in the clerk, and once before the workers start.

For every authority the feed fetches, and when something is new has it checked and compiled aside, puts a new
manifest in force and announces its generation. Whatever goes wrong leaves the last good list in place and raises
``mtls_gateway_crl_refusals_total``; the same contract at every step.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.errors import GatewayError, StoreUnavailable, TrustMaterialError
from mtls_gateway.trust.bundle import Bundle, BundledAuthority
from mtls_gateway.trust.compile_process import compile_aside, open_indexes
from mtls_gateway.trust.compiler import Refusal
from mtls_gateway.trust.index import RevocationIndex
from mtls_gateway.trust.revocation import Manifest, read_manifest, write_manifest
from mtls_gateway.trust.sources import Sources

_LOG = logging.getLogger(__name__)
#: Indexes that are in force no longer are kept for so many seconds: a worker may be about to map one.
_KEPT_SECONDS = 600.0
#: A list that was refused is looked at again after so many seconds, even if it has not changed.
_RETRY_SECONDS = 30.0
_NEVER = float("inf")
_ATTEMPTS = 5
#: A file like this cannot ever have been meant: the gateway does not start with it (clause C.4).
_NO_START = frozenset({"missing", "empty", "malformed"})
Announce = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What an authority's indexes were made of."""

    fetched: dict[str, bytes]
    files: tuple[str, ...]
    #: Monotonic seconds; when the same octets are worth another look.
    retry_at: float


class Feed:
    """Keeps the compiled indexes of a bundle up to date."""

    __slots__ = ("_authorities", "_bundle", "_clock", "_directory", "_looked", "_mapped", "_news", "_said", "_sources")

    def __init__(self, bundle: Bundle, directory: Path, base: Path, clock: Clock) -> None:
        """Indexes go to ``directory``; relative sources are relative to ``base``, the configuration's folder."""
        self._bundle = bundle
        self._authorities = [authority for authority in bundle if authority.settings.revocation != "none"]
        self._directory = directory
        self._clock = clock
        self._sources = Sources(base, clock)
        self._looked: dict[str, _Looked] = {}
        #: What was said last of a source; the same is not said again.
        self._said: dict[str, str] = {}
        #: Indexes in force, for their headers.
        self._mapped: dict[str, RevocationIndex] = {}
        self._news = asyncio.Event()

    async def prepare(self) -> int:
        """Compile everything before the gateway starts; returns the generation in force (clause C.4).

        A file that is missing, empty or malformed is a refusal to start. So is whatever else cannot be used, unless
        an index is in force that was compiled from the same source before: then that stays (clause C.2).

        Raises:
            TrustMaterialError: names the file or address and the cause.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        await asyncio.gather(*map(self._prepare, self._authorities))
        return self._forget_others().generation

    async def _prepare(self, authority: BundledAuthority) -> None:
        for _ in range(_ATTEMPTS):
            taken, refusals = await self._look(authority)
            for refusal in refusals:
                error = refusal.error
                is_file = not error.source.startswith(("http://", "https://"))
                if not refusal.kept or (is_file and error.reason in _NO_START):
                    raise error
            if taken:
                return
        raise TrustMaterialError(str(self._directory), "changes faster than it can be read", "manifest")

    async def run(self, announce: Announce, every: float = 0.25) -> None:
        """Look for new lists for ever; ``announce`` is told each generation that was put in force.

        Each authority is watched by itself: a source that is slow holds nobody else's up.
        """
        async with asyncio.TaskGroup() as group:
            for authority in self._authorities:
                group.create_task(self._watch(authority, every))
            group.create_task(self._tell(announce, every))

    async def _watch(self, authority: BundledAuthority, every: float) -> None:
        while True:
            try:
                await self._look(authority)
            except (GatewayError, OSError) as error:
                _LOG.error("the CRLs of %s could not be refreshed: %s", authority.name, error)
            except Exception:
                # What is in force stays so; it goes stale, and the metric tells, if this does not pass.
                metrics.CRL_REFUSALS.labels(authority.name, "failed").inc()
                _LOG.exception("the CRLs of %s could not be refreshed", authority.name)
            await asyncio.sleep(every)

    async def _tell(self, announce: Announce, every: float) -> None:
        """Announce what is in force: also what an earlier clerk put there and could not announce any more."""
        announced = None
        while True:
            self._news.clear()
            try:
                manifest = await asyncio.to_thread(read_manifest, self._directory)
                if manifest.generation != announced:
                    await announce(manifest.generation)
                    announced = manifest.generation
                self._report(manifest)
            except StoreUnavailable as error:
                _LOG.error("the workers could not be told of a new CRL and will be: %s", error)
            except TrustMaterialError as error:
                _LOG.error("%s", error)
            # Not wait_for: on Python 3.11 that can swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._news.wait()

    async def refresh(self) -> int | None:
        """Look at every authority once; returns the new generation when a list was taken."""
        before = await asyncio.to_thread(read_manifest, self._directory)
        await asyncio.gather(*map(self._look, self._authorities))
        after = await asyncio.to_thread(read_manifest, self._directory)
        return None if after.generation == before.generation else after.generation

    async def _look(self, authority: BundledAuthority) -> tuple[bool, list[Refusal]]:
        """Look at the sources of an authority; False: somebody else has put others in force meanwhile."""
        answers = await asyncio.gather(*map(self._sources.fetch, authority.settings.crls))
        sources = [crl.source for crl in authority.settings.crls]
        fetched = {source: octets for source, (octets, _) in zip(sources, answers, strict=True) if octets is not None}
        errors = [error for _, error in answers if error is not None]
        in_force = (await asyncio.to_thread(read_manifest, self._directory)).files.get(authority.name, ())
        refusals: list[Refusal] = []
        files, taken = in_force, True
        if not self._is_known(authority, fetched, in_force):
            compiled = await compile_aside(authority, fetched, in_force, self._directory, self._clock.now())
            refusals += compiled.refusals
            files = compiled.files or in_force
            taken = await asyncio.to_thread(self._put_in_force, authority, in_force, files)
            if taken and files != in_force:
                metrics.CRL_TAKEN.labels(authority.name).inc()
                _LOG.info("the CRL of %s was taken", authority.name)
                self._news.set()
            if taken:
                retry_at = self._clock.monotonic() + _RETRY_SECONDS if refusals else _NEVER
                self._looked[authority.name] = _Looked(fetched, files, retry_at)
        if errors:
            opened = await asyncio.to_thread(open_indexes, self._directory, files)
            spoken_for = {source for index in opened for source in index.header.sources}
            refusals += [Refusal(error, error.source in spoken_for) for error in errors]
        for refusal in refusals:
            self._refuse(authority, refusal)
        for source in fetched.keys() - {refusal.error.source for refusal in refusals}:
            self._said.pop(source, None)
        return taken, refusals

    def _is_known(self, authority: BundledAuthority, fetched: dict[str, bytes], in_force: tuple[str, ...]) -> bool:
        """Whether the same octets have led to what is in force."""
        looked = self._looked.get(authority.name)
        return (
            looked is not None
            and looked.files == in_force
            and looked.fetched.keys() == fetched.keys()
            and all(octets is looked.fetched[source] for source, octets in fetched.items())
            and self._clock.monotonic() < looked.retry_at
        )

    def _put_in_force(self, authority: BundledAuthority, before: tuple[str, ...], files: tuple[str, ...]) -> bool:
        """Name other indexes of an authority; False: not those are in force that they were compared with."""
        with self._locked():
            manifest = read_manifest(self._directory)
            if manifest.files.get(authority.name, ()) != before:
                return False
            if files == before:
                return True
            new = Manifest(manifest.generation + 1, {**manifest.files, authority.name: files})
            write_manifest(self._directory, new)
            self._collect(new)
        return True

    def _forget_others(self) -> Manifest:
        """Take the lists of authorities that are configured no longer out of force."""
        with self._locked():
            manifest = read_manifest(self._directory)
            names = {authority.name for authority in self._authorities}
            files = {name: found for name, found in manifest.files.items() if name in names}
            if files != dict(manifest.files) or not manifest.generation:
                manifest = Manifest(manifest.generation + 1, files)
                write_manifest(self._directory, manifest)
            return manifest

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time: while a new generation starts, its master and the old one's clerk both write."""
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _collect(self, manifest: Manifest) -> None:
        """Remove indexes that have been out of force for long."""
        kept = {file for found in manifest.files.values() for file in found}
        for path in self._directory.glob("*.index"):
            with suppress(FileNotFoundError):
                if path.name not in kept and path.stat().st_mtime < self._clock.now() - _KEPT_SECONDS:
                    path.unlink()

    def _refuse(self, authority: BundledAuthority, refusal: Refusal) -> None:
        """Count a refusal; say it once for as long as it stays the same."""
        error = refusal.error
        metrics.CRL_REFUSALS.labels(authority.name, error.reason).inc()
        self._sources.distrust(error.source)
        if self._said.get(error.source) != str(error):
            self._said[error.source] = str(error)
            stays = "the last good one stays" if refusal.kept else "there is no earlier one"
            _LOG.error("a CRL of %s was not taken, %s: %s", authority.name, stays, error)

    def _report(self, manifest: Manifest) -> None:
        """Bring the metrics up to date."""
        now = self._clock.now()
        files = {file for found in manifest.files.values() for file in found}
        self._mapped = {file: self._mapped.get(file) or RevocationIndex(self._directory / file) for file in files}
        for authority in self._bundle:
            metrics.AUTHORITY_NOT_AFTER.labels(authority.name).set(authority.ends - 1.0)
            headers = [self._mapped[file].header for file in manifest.files.get(authority.name, ())]
            if headers:
                metrics.CRL_ENTRIES.labels(authority.name).set(sum(header.count for header in headers))
                next_update = min(header.next_update for header in headers)
                metrics.CRL_SECONDS_LEFT.labels(authority.name).set(next_update - now)
                metrics.CRL_NEXT_UPDATE.labels(authority.name).set(next_update)
                metrics.CRL_THIS_UPDATE.labels(authority.name).set(min(header.this_update for header in headers))
