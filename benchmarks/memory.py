"""2 GB down and 2 GB up past a slow peer, and what the worker keeps of it: ``python -m benchmarks.memory``.

The slow side reads in bursts with rests between them, at a rate far below what the other side could send: whatever the
gateway does not hold back piles up in it. Resident memory must move by less than 32 MB.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import gateway
from benchmarks.client import Client
from benchmarks.gateway import Gateway
from benchmarks.machine import LOAD_CORE, BenchmarkError
from benchmarks.material import Material

_OCTETS = 2 * 10**9
#: The slow side's pace: so much at once, then a rest.
_BURST = 8 * 2**20
_REST = 0.03
#: Megabytes.
PROMISE = 32
_USER = "user0001"
_BLOCK = bytes(2**20)


def _slowly(receive: Callable[[int], bytes], octets: int) -> None:
    """Read ``octets`` in bursts."""
    in_burst = 0
    while octets > 0:
        piece = receive(min(octets, 262_144))
        if not piece:
            raise BenchmarkError(f"the transfer ended {octets} octets early")
        octets -= len(piece)
        in_burst += len(piece)
        if in_burst >= _BURST:
            in_burst = 0
            time.sleep(_REST)


class SlowBackend:
    """Gives as fast as it is taken from; takes slowly. One connection at a time in each of a few threads."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        for _ in range(8):
            threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connected, _ = self._listener.accept()
            with connected:
                try:
                    while self._answer(connected):
                        pass
                except OSError:
                    continue

    def _answer(self, connected: socket.socket) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connected.recv(65_536)
            if not piece:
                return False
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        if head.startswith(b"POST"):
            _slowly(connected.recv, _OCTETS - len(body))
            connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return True
        large = head.startswith(b"GET /large")
        length = _OCTETS if large else 2
        connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        if not large:
            connected.sendall(b"ok")
            return True
        for start in range(0, _OCTETS, len(_BLOCK)):
            connected.sendall(_BLOCK[: min(len(_BLOCK), _OCTETS - start)])
        return True


class _Watch:
    """Samples the worker's resident memory while the context is open."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.samples: list[int] = [self._resident()]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _resident(self) -> int:
        statm = Path(f"/proc/{self._pid}/statm").read_text().split()
        return int(statm[1]) * os.sysconf("SC_PAGESIZE")

    def _sample(self) -> None:
        while not self._over.wait(0.05):
            self.samples.append(self._resident())

    @property
    def moved(self) -> int:
        """Octets between the lowest and the highest sample."""
        return max(self.samples) - min(self.samples)


def _download(running: Gateway) -> None:
    with Client(running.target, running.material, running.clients[_USER], timeout=60) as client:
        client.send_head("GET", "/large", running.headers(_USER))
        status, head = client.answer_head()
        if status != 200:
            raise BenchmarkError(f"status {status}")
        _slowly(client.receive, _OCTETS - len(head.partition(b"\r\n\r\n")[2]))


def _upload(running: Gateway) -> None:
    with Client(running.target, running.material, running.clients[_USER], timeout=60) as client:
        client.send_head("POST", "/large", {**running.headers(_USER), "Content-Length": str(_OCTETS)})
        for start in range(0, _OCTETS, len(_BLOCK)):
            client.send(_BLOCK[: min(len(_BLOCK), _OCTETS - start)])
        status, _ = client.answer_head()
        if status != 200:
            raise BenchmarkError(f"status {status}")


def _run(build: Path) -> dict[str, float]:
    material = Material(build / "material")
    backend = SlowBackend()
    users = {_USER: material.client(_USER)}
    found: dict[str, float] = {}
    with gateway.running("gateway", build / "gateway", material, backend.port, users) as running:
        (worker,) = running.workers
        for name, transfer in (("download", _download), ("upload", _upload)):
            began = time.monotonic()
            with _Watch(worker) as watch:
                transfer(running)
            seconds = time.monotonic() - began
            found[name] = round(watch.moved / 2**20, 1)
            print(
                f"{name} of {_OCTETS / 1e9:g} GB in {seconds:.1f} s: worker {watch.samples[0] / 2**20:.1f} MB before, "
                f"moved by {watch.moved / 2**20:.1f} MB"
            )
    return found


def moved_megabytes() -> dict[str, float]:
    """Print every figure; returns by how many megabytes the worker's resident memory moved, by direction.

    Raises:
        BenchmarkError, OSError: a transfer did not end as it should.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        with tempfile.TemporaryDirectory(prefix="mtls-bench-") as build:
            return _run(Path(build))
    finally:
        os.sched_setaffinity(0, before)


def main() -> int:
    """Print the figures; the last line is JSON. Exit status 1 when the promise is not kept."""
    try:
        found = moved_megabytes()
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks.memory: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"memory_moved_mb": found}))
    return 0 if max(found.values()) < PROMISE else 1


if __name__ == "__main__":
    sys.exit(main())
