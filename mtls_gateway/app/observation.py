"""What the portal looks at by itself, so that the metrics answer without being asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mtls_gateway import metrics
from mtls_gateway.app.ready import free_octets
from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.store.census import Census
from mtls_gateway.web.health import Check, outcomes

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
#: Seconds that a question under way is waited for when the process ends.
_LAST_ANSWER = 5.0
#: Seconds between two looks at readiness and disk.
_LOOK_EVERY = 5.0


async def watch_readiness(checks: Mapping[str, Check], state: Path) -> None:
    """Make the checks of ``/readyz`` for ever; what changes is said once."""
    before: dict[str, str] = {}
    while True:
        now = await _to_its_end(outcomes(checks))
        for name, outcome in now.items():
            metrics.READY.labels(name).set(outcome == "ok")
            if outcome not in ("ok", before.get(name)):
                _LOG.warning("not ready: %s: %s", name, outcome)
            elif outcome == "ok" and before.get(name, "ok") != "ok":
                _LOG.warning("ready again: %s", name)
        before = now
        try:
            free, size = free_octets(state)
            metrics.STATE_FREE.set(free)
            metrics.STATE_SIZE.set(size)
        except OSError as error:
            _LOG.error("%s: %s", state, error.strerror)
        await asyncio.sleep(_LOOK_EVERY)


async def count_rows(census: Census, every: float) -> None:
    """Bring the census up to date every so many seconds, for ever; while the database is away it stays as it was."""
    while True:
        try:
            counted = await _to_its_end(census.take())
        except StoreUnavailable as error:
            _LOG.error("the rows were not counted and will be: %s", error)
        else:
            for method, count in counted.sessions.items():
                metrics.SESSIONS.labels(method.value).set(count)
            metrics.USERS_LOCKED.labels("suspended").set(counted.suspended)
            metrics.USERS_LOCKED.labels("stopped").set(counted.stopped)
            for state, count in counted.certificates.items():
                metrics.CERTIFICATES.labels(state.value).set(count)
            for days, count in counted.ending.items():
                metrics.CERTIFICATES_ENDING.labels(str(days)).set(count)
        await asyncio.sleep(every)


async def _to_its_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Ask a question that is not broken off: its answer would come to a loop that is closed, and be a traceback."""
    asking = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        await asyncio.wait([asking], timeout=_LAST_ANSWER)
        raise
