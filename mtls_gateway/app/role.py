"""What every worker process does, whatever its role: heart-beat, signals, a loop that ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar, cast

import uvloop
from gunicorn.workers.base import Worker
from setproctitle import setproctitle

from mtls_gateway import metrics
from mtls_gateway.app.listening import address_of

if TYPE_CHECKING:
    from mtls_gateway.app.application import GatewayApplication
    from mtls_gateway.app.generation import Generation

_LOG = logging.getLogger(__name__)
#: Seconds between heart-beats.
_BEAT = 1.0


class RoleWorker(Worker):
    """A forked process with one role; subclasses say what it serves."""

    role: ClassVar[str]
    #: The generation that it belongs to, as the master counts them.
    number = 0
    #: Whether the master has seen it serve.
    was_seen_serving = False

    @property
    def generation(self) -> Generation:
        """What this process was started with, for life."""
        return cast("GatewayApplication", self.app).generation

    @property
    def has_served(self) -> bool:
        """Whether it has begun to serve, as the master sees it: the first heartbeat sets a time since the boot."""
        last: float = self.tmp.last_update()
        return last <= time.monotonic()

    def take(self, *wanted: str) -> list[socket.socket]:
        """The master's sockets that listen on ``wanted``; this process lets go of all others."""
        taken = []
        for listener in cast("list[Any]", self.sockets):
            if address_of(listener.sock) in wanted:
                taken.append(listener.sock)
            else:
                listener.close()
        return taken

    def serving(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Serve while the context is open; leaving it drains."""
        raise NotImplementedError

    def run(self) -> None:
        """Gunicorn's main loop of a worker."""
        setproctitle(f"mtls-gateway: {self.role}")
        # The master's; whoever sends them to all processes means no harm.
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        logging.getLogger().setLevel(logging.INFO)
        uvloop.run(self._live())

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGQUIT, os._exit, 0)
        if not self.alive:
            # gunicorn's own handler has heard it before ours was there.
            stop.set()
        loop.set_exception_handler(_log_exception)
        starting = asyncio.ensure_future(self._leave_with_the_master())
        async with self.serving():
            starting.cancel()
            # What is there now stays; only what requests make is looked through.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            self.log.info("%s is serving (pid %s)", self.role, self.pid)
            metrics.WORKERS.labels(self.role).set(1)
            while not stop.is_set():
                self.notify()
                if os.getppid() != self.ppid:
                    _LOG.error("the master has gone; %s stops", self.role)
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _BEAT)
            self.log.info("%s is draining (pid %s)", self.role, self.pid)
            metrics.WORKERS.labels(self.role).set(0)
            beating = asyncio.ensure_future(self._beat())
        beating.cancel()

    async def _leave_with_the_master(self) -> None:
        """While it starts, for as long as that takes: without a master nobody would end it."""
        # The kernel tells nobody: it has to be asked.
        while os.getppid() == self.ppid:  # noqa: ASYNC110
            await asyncio.sleep(_BEAT)
        _LOG.error("the master has gone; %s does not begin", self.role)
        os._exit(1)

    async def _beat(self) -> None:
        """Drain under the master's eye: a worker that drains is not one that hangs."""
        while True:
            self.notify()
            await asyncio.sleep(_BEAT)


def _log_exception(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    _LOG.error(
        "an internal error in a callback: %s",
        context.get("message"),
        exc_info=error if isinstance(error, BaseException) else None,
    )


@contextlib.asynccontextmanager
async def background(*tasks: asyncio.Task[None]) -> AsyncIterator[None]:
    """Run ``tasks`` while the context is open; one that ends early ends the process: it would be missed."""
    for task in tasks:
        task.add_done_callback(_fatal)
    try:
        yield
    finally:
        for task in tasks:
            task.remove_done_callback(_fatal)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _fatal(task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    _LOG.critical("a task that must run has ended; the process stops and is replaced", exc_info=task.exception())
    os._exit(1)
