"""The signer worker, and the signer started alone: the processes that hold a CA key.

As a role of ``serve`` it has a process of its own, but the user of all the others; started alone it has a user of its
own, and the key's files are out of their reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from prometheus_client import start_http_server

from mtls_gateway.app.role import RoleWorker
from mtls_gateway.clock import Clock, SystemClock
from mtls_gateway.config import Configuration, read_configuration
from mtls_gateway.errors import ConfigurationError, GatewayError
from mtls_gateway.issuance.signer import opening
from mtls_gateway.issuance.signer.secret import Secrets
from mtls_gateway.issuance.signer.server import SignerServer

_LOG = logging.getLogger(__name__)
#: A signer that cannot start is not started again at once. Seconds.
_PAUSE = 5.0
#: Going through the journal takes seconds for a million records.
_CHECK_SECONDS = 120.0


class SignerWorker(RoleWorker):
    """Holds the CA keys; serves the signer's socket."""

    role = "signer"

    def run(self) -> None:
        """As every role; but what keeps it from starting is one line, and not tried again without a pause."""
        opening.close_the_door()
        try:
            super().run()
        except GatewayError as error:
            _LOG.error("the signer cannot start: %s", error)
            until = time.monotonic() + _PAUSE
            while time.monotonic() < until and os.getppid() == self.ppid:
                self.notify()
                time.sleep(0.5)
            sys.exit(1)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve; leaving finishes the orders under way."""
        self.take()
        generation = self.generation
        # Read only here, after the fork: no other process ever has it.
        beating = asyncio.ensure_future(self._beat())
        try:
            async with serving(generation.configuration, generation.path, Secrets(may_prompt=False), generation.clock):
                beating.cancel()
                yield
        finally:
            beating.cancel()


@contextlib.asynccontextmanager
async def serving(configuration: Configuration, file: Path, secrets: Secrets, clock: Clock) -> AsyncIterator[None]:
    """The signer, while the context is open.

    Raises:
        GatewayError: it cannot start; says what to do.
    """
    settings = opening.server_settings(configuration, file)
    desk = await asyncio.to_thread(opening.open_desk, configuration, file, secrets, clock)
    try:
        async with SignerServer(desk, settings).serving(opening.listen(configuration, file)):
            yield
    finally:
        desk.close()


def run_signer(path: Path) -> None:
    """``mtls-gateway signer``: serve until told to stop (SIGTERM).

    Raises:
        GatewayError: it cannot start; says what to do.
    """
    path = path.resolve()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s", stream=sys.stderr
    )
    opening.close_the_door()
    configuration = read_configuration(path)
    listen_on = opening.settings_of(configuration, path).metrics
    asyncio.run(_run(configuration, path, listen_on))


async def _run(configuration: Configuration, path: Path, listen_on: str | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(configuration, path, Secrets(may_prompt=sys.stdin.isatty()), SystemClock()):
        if listen_on is not None:
            host, _, port = listen_on.rpartition(":")
            start_http_server(int(port), host.strip("[]"))
        _LOG.info("the signer is serving on %s (pid %s)", configuration.signer_socket, os.getpid())
        await stop.wait()
        _LOG.info("the signer is stopping (pid %s)", os.getpid())


def check_signer(configuration: Configuration, file: Path, clock: Clock) -> None:
    """Everything that is checked when it starts, in this process, without a socket.

    Raises:
        GatewayError: it could not start; says what to do.
    """
    opening.server_settings(configuration, file)
    opening.open_desk(configuration, file, Secrets(may_prompt=sys.stdin.isatty()), clock).close()


def check_keys(configuration: Configuration, file: Path, clock: Clock) -> None:
    """Only the issuers and their keys: makes nothing. Not for a signer that another user starts.

    Raises:
        GatewayError: one cannot be used; says what to do.
    """
    if configuration.signer is None or not configuration.signer.role:
        return
    opening.server_settings(configuration, file)
    secrets = Secrets(may_prompt=False)
    for issuer in opening.open_issuers(configuration.signer, file, secrets, clock.now()):
        issuer.key.close()


def check_signer_aside(configuration: Configuration, file: Path) -> None:
    """As :func:`check_signer`, in a process of its own, as the user that the worker becomes.

    Whoever forks the others must not have had the key.

    Raises:
        ConfigurationError: it could not start; says what to do.
    """
    if configuration.signer is None or not configuration.signer.role:
        return
    operations = configuration.operations
    becomes: dict[str, Any] = {}
    if os.geteuid() == 0:
        becomes = {"user": operations.user, "group": operations.group}
        if operations.user is not None:
            becomes["extra_groups"] = []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
    try:
        checked = subprocess.run(  # noqa: S603  # the words of the command are our own
            [sys.executable, "-m", "mtls_gateway", "--config", str(file), "signer", "check"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
            timeout=_CHECK_SECONDS,
            **becomes,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(str(file), "signer", f"was not checked in {_CHECK_SECONDS:g} seconds") from error
    if checked.returncode != 0:
        lines = checked.stderr.strip().splitlines() or ["its check ended without a word"]
        raise ConfigurationError(str(file), "signer", lines[-1].removeprefix("mtls-gateway: "))
