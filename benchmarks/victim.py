"""One user whose certificate is about to be revoked, seen at a live request, a download and a WebSocket."""

from __future__ import annotations

import base64
import contextlib
import os
import threading
import time
from collections.abc import Callable

from benchmarks.client import Client
from benchmarks.gateway import Gateway
from benchmarks.machine import BenchmarkError

#: Seconds between two requests of the live keep-alive connection: the resolution of that figure.
_EVERY = 0.01


class Victim:
    """Three connections, each watched by a thread; ``ended`` says when each of them noticed (monotonic seconds)."""

    def __init__(self, gateway: Gateway, user: str) -> None:
        self._gateway = gateway
        self._user = user
        self._headers = gateway.headers(user)
        self.ended: dict[str, float] = {}
        #: How the live request was refused: its status, or that the connection was cut.
        self.refusal = ""
        self._ready = threading.Barrier(4)
        self._threads = [
            threading.Thread(target=self._watch, args=(name, watch), daemon=True)
            for name, watch in (
                ("request refused", self._ask),
                ("download cut", self._download),
                ("WebSocket cut", self._socket),
            )
        ]

    def start(self) -> None:
        """Returns when all three are under way.

        Raises:
            BenchmarkError: they are not.
        """
        for thread in self._threads:
            thread.start()
        try:
            self._ready.wait(20)
        except threading.BrokenBarrierError:
            raise BenchmarkError(f"the connections of {self._user} did not get under way") from None

    def join(self, seconds: float) -> None:
        """Wait until all three have ended.

        Raises:
            BenchmarkError: they have not: what was revoked goes on.
        """
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if len(self.ended) != len(self._threads):
            raise BenchmarkError(f"{self._user}: {seconds} s after its revocation only {sorted(self.ended)} had ended")

    def _watch(self, name: str, watch: Callable[[Client], None]) -> None:
        try:
            with Client(self._gateway.target, self._gateway.material, self._gateway.clients[self._user]) as client:
                watch(client)
        except BaseException:
            self._ready.abort()
            raise
        self.ended[name] = time.monotonic()

    def _ask(self, client: Client) -> None:
        if client.get("/page", self._headers) != 200:
            raise BenchmarkError(f"{self._user} may not even begin")
        self._ready.wait()
        while True:
            try:
                status = client.get("/page", self._headers)
            except OSError:
                self.refusal = "connection cut"
                return
            if status != 200:
                self.refusal = f"status {status}"
                return
            time.sleep(_EVERY)

    def _download(self, client: Client) -> None:
        client.send_head("GET", "/stream", self._headers)
        self._until_cut(client, 200)

    def _socket(self, client: Client) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        client.send_head("GET", "/socket", {**self._headers, **upgrade, "Sec-WebSocket-Key": key})
        self._until_cut(client, 101)

    def _until_cut(self, client: Client, wanted: int) -> None:
        status, _ = client.answer_head()
        if status != wanted:
            raise BenchmarkError(f"status {status} in place of {wanted}")
        self._ready.wait()
        with contextlib.suppress(OSError):
            while client.receive():
                pass
