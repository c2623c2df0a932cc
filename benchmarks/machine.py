"""Cores, processes and what they use: the proxy has core 0 for itself, load and backend share core 1.

Two cores are what there is. So every figure also carries the processor seconds of each side, and where the load's core
was the one that was full, the rate per processor second of the proxy is what can be compared.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PROXY_CORE = 0
LOAD_CORE = 1
#: Seconds that a process is given to begin to listen, and to end.
_PATIENCE = 60.0


class BenchmarkError(Exception):
    """The measurement cannot be made; says why."""


def pinned(core: int, *arguments: str | Path) -> list[str]:
    """``arguments`` as a command that runs on one core."""
    return ["taskset", "--cpu-list", str(core), *map(str, arguments)]


@contextlib.contextmanager
def process(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` in a process group of its own while the context is open; SIGTERM, then SIGKILL, ends it."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_listener(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until ``port`` accepts connections.

    Raises:
        BenchmarkError: the process ended, or does not listen in time.
    """
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        if child.poll() is not None:
            break
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    raise BenchmarkError(f"nothing listens on port {port}; {log} ends with:\n{tail}")


def descendants(pid: int) -> list[int]:
    """``pid`` and every process below it."""
    found = [pid]
    for ancestor in found:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{ancestor}/task/{ancestor}/children").read_text()
            found.extend(int(child) for child in children.split())
    return found


def processor_seconds(pids: Sequence[int]) -> float:
    """What these processes have used so far; those that have ended count nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def await_rest(pid: int) -> None:
    """Wait until ``pid`` and all below it do next to nothing: what they do once after they began is not to be measured.

    Raises:
        BenchmarkError: they do not come to rest.
    """
    give_up = time.monotonic() + _PATIENCE
    quiet = 0
    while time.monotonic() < give_up:
        before = processor_seconds(descendants(pid))
        time.sleep(0.5)
        quiet = quiet + 1 if processor_seconds(descendants(pid)) - before <= 0.05 else 0
        if quiet == 2:
            return
    raise BenchmarkError(f"process {pid} and those below it do not come to rest")


def await_children(pid: int, count: int) -> list[int]:
    """``pid`` and every process below it, once there are so many below it.

    Raises:
        BenchmarkError: not in time.
    """
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        found = descendants(pid)
        if len(found) > count:
            return found
        time.sleep(0.02)
    raise BenchmarkError(f"process {pid} has not begun its {count} workers")


def anonymous(pids: Sequence[int]) -> int:
    """Octets of memory that are these processes' own: neither files nor shared."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1]) * 1024
    return total
