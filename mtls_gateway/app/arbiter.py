"""One master process for every role, on gunicorn's arbiter.

gunicorn forks, watches heartbeats and replaces what dies or hangs. What is added here: workers have roles, and
whichever role is short is forked next; and on SIGHUP a new generation is raised *beside* the old one::

    loaded, validated whole ──▶ forked ──▶ every process serves ──▶ the old one drains
            │                      └─ one of them ends, or does not serve in time ──┐
            └─ cannot be used ──────────────────────────────────────────────────────┴─▶ everything stays as it was

Until the new generation serves, the old one does, on the same sockets. How a whole new program
takes over is ``master``'s.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from gunicorn.arbiter import Arbiter
from prometheus_client import multiprocess

from mtls_gateway import __version__, metrics
from mtls_gateway.app import service_manager
from mtls_gateway.app.activation import require_named
from mtls_gateway.app.application import GatewayApplication
from mtls_gateway.app.compiled import is_compiled
from mtls_gateway.app.crash_loop import CrashLoop
from mtls_gateway.app.figures import fold_ended
from mtls_gateway.app.generation import Generation
from mtls_gateway.app.heartbeat import beat_in_memory
from mtls_gateway.app.listening import close_and_remove, listen
from mtls_gateway.app.ownership import give_state_to_user
from mtls_gateway.app.role import RoleWorker
from mtls_gateway.app.signer import check_signer_aside
from mtls_gateway.config import read_configuration
from mtls_gateway.errors import ConfigurationError, GatewayError

_LOG = logging.getLogger(__name__)
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
#: Seconds that a new generation has to serve; to start takes one or two.
_RISING_SECONDS = 60.0


class _Before(NamedTuple):
    """What serves while a new generation rises, and what is gone back to if it does not."""

    number: int
    generation: Generation
    settings: Any
    listeners: list[Any]
    #: Monotonic seconds until which the new one must serve.
    until: float


class RoleArbiter(Arbiter):
    """Forks the roles of a :class:`Generation`."""

    def __init__(self, application: GatewayApplication) -> None:
        #: What systemd keeps open: addresses.
        self.activated: frozenset[str] = frozenset()
        self._numbers = itertools.count()
        #: Of the generation whose processes are forked now.
        self._number = next(self._numbers)
        self._before: _Before | None = None
        self.reload_wanted = False
        #: Processes of older generations that were told to end.
        self._dismissed: set[int] = set()
        #: Processes that were sent a signal.
        self._asked: set[int] = set()
        self.figures_owed = False
        self._crash_loop = CrashLoop()
        beat_in_memory()
        super().__init__(application)

    @property
    def application(self) -> GatewayApplication:
        """What the settings, roles and generation come from."""
        return cast("GatewayApplication", self.app)

    @property
    def is_changing(self) -> bool:
        """Whether something new rises beside what serves."""
        return self._before is not None

    def start(self) -> None:
        """Open what is not open yet, then as gunicorn does.

        Raises:
            ConfigurationError: an address cannot be listened on.
        """
        generation = self.application.generation
        present = self.LISTENERS
        self.listen_on(listen(self.cfg, self.log, generation.configuration, generation.path, present))
        close_others(present, self.LISTENERS)
        super().start()
        # Whoever compares a counter with what it was before has to have seen it before it first grows.
        for outcome in ("taken", "refused"):
            metrics.RELOADS.labels(outcome)
        for role in self.application.roles:
            for cause in ("asked", "hung", "died"):
                metrics.WORKER_EXITS.labels(role.role, cause)
        self.in_charge()

    def in_charge(self) -> None:
        """The service is this master's."""
        report_generation(self.application.generation)

    def listen_on(self, listeners: list[Any]) -> None:
        """Have the next processes born with ``listeners``."""
        # gunicorn declares it for the class and sets it on the instance.
        self.LISTENERS = listeners  # type: ignore[misc]

    # --- forking ----------------------------------------------------------------------------------

    def manage_workers(self) -> None:
        """Fork what is short; see a new generation through; tell to end what is of an older one, or too many."""
        service_manager.tell_alive()
        if self.figures_owed:
            self._see_to_figures()
        for pid in self._dismissed - self.WORKERS.keys():
            self._dismissed.discard(pid)
        if self._before is not None:
            self._watch(self._before)
        for worker in self._workers:
            if not worker.was_seen_serving and worker.has_served:
                worker.was_seen_serving = True
                self._crash_loop.serves(worker.role)
        if self._before is None:
            for role, short in self._short().items():
                if self._crash_loop.may_fork(role.role, time.monotonic()):
                    for _ in range(short):
                        self._fork(role)
            self._dismiss(self._surplus())
            if self.reload_wanted and not self.is_changing:
                self.reload_wanted = False
                self.reload()

    def spawn_worker(self) -> Any:
        """Fork the role that is short; what gunicorn calls."""
        roles = self.application.roles
        return self._fork(next((role for role, short in self._short().items() if short > 0), roles[0]))

    def _fork(self, role: type[RoleWorker]) -> Any:
        self.worker_class = role
        pid = super().spawn_worker()
        cast("RoleWorker", self.WORKERS[pid]).number = self._number
        return pid

    def forked(self, worker: RoleWorker) -> None:
        """In the child: end when told to, also while it starts; and hold nothing open for the generation before."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._before is not None:
            close_others(self._before.listeners, worker.sockets)

    def stop(self, graceful: bool = True) -> None:
        """End every worker."""
        service_manager.tell_stopping()
        close_and_remove(self.LISTENERS)
        self.listen_on([])
        super().stop(graceful)

    def kill_worker(self, pid: int, sig: int) -> None:
        """Send a signal to a worker; what ends by it has not died of itself."""
        if sig in _ENDING:
            self._asked.add(pid)
        super().kill_worker(pid, sig)

    def reap_workers(self) -> None:
        """Take note of workers that have ended."""
        service_manager.tell_alive()
        super().reap_workers()

    def note_exit(self, worker: RoleWorker) -> None:
        """Count a worker that has ended, and see to its figures."""
        pid = int(worker.pid)
        cause = "hung" if worker.aborted else "asked" if pid in self._asked else "died"
        self._asked.discard(pid)
        metrics.WORKER_EXITS.labels(worker.role, cause).inc()
        served = worker.was_seen_serving or cause == "asked"
        pause = self._crash_loop.ended(worker.role, served=served, now=time.monotonic())
        if pause:
            metrics.FORK_PAUSES.labels(worker.role).inc()
            _LOG.error("%s ended before it served; it is started again in %g s", worker.role, pause)
        # At once: its connections are gone. What it has counted is seen to when nobody reads.
        forget: Callable[[object], None] = multiprocess.mark_process_dead
        try:
            forget(pid)
        except OSError as error:
            _LOG.error("figures of process %d stay, though it has ended: %s", pid, error)
        self.figures_owed = True

    def _see_to_figures(self) -> None:
        try:
            self.figures_owed = not fold_ended(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        except OSError as error:
            # The disk cannot be written. The master must live all the same; at the next end it is tried again.
            _LOG.error("figures of processes that have ended are left as they are: %s", error)
            self.figures_owed = False

    @property
    def _workers(self) -> list[RoleWorker]:
        return [cast("RoleWorker", worker) for worker in self.WORKERS.values()]

    def present(self) -> list[RoleWorker]:
        """The processes of the generation that is the newest."""
        return [worker for worker in self._workers if worker.number == self._number]

    def _short(self) -> Counter[type[RoleWorker]]:
        """How many of each role are missing from the present generation; fewer than none: too many."""
        roles = self.application.roles
        wanted = Counter(roles)
        # SIGTTIN and SIGTTOU: more of the first role, the gateway, and fewer again.
        wanted[roles[0]] += max(0, self.num_workers - len(roles))
        wanted.subtract(type(worker) for worker in self.present())
        return wanted

    def _surplus(self) -> Iterator[RoleWorker]:
        yield from (worker for worker in self._workers if worker.number != self._number)
        for role, short in self._short().items():
            oldest_first = sorted(self.present(), key=lambda worker: int(worker.age))
            yield from [worker for worker in oldest_first if type(worker) is role][: max(0, -short)]

    def _dismiss(self, workers: Iterator[RoleWorker]) -> None:
        for worker in list(workers):
            pid = int(worker.pid)
            if pid not in self._dismissed:
                if worker.has_served:
                    # Before that it may not have heard, and is told again.
                    self._dismissed.add(pid)
                self.kill_worker(pid, signal.SIGTERM)

    # --- a new generation ---------------------------------------------------------------------------

    def reload(self) -> None:
        """Raise a new generation; if that cannot be, everything stays as it was and the log says why."""
        if self.is_changing:
            _LOG.warning("a reload or an upgrade is under way; another reload begins when it has ended")
            self.reload_wanted = True
            return
        service_manager.tell_reloading()
        path = self.application.generation.path
        try:
            if read_configuration(path).state != self.application.generation.configuration.state:
                raise ConfigurationError(str(path), "state", "cannot be changed by a reload; restart the gateway")
            generation = Generation.load(path)
            require_named(self.activated, generation.configuration, path)
            check_signer_aside(generation.configuration, path)
            give_state_to_user(generation.configuration, path)
            self._raise(generation)
        except GatewayError as error:
            self.refused(f"{error}")
        except Exception as error:
            _LOG.exception("a reload failed")
            self.refused(f"an internal error: {error}")

    def _raise(self, generation: Generation) -> None:
        until = time.monotonic() + _RISING_SECONDS
        before = _Before(self._number, self.application.generation, self.app.cfg, self.LISTENERS, until)
        try:
            self.application.take_up(generation)
            listeners = listen(self.app.cfg, self.log, generation.configuration, generation.path, before.listeners)
        except Exception:
            self.application.generation, self.app.cfg = before.generation, before.settings
            raise
        self._before = before
        self._number = next(self._numbers)
        self.setup(self.app)
        self.listen_on(listeners)
        for _ in self.application.roles:
            self.spawn_worker()

    def _watch(self, before: _Before) -> None:
        rising = self.present()
        if len(rising) < len(self.application.roles):
            self._fall_back(before, "one of its processes has ended; the lines above say why")
        elif all(worker.has_served for worker in rising):
            self._before = None
            close_others(before.listeners, self.LISTENERS)
            metrics.RELOADS.labels("taken").inc()
            report_generation(self.application.generation)
            service_manager.tell_ready("serving; the last reload was taken")
            _LOG.info("reload done: the new generation serves, and the old one drains")
        elif time.monotonic() >= before.until:
            self._fall_back(before, f"it did not serve within {_RISING_SECONDS:g} s")

    def _fall_back(self, before: _Before, cause: str) -> None:
        failed = self.present()
        close_others(self.LISTENERS, before.listeners)
        self._before = None
        self._number = before.number
        self.application.generation, self.app.cfg = before.generation, before.settings
        self.setup(self.app)
        self.listen_on(before.listeners)
        self._dismiss(iter(failed))
        self.refused(f"the new generation has failed: {cause}")

    def refused(self, cause: str, *, what: str = "reload") -> None:
        """Say why nothing has changed."""
        with contextlib.suppress(Exception):
            metrics.RELOADS.labels("refused").inc()
        service_manager.tell_ready(f"serving; the last {what} was refused: {cause}")
        _LOG.error("%s refused, everything stays as it was: %s", what, cause)


def close_others(listeners: Sequence[Any], kept: Sequence[Any]) -> None:
    """Close, of ``listeners``, all but those that are ``kept``."""
    for listener in listeners:
        if listener not in kept:
            listener.close()


def report_generation(generation: Generation) -> None:
    """Say what is in force: version, when it was loaded, when the hosts' certificates end."""
    metrics.BUILD.labels(__version__, "yes" if is_compiled() else "no").set(1)
    metrics.GENERATION_LOADED.set(generation.clock.now())
    for site, ends in generation.hosts_end.items():
        metrics.HOST_NOT_AFTER.labels(site.value).set(ends)
