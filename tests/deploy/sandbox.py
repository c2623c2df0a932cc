"""Run a command under the system call filter of a systemd unit, as systemd would: ``sandbox.py UNIT WORD…``.

``SystemCallFilter=``, ``MemoryDenyWriteExecute=`` and ``RestrictAddressFamilies=`` become seccomp filters by
libseccomp, which systemd uses too; names of groups are systemd's own (``systemd-analyze syscall-filter``).
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | 1  # EPERM
EQUAL, MASKED_EQUAL = 4, 7
WRITE, EXECUTE, SHM_EXECUTE = 0x2, 0x4, 0o100000
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}


class Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def settings(unit: str, name: str) -> list[str]:
    """The values of a setting of a unit, in their order."""
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


@functools.cache
def members(group: str) -> frozenset[str]:
    """The system calls of one of systemd's groups."""
    command = ["systemd-analyze", "syscall-filter", "--no-pager", group]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    return expanded(line.strip() for line in listed if line.strip() and not line.strip().startswith("#"))


def expanded(names: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for name in names:
        found |= members(name) if name.startswith("@") else {name}
    return frozenset(found)


def allowed(unit: str) -> frozenset[str]:
    """What the unit's lines come to: each adds, or with ``~`` takes away."""
    calls: set[str] = set()
    for line in settings(unit, "SystemCallFilter"):
        named = expanded(line.removeprefix("~").split())
        calls = calls - named if line.startswith("~") else calls | named
    return frozenset(calls)


class Filter:
    """One seccomp filter."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(otherwise))
        self._otherwise = otherwise

    def add(self, action: int, call: str, *comparisons: Comparison) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return  # Of another architecture.
        array = (Comparison * len(comparisons))(*comparisons)
        status = self._library.seccomp_rule_add_array(self._context, action, number, len(comparisons), array)
        assert status == 0, (call, status)

    def load(self) -> None:
        assert self._library.seccomp_load(self._context) == 0


def enter(unit: str, also: Iterable[str]) -> None:
    """Be filtered from now on; ``also`` is allowed besides what the unit allows."""
    conditions = Filter(ALLOW)
    if settings(unit, "MemoryDenyWriteExecute") == ["yes"]:
        both = WRITE | EXECUTE
        conditions.add(REFUSE, "mmap", Comparison(2, MASKED_EQUAL, both, both))
        for call in ("mprotect", "pkey_mprotect"):
            conditions.add(REFUSE, call, Comparison(2, MASKED_EQUAL, EXECUTE, EXECUTE))
        conditions.add(REFUSE, "shmat", Comparison(2, MASKED_EQUAL, SHM_EXECUTE, SHM_EXECUTE))
    families = {FAMILIES[name] for name in settings(unit, "RestrictAddressFamilies")[0].split()}
    for family in set(range(46)) - families:
        conditions.add(REFUSE, "socket", Comparison(0, EQUAL, family, 0))
    calls = Filter(REFUSE)
    for call in allowed(unit) | expanded(also):
        calls.add(ALLOW, call)
    conditions.load()
    calls.load()


def main() -> None:
    unit = Path(sys.argv[1]).read_text(encoding="utf-8")
    # The unit has a user of its own; here it may be root, who gives to that user what it makes.
    enter(unit, {"@chown", "seccomp", "prctl"} if os.geteuid() == 0 else {"seccomp", "prctl"})
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])


if __name__ == "__main__":
    main()
