"""``mtls-gateway serve``: prepare the state directory, load the first generation, start the master.

Or take over from a master that has started this one (SIGUSR2): see ``handover``.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from pathlib import Path

from mtls_gateway.app.handover import Predecessor, forget_offer, predecessor
from mtls_gateway.app.openssl_settings import load_openssl
from mtls_gateway.app.ownership import give_state_to_user
from mtls_gateway.clock import SystemClock
from mtls_gateway.config import Configuration, read_configuration
from mtls_gateway.errors import ConfigurationError, GatewayError

#: glibc's thresholds: by default every large body is allocated from and given back to the kernel piece by piece, which
#: took half of the time with large bodies or many connections (docs/performance.md). Octets.
_ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": str(256 * 1024**2),
    "MALLOC_MMAP_THRESHOLD_": str(64 * 1024**2),
    "MALLOC_TOP_PAD_": str(16 * 1024**2),
    "MALLOC_ARENA_MAX": "2",
}
_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_PREPARED = "MTLS_GATEWAY_PREPARED"
#: What this program was started by, as JSON: an upgrade starts it anew, from wherever that leads by then.
_WORDS = "MTLS_GATEWAY_WORDS"


def serve(path: Path) -> None:
    """Run the gateway, the portal, the clerk and, where it is configured, the signer until told to stop (SIGTERM).

    Does not return on the first call: the allocator and the metrics read their environment when a process
    begins, so the process begins anew with it.

    Raises:
        GatewayError: it cannot start; says what to mend.
    """
    before = predecessor()
    try:
        _serve(path.resolve(), before)
    except GatewayError as error:
        if before is not None:
            before.cannot(str(error))
        raise


def program() -> tuple[list[str], dict[str, str]]:
    """The words and the environment that start this program anew, whatever version it has become."""
    ours = {_METRICS, _PREPARED, _WORDS}
    environment = {
        name: value for name, value in os.environ.items() if name not in ours and _ALLOCATOR.get(name) != value
    }
    return json.loads(os.environ[_WORDS]), environment


def _serve(path: Path, before: Predecessor | None) -> None:
    configuration = read_configuration(path)
    if before is not None:
        before.require_alike(configuration.state)
    if os.environ.get(_PREPARED) != str(os.getpid()):
        _begin_anew(configuration, keeping_figures=before is not None)
    forget_offer()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s", stream=sys.stderr
    )
    # It announces each of its own plug-ins at every start.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    load_openssl()
    # Only now: importing the metrics reads the environment.
    from mtls_gateway.app.figures import reserve_figures

    reserve_figures()
    from mtls_gateway.app.activation import passed_sockets
    from mtls_gateway.app.clerk import ClerkWorker
    from mtls_gateway.app.first_crls import make_first_crls
    from mtls_gateway.app.gateway import GatewayWorker
    from mtls_gateway.app.generation import Generation
    from mtls_gateway.app.portal import PortalWorker
    from mtls_gateway.app.role import RoleWorker
    from mtls_gateway.app.signer import SignerWorker, check_signer_aside

    passed = passed_sockets()
    give_state_to_user(configuration, path)
    if before is None:
        make_first_crls(configuration, path, SystemClock())
    # An older program serves from these tables: what they are to be is not for the new one to decide beside it.
    generation = Generation.load(path, migrating=before is None)
    give_state_to_user(configuration, path)
    check_signer_aside(configuration, path)
    from mtls_gateway.app.application import GatewayApplication
    from mtls_gateway.app.master import Master

    def roles(wanted: Configuration) -> list[type[RoleWorker]]:
        has_signer = wanted.signer is not None and wanted.signer.role
        others: list[type[RoleWorker]] = [PortalWorker, ClerkWorker, *([SignerWorker] if has_signer else [])]
        return [*([GatewayWorker] * wanted.operations.workers), *others]

    Master(GatewayApplication(generation, roles), passed, before).run()


def _begin_anew(configuration: Configuration, *, keeping_figures: bool) -> None:
    metrics = configuration.state / "metrics"
    try:
        configuration.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("run", "metrics"):
            (configuration.state / name).mkdir(mode=0o700, exist_ok=True)
        if not keeping_figures:
            # Counters begin anew with the service; a worker that is replaced adds to those of its predecessor.
            shutil.rmtree(metrics)
            metrics.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            str(error.filename or configuration.state), "state", f"cannot be prepared: {error.strerror}"
        ) from error
    is_module = Path(sys.argv[0]).name == "__main__.py"
    # The link that leads to the version in use is not followed here: by the next upgrade it leads elsewhere.
    first = [sys.executable, "-m", "mtls_gateway"] if is_module else [os.path.abspath(sys.argv[0])]  # noqa: PTH100
    environment = {
        **_ALLOCATOR,
        **os.environ,
        _METRICS: str(metrics),
        _PREPARED: str(os.getpid()),
        _WORDS: json.dumps([*first, *sys.argv[1:]]),
    }
    arguments = [sys.executable, "-m", "mtls_gateway", *sys.argv[1:]]
    os.execve(sys.executable, arguments, environment)
