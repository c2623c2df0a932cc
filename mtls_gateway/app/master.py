"""The master as ``serve`` runs it: begins with sockets that it is given, and hands the service to a new program.

On SIGUSR2 the program is started anew, whatever version it has become, with a master of its own that raises all its
processes beside the old ones and takes over when they serve (``handover``). What systemd has opened is used as it is
(``activation``).
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gunicorn.errors import HaltServer

from mtls_gateway import __version__, metrics
from mtls_gateway.app import service_manager
from mtls_gateway.app.activation import Passed, endpoints_of, require_named
from mtls_gateway.app.application import GatewayApplication
from mtls_gateway.app.arbiter import RoleArbiter, close_others
from mtls_gateway.app.handover import Predecessor, Stage, Successor, start_successor
from mtls_gateway.app.listening import adopt
from mtls_gateway.app.role import RoleWorker
from mtls_gateway.app.serve import program
from mtls_gateway.app.upgrade_outcome import UpgradeOutcome
from mtls_gateway.errors import GatewayError

_LOG = logging.getLogger(__name__)
#: Seconds between two looks at what another master says.
_LISTEN_EVERY = 0.1


class Master(RoleArbiter):
    """Forks the roles of a generation; may have a predecessor, then a successor."""

    def __init__(
        self, application: GatewayApplication, passed: Sequence[Passed] = (), predecessor: Predecessor | None = None
    ) -> None:
        """``passed``: what systemd has opened; ``predecessor``: whom to take over from."""
        self._passed = passed
        self._predecessor = predecessor
        #: The same, while what it has counted is still to be added up.
        self._drains: Predecessor | None = None
        self._successor: Successor | None = None
        self._has_handed_over = False
        self._manager: str | None = None
        super().__init__(application)

    @property
    def is_changing(self) -> bool:
        """Whether something new rises beside what serves."""
        return super().is_changing or self._successor is not None or self._predecessor is not None

    def start(self) -> None:
        """Open every socket that this process was not given, then as gunicorn does.

        Raises:
            ConfigurationError: an address cannot be listened on, or systemd passes one that is not configured.
        """
        generation, predecessor = self.application.generation, self._predecessor
        configuration, path = generation.configuration, generation.path
        if predecessor is None:
            given: Sequence[int] = [descriptor for descriptor, _ in self._passed]
            self.activated = frozenset(endpoints_of(self._passed, configuration, path))
        else:
            given, self.activated = predecessor.sockets, predecessor.activated
            require_named(self.activated, configuration, path)
            # The other one's is in force until this master is.
            self.cfg.set("pidfile", f"{self.application.pid_file(configuration.state)}.next")
        self.listen_on(adopt(given, self.cfg, self.log))
        super().start()

    def in_charge(self) -> None:
        """The service is this master's, unless it has yet to be given."""
        if self._predecessor is None:
            super().in_charge()

    def manage_workers(self) -> None:
        """As every arbiter; or first take over."""
        if self._predecessor is not None:
            self._take_over(self._predecessor)
            return
        if self._drains is not None and self._drains.has_ended:
            self._drains = None
            self.figures_owed = True
        super().manage_workers()
        if self._successor is not None:
            self._watch_successor(self._successor)

    def wait_for_signals(self, timeout: float | None = 1.0) -> list[int]:
        """As gunicorn's, but what another master says is heard sooner."""
        speaks = self._successor is not None or self._predecessor is not None
        return super().wait_for_signals(_LISTEN_EVERY if speaks else timeout)

    def reap_workers(self) -> None:
        """Take note of children that have ended."""
        if self._successor is not None:
            self._successor.reaped()
        super().reap_workers()

    def forked(self, worker: RoleWorker) -> None:
        """In the child: what masters say to each other is not its own."""
        super().forked(worker)
        for other in (self._predecessor, self._successor):
            if other is not None:
                other.let_go()

    def stop(self, graceful: bool = True) -> None:
        """End every worker, and whoever was to take over."""
        successor, self._successor = self._successor, None
        if self._predecessor is not None or self._has_handed_over:
            # They are another master's too: nothing is to be removed.
            close_others(self.LISTENERS, ())
            self.listen_on([])
        elif successor is not None:
            successor.end(time.monotonic())
        super().stop(graceful)
        if successor is not None and not self._has_handed_over:
            successor.end_and_wait()

    # --- a new program ------------------------------------------------------------------------------

    def handle_usr2(self) -> None:
        """Start the program anew, which is to take over; if that cannot be, everything stays as it was."""
        if self.is_changing:
            self._upgrade_refused("a reload or another upgrade is under way; ask again when it has ended")
            return
        if os.getpid() == 1:
            self._upgrade_refused("process 1 cannot be replaced: its container would end; roll out another image")
            return
        service_manager.tell_reloading("upgrading")
        configuration = self.application.generation.configuration
        words, environment = program()
        _LOG.info("an upgrade begins: %s", " ".join(words))
        try:
            self._successor = start_successor(
                words,
                environment,
                state=configuration.state,
                sockets=[listener.fileno() for listener in self.LISTENERS],
                activated=sorted(self.activated),
                until=time.monotonic() + configuration.operations.upgrade_timeout,
                kill_after=self.cfg.graceful_timeout + 5.0,
            )
        except GatewayError as error:
            self._upgrade_refused(f"{error}")

    def _watch_successor(self, successor: Successor) -> None:
        stage = successor.look(time.monotonic())
        if stage is Stage.SERVES:
            self._manager = service_manager.hand_to(successor.pid)
            successor.give()
        elif stage is Stage.TAKEN:
            self._has_handed_over = True
            metrics.RELOADS.labels("taken").inc()
            _LOG.info("upgrade done: version %s serves (pid %d), and this one drains", successor.version, successor.pid)
            if self.reload_wanted:
                # Asked for while it loaded: it may have read the file before that was changed.
                os.kill(successor.pid, signal.SIGHUP)
            raise StopIteration
        elif stage is Stage.FAILED:
            self._successor = None
            # What its processes have counted.
            self.figures_owed = True
            service_manager.speak_to(self._manager)
            self._upgrade_refused(successor.cause)

    def _upgrade_refused(self, cause: str) -> None:
        self.refused(cause, what="upgrade")
        UpgradeOutcome("refused", os.getpid(), __version__, cause).write(self.application.generation.configuration)

    def _take_over(self, predecessor: Predecessor) -> None:
        """Fork; when all serve, ask for the service; when it is given, be the master."""
        rising = self.present()
        roles = self.application.roles
        if not self.worker_age:
            for _ in roles:
                self.spawn_worker()
        elif len(rising) < len(roles):
            cause = "one of its processes has ended before it served; the lines above say why"
            predecessor.cannot(cause)
            raise HaltServer(cause, 1)
        elif all(worker.has_served for worker in rising) and predecessor.gives(__version__):
            self._take_charge(predecessor)

    def _take_charge(self, predecessor: Predecessor) -> None:
        configuration = self.application.generation.configuration
        final = self.application.pid_file(configuration.state)
        pidfile: Any = self.pidfile
        Path(pidfile.fname).replace(final)
        pidfile.fname = str(final)
        predecessor.taken()
        self._predecessor, self._drains = None, predecessor
        super().in_charge()
        service_manager.tell_ready(f"serving; upgraded to version {__version__}")
        UpgradeOutcome("taken", os.getpid(), __version__, f"version {__version__} serves").write(configuration)
        _LOG.info("this is the master now (pid %d); the one before drains", os.getpid())
