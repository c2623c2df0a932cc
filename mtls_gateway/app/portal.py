"""The portal worker: every page of the gateway's own, behind the workers, and the operations listener."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

from aiohttp import web

from mtls_gateway.app.figures import collect_figures, read_gauge
from mtls_gateway.app.listening import address_of
from mtls_gateway.app.observation import count_rows, watch_readiness
from mtls_gateway.app.ready import backend_check, ready_checks
from mtls_gateway.app.role import RoleWorker, background
from mtls_gateway.app.rows import open_rows
from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration
from mtls_gateway.errors import SignerUnavailable, StoreUnavailable
from mtls_gateway.issuance.business_days import next_business_day
from mtls_gateway.issuance.enrolment import Enrolment, EnrolmentStores
from mtls_gateway.issuance.issuers import Issuers
from mtls_gateway.issuance.signer_client import SignerClient
from mtls_gateway.model import Site
from mtls_gateway.signin.jar import LegacyJar
from mtls_gateway.signin.leftovers import Leftovers
from mtls_gateway.signin.sign_in import SignInStores
from mtls_gateway.store.opening import Store
from mtls_gateway.web.health import make_operations
from mtls_gateway.web.legacy_http import LegacyClient
from mtls_gateway.web.portal import IssuingParts, PortalParts, make_checkers, make_enrolment, make_portal, make_sign_in

_LOG = logging.getLogger(__name__)
#: Seconds between two looks for sessions that have ended without their browser.
_TIDY_EVERY = 15.0
#: Octets of one line that the portal takes from a worker: more than a worker can be made to send.
_LONGEST_LINE = 4 * 1024**2
_DRAIN_LOOK = 0.05


class PortalWorker(RoleWorker):
    """Serves the private unix socket and the operations listener."""

    role = "portal"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve; leaving finishes the requests under way."""
        generation = self.generation
        configuration, clock = generation.configuration, generation.clock
        # The portal does not face the internet: it must not hold what does.
        private, public = str(configuration.portal_socket), configuration.operations.listen
        listening = {address_of(one): one for one in self.take(private, public)}
        async with contextlib.AsyncExitStack() as stack:
            store = await open_rows(configuration, clock)
            stack.push_async_callback(store.close)
            legacy = LegacyClient(configuration.timeouts)
            await stack.enter_async_context(legacy)
            checkers = make_checkers(configuration, legacy, store.users, clock)
            stores = SignInStores(attempts=store.attempts, sessions=store.sessions, users=store.identities)
            issuing = _issuing(stack, configuration, store, clock)
            parts = PortalParts(
                configuration, clock, generation.secret, stores, checkers, store.members, store.certificates, issuing
            )
            sign_in = make_sign_in(parts)
            enrolment = make_enrolment(parts, sign_in.proof)
            portal = make_portal(parts, sign_in, enrolment)
            # The workers hold heads against their limits and add a header that grows with the certificate shown. What
            # aiohttp refuses by itself it quotes, cookies and all, in its answer and in the log.
            ending = _Ending()
            portal.on_response_prepare.append(ending.close)
            pages = await _serve(stack, portal, listening[private], longest_line=_LONGEST_LINE)
            figures_of_all = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
            backends = backend_check(partial(read_gauge, figures_of_all, "mtls_gateway_backend_usable", "backend"))
            checks = dict(ready_checks(configuration, generation.bundle, store, clock))
            if configuration.operations.ready_needs_backend:
                checks["backends"] = backends
            advice = {} if "backends" in checks else {"backends": backends}
            operations = make_operations(checks, partial(collect_figures, figures_of_all), advice=advice)
            figures = await _serve(stack, operations, listening[public])
            leftovers = Leftovers(store.sessions, checkers[Site.CERTIFICATE], LegacyJar(generation.secret))
            idle = configuration.sessions.idle + configuration.sessions.note_use_every
            tidying = asyncio.ensure_future(_tidy_for_ever(store, leftovers, idle))
            watching = asyncio.ensure_future(watch_readiness(checks, configuration.state))
            counting = asyncio.ensure_future(count_rows(store.census, configuration.operations.census_every))
            await stack.enter_async_context(background(tidying, watching, counting))
            if enrolment is not None and configuration.issuance is not None:
                finishing = _finish_for_ever(enrolment, configuration.issuance.finish_every, clock)
                await stack.enter_async_context(background(asyncio.ensure_future(finishing)))
            yield
            ending.is_set = True
            await _drain([pages, figures], configuration.timeouts.drain)


def _issuing(
    stack: contextlib.AsyncExitStack, configuration: Configuration, store: Store, clock: Clock
) -> IssuingParts | None:
    """What enrolment needs, where certificates are issued here."""
    settings = configuration.signer
    if configuration.issuance is None or settings is None:
        return None
    signer = SignerClient(configuration.signer_socket, timeout=settings.timeout, crl_timeout=settings.crl_timeout)
    stack.push_async_callback(signer.close)
    rows = EnrolmentStores(store.codes, store.enrolments, store.users)

    def cooling_off_until(now: float) -> float | None:
        # Without rules nothing is refused, and nobody is to be told that something is.
        return next_business_day(now, configuration.business_days) if configuration.cooling_off.rules else None

    return IssuingParts(rows, signer, Issuers(signer, clock), cooling_off_until)


async def _serve(
    stack: contextlib.AsyncExitStack,
    application: web.Application,
    listening: socket.socket,
    *,
    longest_line: int = 8_190,
) -> web.AppRunner:
    runner = web.AppRunner(
        application,
        handle_signals=False,
        access_log=None,
        max_line_size=longest_line,
        max_field_size=longest_line,
        # A form that a browser sends is never compressed: nothing is unpacked for strangers.
        auto_decompress=False,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listening).start()
    return runner


class _Ending:
    """Once set, each answer of the portal's ends its connection: whoever asks again finds the successor."""

    def __init__(self) -> None:
        self.is_set = False

    async def close(self, request: web.Request, response: web.StreamResponse) -> None:
        """Told by aiohttp before each answer."""
        if self.is_set:
            response.force_close()


async def _drain(runners: Sequence[web.AppRunner], seconds: float) -> None:
    """Accept nothing more; serve until no worker is connected any more, or for ``seconds``.

    A worker's request may be on its way on a connection that seems idle here.
    """
    for runner in runners:
        for site in tuple(runner.sites):
            await site.stop()
    for _ in range(int(seconds / _DRAIN_LOOK)):
        if not any(runner.server is not None and runner.server.connections for runner in runners):
            return
        await asyncio.sleep(_DRAIN_LOOK)


async def _tidy_for_ever(store: Store, leftovers: Leftovers, idle: float) -> None:
    """End what is overdue, and the legacy sessions of what has ended."""
    while True:
        try:
            await store.sessions.end_overdue(idle=idle)
            await leftovers.end_all()
        except StoreUnavailable as error:
            _LOG.error("ended sessions wait to be tidied away: %s", error)
        await asyncio.sleep(_TIDY_EVERY)


async def _finish_for_ever(enrolment: Enrolment, every: float, clock: Clock) -> None:
    """Take to the signer again what was left there, by a portal that was killed or a signer that was away."""
    while True:
        try:
            await enrolment.finish_all(clock.now() - every)
        except (StoreUnavailable, SignerUnavailable) as error:
            _LOG.error("unfinished certificates wait: %s", error)
        await asyncio.sleep(every)
