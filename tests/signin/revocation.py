"""CRLs as the clerk compiles them and a worker maps them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Configuration
from mtls_gateway.trust.bundle import load_bundle
from mtls_gateway.trust.feed import Feed
from mtls_gateway.trust.revocation import load_revocation
from mtls_gateway.trust.verdict import Judge


class Lists:
    """The clerk's and the worker's side of revocation, in one process."""

    judge: Judge

    def __init__(self, configuration: Configuration, clock: ManualClock) -> None:
        self._directory = configuration.revocation_directory
        self._bundle = load_bundle(configuration.trust)
        self._feed = Feed(self._bundle, self._directory, self._directory, clock)

    async def prepare(self) -> None:
        """What happens before workers are forked."""
        await self._feed.prepare()
        self.judge = Judge(self._bundle, load_revocation(self._directory))

    async def compile(self) -> int:
        """The clerk looks for new lists; returns the generation."""
        generation = await self._feed.refresh()
        assert generation is not None
        return generation

    async def take(self, generation: int) -> None:
        """A worker maps what is in force."""
        self.judge.take(load_revocation(self._directory))

    @contextmanager
    def vanished(self) -> Iterator[None]:
        """The indexes are gone for a while."""
        aside = self._directory.with_name("aside")
        self._directory.rename(aside)
        self._directory.mkdir()
        (self._directory / "manifest.json").write_text("no manifest")
        yield
        (self._directory / "manifest.json").unlink()
        self._directory.rmdir()
        aside.rename(self._directory)
