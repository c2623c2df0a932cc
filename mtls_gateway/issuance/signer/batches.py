"""Orders that come in while others are at the desk go to it together: they share the journal's waits for the disk."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from mtls_gateway.issuance.orders import IntendedCertificate
from mtls_gateway.issuance.signer.desk import Outcome

#: So many go together at most: the last of them should not wait for long.
_LARGEST = 64

Work = Callable[[Sequence[IntendedCertificate]], Sequence[Outcome]]
_Waiting = tuple[IntendedCertificate, "asyncio.Future[Outcome]"]


class Batches:
    """Gathers orders and hands them to ``work``, in the thread of ``executor``."""

    def __init__(self, work: Work, executor: Executor) -> None:
        self._work = work
        self._executor = executor
        self._waiting: deque[_Waiting] = deque()
        self._running: asyncio.Task[None] | None = None

    async def carry_out(self, order: IntendedCertificate) -> Outcome:
        """What has become of the order."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((order, outcome))
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._run())
        return await outcome

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._next()
            orders = [order for order, _ in batch]
            try:
                outcomes = await loop.run_in_executor(self._executor, self._work, orders)
            except BaseException as error:
                for _, waiting in batch:
                    if not waiting.done():
                        waiting.set_exception(error)
                raise
            for (_, waiting), outcome in zip(batch, outcomes, strict=True):
                if not waiting.done():  # whoever asked may be gone
                    waiting.set_result(outcome)

    def _next(self) -> list[_Waiting]:
        """The next ones; a second order of a serial waits until the first is written down."""
        batch: list[_Waiting] = []
        later: list[_Waiting] = []
        serials: set[int] = set()
        while self._waiting and len(batch) < _LARGEST:
            one = self._waiting.popleft()
            serial = one[0].serial
            (later if serial in serials else batch).append(one)
            serials.add(serial)
        self._waiting.extendleft(reversed(later))
        return batch
