"""The clerk: what must happen by itself. It faces nobody.

Every clerk keeps the compiled CRLs of its own machine up to date; everything else is done by one clerk only, however
many were started (see ``duties``). ``serve`` runs one; ``mtls-gateway clerk`` runs another, to take over when it goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from mtls_gateway.app.duties import Duties
from mtls_gateway.app.first_crls import make_signer
from mtls_gateway.app.generation import make_feed
from mtls_gateway.app.role import RoleWorker, background
from mtls_gateway.app.rows import open_rows
from mtls_gateway.clock import Clock, SystemClock
from mtls_gateway.config import Configuration, read_configuration
from mtls_gateway.model import ChangeKind
from mtls_gateway.store.leadership import open_leadership
from mtls_gateway.trust.bundle import Bundle, load_bundle

_LOG = logging.getLogger(__name__)


class ClerkWorker(RoleWorker):
    """Refreshes CRLs and tells the workers of new ones; leads, or waits to."""

    role = "clerk"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Work until told to stop; everything is taken up again by the next clerk."""
        self.take()
        generation = self.generation
        async with working(generation.configuration, generation.bundle, generation.path, generation.clock):
            yield


@contextlib.asynccontextmanager
async def working(configuration: Configuration, bundle: Bundle, path: Path, clock: Clock) -> AsyncIterator[None]:
    """A clerk, while the context is open; ``path`` is the configuration's file."""
    store = await open_rows(configuration, clock)
    signer = make_signer(configuration)
    feed = make_feed(configuration, bundle, path, clock)
    leadership = open_leadership(configuration.database_url, busy_timeout=configuration.store.busy_timeout)
    duties = Duties(configuration, store, signer, clock)

    async def announce(number: int) -> None:
        await store.changes.announce(ChangeKind.REVOCATION, str(number))

    try:
        async with background(asyncio.ensure_future(feed.run(announce)), asyncio.ensure_future(duties.run(leadership))):
            yield
    finally:
        await store.close()
        if signer is not None:
            await signer.close()


def run_clerk(path: Path) -> None:
    """``mtls-gateway clerk``: one more clerk, until told to stop (SIGTERM).

    Raises:
        GatewayError: it cannot start; says what to do.
    """
    path = path.resolve()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s", stream=sys.stderr
    )
    configuration = read_configuration(path)
    asyncio.run(_run(configuration, load_bundle(configuration.trust), path))


async def _run(configuration: Configuration, bundle: Bundle, path: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with working(configuration, bundle, path, SystemClock()):
        _LOG.info("the clerk is at work (pid %s)", os.getpid())
        await stop.wait()
        _LOG.info("the clerk is stopping (pid %s)", os.getpid())
