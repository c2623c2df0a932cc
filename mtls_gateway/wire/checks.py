"""Active health checks: each worker asks each backend now and then whether it is well.

Every worker does so by itself: what it finds is what its own requests would find, nothing is shared that could be
stale or lost, and no process is one that all others depend on. The price is a small request for each worker, backend
and interval; random pauses keep workers apart. A check has a connection of its own, so that it is never mistaken for a
customer's, and carries nothing but what is written here: no cookie, no identity, no forwarded header.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from random import Random
from urllib.parse import urlsplit

from mtls_gateway import metrics
from mtls_gateway.config import Configuration
from mtls_gateway.wire.answer import AnswerReader, BadAnswer
from mtls_gateway.wire.backend import Backend
from mtls_gateway.wire.conversation import Conversation
from mtls_gateway.wire.pool import Pool

_LOG = logging.getLogger(__name__)
#: Of an interval: by so much each pause is longer or shorter.
_JITTER = 0.1
#: Interim answers (1xx) that are passed over.
_INTERIM = 8


class HealthChecks:
    """The checks of one worker's backends."""

    def __init__(self, configuration: Configuration, pool: Pool) -> None:
        self._settings = configuration.legacy.health_check
        self._backends = pool.backends
        self._limit = configuration.limits.response_head_octets
        self._answers = AnswerReader()
        seen = configuration.legacy.seen.host
        #: What ``Host`` says, as in any other request; None: the backend's own address.
        self._host = {"public": configuration.public.authority, "backend": None}.get(seen, seen)
        #: Nothing that needs to be unguessable.
        self._random = Random()  # noqa: S311

    async def run(self) -> None:
        """Check until cancelled; at most one check of a backend is under way. Without checks it only waits."""
        if not self._settings.active:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as tasks:
            for backend in self._backends:
                tasks.create_task(self._check_for_ever(backend))

    async def _check_for_ever(self, backend: Backend) -> None:
        interval = self._settings.interval
        # Workers are forked in one moment: the first pause sets them apart.
        await asyncio.sleep(self._random.uniform(0.0, interval))
        while True:
            await self.check(backend)
            await asyncio.sleep(interval * self._random.uniform(1.0 - _JITTER, 1.0 + _JITTER))

    async def check(self, backend: Backend) -> str:
        """Check once and tell the backend's health; returns ``ok``, or the metric's label of what was wrong."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                outcome = await self._ask(backend)
        except TimeoutError:
            outcome = "timeout"
        except (ssl.SSLError, ssl.CertificateError):
            outcome = "tls"
        except OSError:
            outcome = "connect"
        except (BadAnswer, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            outcome = "malformed"
        except Exception:
            # Whatever it is, it must not end the checks.
            _LOG.exception("a health check of %s failed by an internal error", backend.name)
            outcome = "internal"
        metrics.BACKEND_CHECKS.labels(backend.name, outcome).inc()
        if outcome != "ok" and not backend.health.troubled:
            _LOG.warning("health check of backend %s: %s", backend.name, outcome)
        backend.health.checked(outcome == "ok")
        return outcome

    async def _ask(self, backend: Backend) -> str:
        reader = asyncio.StreamReader(limit=self._limit)
        conversation = Conversation(reader)
        # By the backend's own way there: its name is looked up once for all, and the last answer stands in where the
        # resolver hangs. Otherwise a hanging resolver would take every backend out.
        await backend.reach(lambda: conversation)
        transport = conversation.transport
        try:
            if not self._settings.path:
                return "ok"
            request = (
                f"GET {self._settings.path} HTTP/1.1\r\nHost: {self._host or urlsplit(backend.url).netloc}\r\n"
                "User-Agent: mtls-gateway-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            )
            transport.write(request.encode("ascii"))
            for _ in range(_INTERIM):
                answer = self._answers.read(await reader.readuntil(b"\r\n\r\n"))
                if answer.status >= 200:
                    return "ok" if answer.status in self._settings.expected else "status"
            return "malformed"
        finally:
            # The body, if there is one, is nobody's.
            with contextlib.suppress(Exception):
                transport.abort()
