"""One master takes over from another: what the new one is given, and what the two say to each other (clause E.1).

::

    old                                              new
     │ SIGUSR2: starts the program anew ───────────▶ │ validates everything, opens sockets, forks
     │                                               │ every process serves
     │ ◀─────────────────────────────────── serves ──│
     │ tells systemd whose the service is now        │
     │ ── yours ───────────────────────────────────▶ │ writes the pid file, tells systemd that it is ready
     │ ◀───────────────────────────────────── mine ──│
     │ drains and ends

Whatever happens before *mine*, the new one says ``cannot`` and why, ends, or takes too long: the old one stays. So the
new program is a child, and not the old process begun anew: a process that has become another program cannot go back.
If the old one is killed, the new one takes over as soon as it serves.
"""

from __future__ import annotations

import enum
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mtls_gateway.app import service_manager
from mtls_gateway.errors import StateError

#: What two masters share while both run: this conversation, compiled CRLs, figures, the signer's and the portal's
#: protocols. A version that changes one of them counts up, and is not handed over to by an earlier one.
SHARED: Final = 1
_VARIABLE: Final = "MTLS_GATEWAY_HANDOVER"
_LARGEST: Final = 65_536


class Stage(enum.Enum):
    """How far the new program has come, as the old one sees it."""

    RISING = enum.auto()
    #: It asks for the service.
    SERVES = enum.auto()
    #: It has the service.
    TAKEN = enum.auto()
    #: It has ended.
    FAILED = enum.auto()


