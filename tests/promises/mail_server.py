"""A real SMTP server beside the processes of a test, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.mail.smtp_world import SmtpServer, smtp_server


class MailServer:
    """What arrived, and a gate that holds answers back."""

    def __init__(self) -> None:
        self.handler = SmtpServer()
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event
        self._ready = threading.Event()

    @property
    def port(self) -> int:
        return self.handler.port

    def arrived(self, kind: str = "") -> list[str]:
        """Message-IDs of the mails whose subject has ``kind``, as they arrived; not those to people of the demo."""
        mails = [mail for mail in list(self.handler.received) if str(mail["To"]).endswith("@x.example")]
        return [str(mail["Message-ID"]) for mail in mails if kind in str(mail["Subject"])]

    def hold(self) -> None:
        """From now on take mails, but do not say so."""
        self._loop.call_soon_threadsafe(self._hold)

    def _hold(self) -> None:
        self.handler.gate = asyncio.Event()

    def release(self) -> None:
        """Say so of all that were taken, and of those to come."""
        self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        gate, self.handler.gate = self.handler.gate, None
        if gate is not None:
            gate.set()

    def run(self) -> None:
        """The thread."""
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with smtp_server(self.handler):
            self._ready.set()
            await self._stop.wait()

    def started(self) -> None:
        """Wait until it listens."""
        assert self._ready.wait(10)

    def stop(self) -> None:
        """End the thread's loop."""
        self._loop.call_soon_threadsafe(self._stop.set)


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """Serve until the block ends."""
    server = MailServer()
    thread = threading.Thread(target=server.run)
    thread.start()
    server.started()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
