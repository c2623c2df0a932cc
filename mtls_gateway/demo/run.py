"""Start the bank and the gateway as processes of their own, wait until both answer, and end them again.

Nothing is left running, however this ends: by Ctrl-C, by SIGTERM, by an error at start.
"""

from __future__ import annotations

import http.client
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

from mtls_gateway.app.application import GatewayApplication
from mtls_gateway.clock import SystemClock
from mtls_gateway.demo import guide
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.issuance import issue_here
from mtls_gateway.demo.material import Material, Ports, make_material
from mtls_gateway.errors import GatewayError

#: Seconds: until a process that was started must answer, and until one that was told to end must be gone.
START: Final = 60.0
END: Final = 40.0

_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(GatewayError):
    """The demo cannot be started; says why, and which file has the rest."""


class Running(NamedTuple):
    """A demo that answers."""

    material: Material
    ports: Ports
    bank: subprocess.Popen[bytes]
    gateway: subprocess.Popen[bytes]


def run_demo(directory: Path, port: int, *, fresh: bool = False) -> None:
    """Start it, print what a person needs, then ``ready``; end it on Ctrl-C or SIGTERM.

    Args:
        directory: where the material is made, or kept from an earlier run.
        port: of 127.0.0.1, for both hosts.
        fresh: make the material anew, whatever is there.

    Raises:
        DemoError: it cannot be started; says why.
    """
    if port_is_taken(port):
        raise DemoError(f"port {port} is in use; give another, as in: make demo PORT={port + 1}")
    others = free_ports(2)
    ports = Ports(gateway=port, operations=others[0], bank=others[1])
    try:
        with _ended_by_signals(), started(directory, ports, fresh=fresh) as running:
            print(guide.whole(running.material, ports))
            print("ready", flush=True)
            status = _until_it_ends(running)
            raise DemoError(f"the gateway ended by itself, with status {status}; see {running.material.log('gateway')}")
    except KeyboardInterrupt:
        print("ended", file=sys.stderr)


def check_demo() -> int:
    """The same on free ports below a temporary directory, walked through; returns how many cases failed."""
    from mtls_gateway.demo.report import Report
    from mtls_gateway.demo.walk import walk

    gateway, operations, bank = free_ports(3)
    ports = Ports(gateway=gateway, operations=operations, bank=bank)
    report = Report()
    directory = Path(tempfile.mkdtemp(prefix="mtls-gateway-demo-"))
    sessions: list[int] = []
    try:
        with _ended_by_signals(), report.guarded("the demo starts, is walked through and ends"):
            with started(directory, ports, fresh=True) as running:
                sessions += [running.bank.pid, running.gateway.pid]
                walk(running, report)
            report.expect("afterwards nothing is left running", [], left_running(sessions))
        if report.failed:
            print(_tail(directory), file=sys.stderr)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(report.table())
    return report.failed


def _until_it_ends(running: Running) -> int:
    """Wait for the gateway's end, and return its status; after an upgrade another master is the gateway."""
    status = running.gateway.wait()
    before = running.gateway.pid
    while (master := _master_of(running)) not in (None, before):
        before = master
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(master)
            try:
                select.select([descriptor], [], [])
            finally:
                os.close(descriptor)
    return status


def _master_of(running: Running) -> int | None:
    """Whom the pid file names, where it is one of those that were started here."""
    with suppress(OSError, ValueError):
        master = int(GatewayApplication.pid_file(running.material.directory / "state").read_text("ascii"))
        return master if os.getsid(master) == running.gateway.pid else None
    return None


@contextmanager
def started(directory: Path, ports: Ports, *, fresh: bool) -> Iterator[Running]:
    """Material, bank and gateway; both processes have ended when the block has."""
    material = make_material(directory, ports, fresh=fresh)
    issue_here(material, SystemClock())
    with ExitStack() as stack:
        bank = stack.enter_context(
            process(
                material.log("bank"),
                ["-m", "mtls_gateway.demo.bank", "--port", str(ports.bank), "--accounts", str(material.accounts)],
            )
        )
        wait_until_it_answers("the bank", bank, ports.bank, "/login", material.log("bank"))
        gateway = stack.enter_context(
            process(material.log("gateway"), ["-m", "mtls_gateway", "--config", str(material.configuration), "serve"])
        )
        wait_until_it_answers("the gateway", gateway, ports.operations, "/readyz", material.log("gateway"))
        yield Running(material, ports, bank, gateway)


@contextmanager
def process(log: Path, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process in a group of its own, so that Ctrl-C reaches only the demo and the demo ends the rest."""
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 - this Python and words of this file
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        end(child)


def end(process: subprocess.Popen[bytes]) -> None:
    """Tell the process to end; what of its group is still there after ``END`` seconds is killed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END)
        except subprocess.TimeoutExpired:
            print(f"process {process.pid} did not end within {END:g} s and is killed", file=sys.stderr)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # A killed process that is not our child is dead a moment later, not at once.
    until = time.monotonic() + 5.0
    while left_running([process.pid]) and time.monotonic() < until:
        time.sleep(0.01)


def wait_until_it_answers(what: str, process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    """Poll ``path`` at ``port`` until it answers 200.

    Raises:
        DemoError: ``what`` has ended, or is not ready within ``START`` seconds; says what its ``log`` has.
    """
    until = time.monotonic() + START
    last = "no answer"
    while time.monotonic() < until:
        if process.poll() is not None:
            raise DemoError(f"{what} ended at once with status {process.returncode}: {_last_line(log)} (see {log})")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
            if status == 200:
                return
            last = f"status {status}"
        except OSError as error:
            last = str(error)
        except http.client.HTTPException as error:
            last = repr(error)
        finally:
            connection.close()
        time.sleep(0.05)
    raise DemoError(f"{what} was not ready within {START:g} s: {last} (see {log})")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _tail(directory: Path) -> str:
    parts = []
    for log in sorted(directory.glob("*.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
        parts.append("\n".join([f"--- the end of {log.name}", *lines]))
    return "\n".join(parts)


def port_is_taken(port: int) -> bool:
    """Whether 127.0.0.1 has a listener there, or the port may not be used."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def left_running(sessions: Collection[int]) -> list[str]:
    """Processes of these sessions (``setsid``), whatever they call themselves; dead ones do not count."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        # proc(5): behind the name stand state, parent, process group, session.
        if int(words[3]) in sessions and words[0] not in "ZX":
            found.append(f"{entry.name} {command.replace(bytes(1), b' ').decode(errors='replace').strip()}")
    return found


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: by an exception that every ``finally`` sees.

    Ctrl-C itself is named too: what a shell starts in the background is born with SIGINT ignored.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