class Successor:
    """The new program, as the old master sees it."""

    def __init__(
        self, process: subprocess.Popen[bytes], channel: socket.socket, until: float, kill_after: float
    ) -> None:
        """``until``: monotonic seconds by which it must serve; ``kill_after``: seconds that it is given to end."""
        self._process = process
        self._channel = channel
        self._until = until
        self._kill_after = kill_after
        self._kill_at: float | None = None
        #: What it says of itself.
        self.version = ""
        #: Why it does not take over.
        self.cause = ""

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._process.pid

    def look(self, now: float) -> Stage:
        """Hear what it says, and end it where it takes too long; ``now`` is monotonic seconds. Never waits."""
        for said in _heard(self._channel):
            if said.get("word") == "serves" and self._kill_at is None:
                self.version = str(said.get("version"))
                return Stage.SERVES
            if said.get("word") == "mine":
                self._channel.close()
                return Stage.TAKEN
            if said.get("word") == "cannot":
                self.cause = self.cause or str(said.get("cause"))
        status = self.reaped()
        if status is not None:
            self.cause = self.cause or f"it ended {_printed(status)} before it served; the lines above say why"
            self._channel.close()
            return Stage.FAILED
        if self._kill_at is None and now >= self._until:
            self.cause = "it did not serve within operations.upgrade_timeout"
            self.end(now)
        elif self._kill_at is not None and now >= self._kill_at:
            self._process.kill()
        return Stage.RISING

    def reaped(self) -> int | None:
        """Its exit status, where it has ended; to be asked for before whoever reaps all children."""
        return self._process.poll()

    def give(self) -> None:
        """The service is its own."""
        _say(self._channel, word="yours")

    def end(self, now: float) -> None:
        """It shall not take over."""
        if self._kill_at is None:
            self._kill_at = now + self._kill_after
            self._process.terminate()

    def let_go(self) -> None:
        """In another process: the conversation is not its own."""
        self._channel.close()

    def end_and_wait(self) -> None:
        """As :meth:`end`, until it has gone."""
        self._channel.close()
        self._process.terminate()
        try:
            self._process.wait(self._kill_after)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Predecessor:
    """The old master, as the new one sees it."""

    def __init__(self, offer: Mapping[str, Any]) -> None:
        self.pid = int(offer["master"])
        #: What it listens on: file descriptors.
        self.sockets: tuple[int, ...] = tuple(offer["sockets"])
        #: Which of that systemd has passed: addresses.
        self.activated = frozenset[str](offer["activated"])
        self._state = Path(offer["state"])
        self._shared = offer["shared"]
        self._notify: str | None = offer["notify"]
        self._channel = socket.socket(fileno=int(offer["channel"]))
        self._channel.setblocking(False)
        self._channel.set_inheritable(True)
        self._has_said = False

    @property
    def has_gone(self) -> bool:
        """Whether it was killed: then nobody will say *yours*."""
        return os.getppid() != self.pid

    @property
    def has_ended(self) -> bool:
        """Whether no process, not even a dead one that nobody has asked for, has its number any more."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def require_alike(self, state: Path) -> None:
        """Both work in one state directory, and understand what the other leaves there.

        Raises:
            StateError: they do not; says what to do.
        """
        if state != self._state:
            raise StateError(f"state cannot be changed by an upgrade (it is {self._state}); restart the gateway")
        if self._shared != SHARED:
            raise StateError("these two versions cannot run side by side; restart the gateway")

    def let_go(self) -> None:
        """In another process: the conversation is not its own."""
        self._channel.close()

    def cannot(self, cause: str) -> None:
        """It goes on serving, and says why."""
        _say(self._channel, word="cannot", cause=" ".join(cause.split()))

    def gives(self, version: str) -> bool:
        """Ask for the service, as ``version`` of the program; whether it is ours."""
        if not self._has_said:
            self._has_said = True
            _say(self._channel, word="serves", version=version)
        return any(said.get("word") == "yours" for said in _heard(self._channel)) or self.has_gone

    def taken(self) -> None:
        """The service is ours: it may go."""
        service_manager.speak_to(self._notify)
        _say(self._channel, word="mine")
        self._channel.close()


def start_successor(
    words: Sequence[str],
    environment: Mapping[str, str],
    *,
    state: Path,
    sockets: Sequence[int],
    activated: Sequence[str],
    until: float,
    kill_after: float,
) -> Successor:
    """Start the program anew beside this process, and offer it what listens.

    Raises:
        StateError: it cannot even be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    offer = {
        "shared": SHARED,
        "master": os.getpid(),
        "state": str(state),
        "sockets": list(sockets),
        "activated": list(activated),
        "notify": environment.get(service_manager.ADDRESS),
        "channel": theirs.fileno(),
    }
    # Until the service is its own, systemd must hear nothing of it.
    told = {name: value for name, value in environment.items() if name != service_manager.ADDRESS}
    try:
        process = subprocess.Popen(  # noqa: S603  # the words that this process was started by
            words,
            env={**told, _VARIABLE: json.dumps(offer)},
            stdin=subprocess.DEVNULL,
            pass_fds=(*sockets, theirs.fileno()),
        )
    except OSError as error:
        ours.close()
        raise StateError(f"{words[0]} cannot be started: {error.strerror}") from error
    finally:
        theirs.close()
    return Successor(process, ours, until, kill_after)


def predecessor() -> Predecessor | None:
    """Whom this process is to take over from; None: it was started as any other program.

    Raises:
        StateError: what it is offered cannot be understood.
    """
    offered = os.environ.get(_VARIABLE)
    if offered is None:
        return None
    try:
        return Predecessor(json.loads(offered))
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise StateError(f"{_VARIABLE} is nothing that can be taken over from; restart the gateway") from error


def forget_offer() -> None:
    """What this process starts is to take over from nobody."""
    os.environ.pop(_VARIABLE, None)


def _say(channel: socket.socket, **said: str) -> None:
    # Who does not hear it has gone, and is seen to.
    with suppress(OSError):
        channel.send(json.dumps(said).encode()[:_LARGEST])


def _heard(channel: socket.socket) -> list[Mapping[str, Any]]:
    """The next word, where there is one."""
    try:
        octets = channel.recv(_LARGEST)
        said = json.loads(octets) if octets else None
    except (OSError, ValueError):
        return []
    return [said] if isinstance(said, dict) else []


def _printed(status: int) -> str:
    return f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
