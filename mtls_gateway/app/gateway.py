"""The gateway worker: wire, trust and signin in one process that faces the internet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from mtls_gateway.app.access_log import AccessLog
from mtls_gateway.app.descriptors import connections_that_fit
from mtls_gateway.app.listening import address_of
from mtls_gateway.app.role import RoleWorker, background
from mtls_gateway.app.rows import open_rows
from mtls_gateway.signin.follow import Follower
from mtls_gateway.signin.gate import Gate
from mtls_gateway.signin.knowledge import Knowledge
from mtls_gateway.trust.revocation import load_revocation
from mtls_gateway.trust.verdict import Judge
from mtls_gateway.wire.checks import HealthChecks
from mtls_gateway.wire.listener import Listener
from mtls_gateway.wire.sites import Sites
from mtls_gateway.wire.worker import Worker

_LOG = logging.getLogger(__name__)
_DRAIN_LOOK = 0.05


class GatewayWorker(RoleWorker):
    """Accepts connections on every endpoint of both hosts."""

    role = "gateway"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve; leaving drains for at most ``timeouts.drain`` seconds."""
        generation = self.generation
        configuration, clock = generation.configuration, generation.clock
        directory = configuration.revocation_directory
        store = await open_rows(configuration, clock)
        judge = Judge(generation.bundle, load_revocation(directory))
        knowledge = Knowledge(configuration, store.worker, clock)
        gate = Gate(configuration, judge, knowledge, generation.secret, clock)
        log = (
            None
            if configuration.operations.access_log is None
            else AccessLog(configuration.operations.access_log, clock)
        )
        loop = asyncio.get_running_loop()
        worker = Worker(
            configuration,
            gate=gate,
            pages=generation.pages,
            clock=clock,
            loop=loop,
            log_access=log,
            connections=connections_that_fit(configuration),
        )
        gate.preferred_backends = worker.legacy.preferred
        checks = HealthChecks(configuration, worker.legacy)

        async def take_revocation(announced: int) -> None:
            judge.take(await asyncio.to_thread(load_revocation, directory, judge.revocation))

        follower = Follower(configuration, store.worker, gate, worker.live, take_revocation, clock)
        await follower.start()
        listeners = [
            Listener(
                worker,
                listening,
                Sites(address_of(listening), configuration.public, configuration.certificate),
                generation.contexts,
            )
            for listening in self.take(*configuration.public.listen, *configuration.certificate.listen)
        ]
        try:
            async with background(
                asyncio.ensure_future(follower.run()),
                asyncio.ensure_future(checks.run()),
                asyncio.ensure_future(_add_up_for_ever(worker, log)),
            ):
                worker.deadlines.start()
                for listener in listeners:
                    listener.start()
                yield
                for listener in listeners:
                    listener.close()
                worker.drain()
                await _until_drained(worker, configuration.timeouts.drain)
                await follower.note_use()
        finally:
            worker.deadlines.stop()
            worker.add_up()
            if log is not None:
                log.write()
            worker.close()
            await store.close()


async def _add_up_for_ever(worker: Worker, log: AccessLog | None) -> None:
    while True:
        await asyncio.sleep(1.0)
        worker.add_up()
        worker.look_again()
        if log is not None:
            # A disk may take its time; requests do not wait for it.
            await asyncio.to_thread(log.write)


async def _until_drained(worker: Worker, seconds: float) -> None:
    for _ in range(int(seconds / _DRAIN_LOOK)):
        if not worker.connections:
            return
        await asyncio.sleep(_DRAIN_LOOK)
    if worker.connections:
        _LOG.warning("%d connections did not end within %g s and are cut", worker.connections, seconds)
