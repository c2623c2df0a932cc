"""File descriptors: how many connections a worker may hold so that whatever else it needs still finds one.

A client's connection is the one thing of which there can be any number. Without a bound below the process's own
(RLIMIT_NOFILE) they would take the descriptors that signed-in users' requests need towards the backends.
"""

from __future__ import annotations

import contextlib
import logging
import resource

from mtls_gateway.config import Configuration

_LOG = logging.getLogger(__name__)
#: Listeners, database, logs, figures, indexes that are being exchanged, and what libraries open for a moment.
_OTHERS = 64


def connections_that_fit(configuration: Configuration) -> int:
    """``limits.connections``, or fewer where the system gives this process too few descriptors for them.

    The soft limit is raised first, as far as the hard one lets it.
    """
    wanted = configuration.limits.connections
    pools = len(configuration.legacy.backends) + 1
    besides = _OTHERS + pools * configuration.limits.backend_connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted + besides:
        raised = wanted + besides if hard == resource.RLIM_INFINITY else min(hard, wanted + besides)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    # Where there are very few, half of them serve whoever is connected.
    fit = max(1, soft - min(besides, soft // 2))
    if fit >= wanted:
        return wanted
    _LOG.warning(
        "RLIMIT_NOFILE is %d: a worker takes %d connections at once instead of limits.connections, %d",
        soft,
        fit,
        wanted,
    )
    return fit
