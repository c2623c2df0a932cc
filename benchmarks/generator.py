"""The load generator and the backend: compiled here, pinned to the load's core, their JSON read."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import LOAD_CORE, BenchmarkError, await_listener, free_port, pinned, process
from benchmarks.material import Held

_HERE = Path(__file__).resolve().parent
#: The backend ends by itself after so many seconds, whatever becomes of its parent.
_BACKEND_SECONDS = 3600

#: What a browser sends, beside the session cookie.
BROWSER_HEADERS = (
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Accept-Language: ja,en-US;q=0.9,en;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    'sec-ch-ua: "Chromium";v="138", "Google Chrome";v="138", "Not)A;Brand";v="8"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Windows"',
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Upgrade-Insecure-Requests: 1",
)


class NothingDone(BenchmarkError):
    """Nothing went wrong, but nothing was completed in the window either: the machine had no time for it."""


@dataclass(frozen=True)
class Target:
    """Where the load goes, and whose processor time is taken beside it."""

    name: str
    port: int
    server_name: str
    #: Process IDs of all that does the proxy's job.
    watched: tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """One measured window. Times are seconds, latencies milliseconds."""

    count: int
    errors: int
    seconds: float
    rate: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    #: Processor seconds of the generator, the backend, and the proxy with all its processes.
    load_cpu: float
    backend_cpu: float
    proxy_cpu: float
    body_octets: int
    protocol: str
    cipher: str
    group: str

    @property
    def proxy_load(self) -> float:
        """How full the proxy's core was, 0 to 1."""
        return self.proxy_cpu / self.seconds

    @property
    def load_load(self) -> float:
        """How full the load's core was, 0 to 1."""
        return (self.load_cpu + self.backend_cpu) / self.seconds

    @property
    def per_core(self) -> float:
        """Completed per processor second of the proxy."""
        return self.count / self.proxy_cpu if self.proxy_cpu else 0.0

    @property
    def megabytes_per_core(self) -> float:
        """Megabytes of body per processor second of the proxy."""
        return self.body_octets / self.proxy_cpu / 1e6 if self.proxy_cpu else 0.0


class Generator:
    """Runs the compiled load generator against targets."""

    def __init__(self, program: Path, backend_pid: int) -> None:
        self._program = program
        self._backend_pid = backend_pid

    def measure(
        self,
        mode: str,
        target: Target,
        *,
        client: Held | None,
        seconds: float,
        connections: int = 32,
        warm: float = 0.5,
        headers: Sequence[str] = (),
        path: str = "/page",
        more: Sequence[str] = (),
    ) -> Reading:
        """One window.

        Raises:
            NothingDone: the window was too short on this machine.
            BenchmarkError: there were errors, so that the figure would be of something else.
        """
        backend_before = _processor_seconds(self._backend_pid)
        command = self.command(mode, target, client=client, connections=connections, headers=headers, path=path)
        command += ["--seconds", str(seconds), "--warm", str(warm), *more]
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        try:
            found = json.loads(done.stdout)
        except ValueError:
            raise BenchmarkError(f"{mode} against {target.name}: {done.stderr.strip() or done.returncode}") from None
        if not (found["errors"] or found["count"] or found["body_in"] or found["body_out"]):
            raise NothingDone(f"{mode} against {target.name}: nothing was completed in {seconds:g} s")
        if found["errors"]:
            raise BenchmarkError(
                f"{mode} against {target.name}: {found['errors']} errors in {found['count']}, "
                f"first: {found['first_error']!r}, statuses {found['statuses']}"
            )
        if not found["watched_cpu_seconds"]:
            raise BenchmarkError(f"{mode} against {target.name}: not one of its processes {target.watched} worked")
        whole = warm + found["seconds"]
        return Reading(
            count=found["count"],
            errors=found["errors"],
            seconds=found["seconds"],
            rate=found["rate"],
            p50_ms=found["p50_ms"],
            p90_ms=found["p90_ms"],
            p99_ms=found["p99_ms"],
            load_cpu=found["cpu_seconds"],
            backend_cpu=(_processor_seconds(self._backend_pid) - backend_before) * found["seconds"] / whole,
            proxy_cpu=found["watched_cpu_seconds"],
            body_octets=found["body_in"] + found["body_out"],
            protocol=found["protocol"],
            cipher=found["cipher"],
            group=found["group"],
        )

    def command(
        self,
        mode: str,
        target: Target,
        *,
        client: Held | None,
        connections: int,
        headers: Sequence[str] = (),
        path: str = "/page",
    ) -> list[str]:
        """The generator's command line for a target, without its bounds."""
        command = pinned(LOAD_CORE, self._program, mode, "--address", f"127.0.0.1:{target.port}")
        command += ["--server-name", target.server_name, "--connections", str(connections), "--path", path]
        if client is not None:
            command += ["--certificate", str(client.certificate_file), "--key", str(client.key_file)]
        for header in headers:
            command += ["--header", header]
        for pid in target.watched:
            command += ["--watch", str(pid)]
        return command


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _compile(build: Path, name: str, sources: Path, *libraries: str) -> Path:
    program = build / name
    newest = max(source.stat().st_mtime for source in sources.iterdir())
    if program.exists() and program.stat().st_mtime > newest:
        return program
    if shutil.which("gcc") is None:
        raise BenchmarkError("gcc is not there: apt-get install gcc libssl-dev")
    files = sorted(str(source) for source in sources.glob("*.c"))
    done = subprocess.run(
        ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), *files, *libraries],
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode:
        raise BenchmarkError(f"{name} does not compile (libssl-dev is needed): {done.stderr}")
    return program


def load_program(build: Path) -> Path:
    """The compiled load generator."""
    return _compile(build, "load", _HERE / "load", "-lssl", "-lcrypto")


@contextlib.contextmanager
def backend(build: Path) -> Iterator[tuple[int, int]]:
    """The backend's port and process ID while the context is open."""
    program = _compile(build, "backend", _HERE / "backend")
    port, log = free_port(), build / "backend.log"
    with process(pinned(LOAD_CORE, program, str(port), str(_BACKEND_SECONDS)), log) as child:
        await_listener(port, child, log)
        yield port, child.pid
