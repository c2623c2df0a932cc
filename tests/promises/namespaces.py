"""Machines of the tests' own: network namespaces, each with a loopback of its own, on wires that can be cut."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000


class Machine:
    """One namespace."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def before(self) -> list[str]:
        """What a command is started with to run there."""
        return ["ip", "netns", "exec", self.name]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.before, *command], capture_output=True, text=True, check=False, timeout=60)

    def do(self, work: Callable[[], T]) -> T:
        """Do ``work`` in a thread of this process that has this machine's network."""
        done: list[T] = []
        failed: list[BaseException] = []

        def inside() -> None:
            descriptor = os.open(Path("/run/netns") / self.name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # Of the calling thread only; os.setns() came with Python 3.12.
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
                done.append(work())
            except BaseException as error:  # Raised again where it was asked for.
                failed.append(error)
            finally:
                os.close(descriptor)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return done[0]


class Wire:
    """A cable from a machine to a hub."""

    def __init__(self, machine: Machine, port: str) -> None:
        self._machine = machine
        self._port = port

    def cut(self) -> None:
        _ip("-n", self._machine.name, "link", "set", self._port, "down")

    def mend(self) -> None:
        _ip("-n", self._machine.name, "link", "set", self._port, "up")


class Lab:
    """Machines and hubs; a hub is a machine with a bridge, which has address 1 of its network."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._made: list[Machine] = []
        self._networks: dict[Machine, str] = {}

    def machine(self, name: str) -> Machine:
        made = Machine(f"{self._prefix}-{name}")
        _ip("netns", "add", made.name)
        self._made.append(made)
        _ip("-n", made.name, "link", "set", "lo", "up")
        return made

    def hub(self, name: str, network: str) -> Machine:
        """``network``: the first three numbers of its addresses."""
        made = self.machine(name)
        self._networks[made] = network
        _ip("-n", made.name, "link", "add", "hub", "type", "bridge")
        _ip("-n", made.name, "addr", "add", f"{network}.1/24", "dev", "hub")
        _ip("-n", made.name, "link", "set", "hub", "up")
        return made

    def wire(self, machine: Machine, hub: Machine, number: int) -> Wire:
        """Connect them; the machine has address ``number`` there."""
        port, far = f"to{hub.name[-6:]}", f"p{number}"
        _ip("-n", machine.name, "link", "add", port, "type", "veth", "peer", "name", far, "netns", hub.name)
        _ip("-n", hub.name, "link", "set", far, "master", "hub", "up")
        _ip("-n", machine.name, "addr", "add", f"{self._networks[hub]}.{number}/24", "dev", port)
        _ip("-n", machine.name, "link", "set", port, "up")
        return Wire(machine, port)

    def clear(self) -> None:
        for machine in reversed(self._made):
            subprocess.run(["ip", "netns", "del", machine.name], check=False, capture_output=True)


@contextmanager
def lab() -> Iterator[Lab]:
    """All of it is gone when the block ends."""
    made = Lab(f"mg{os.getpid() % 100_000}")
    try:
        yield made
    finally:
        made.clear()


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
