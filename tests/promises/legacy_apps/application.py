"""A legacy application as a test sees it: where it is, who may sign in, and the settings that fit it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LegacyApplication:
    """A running application and the ``[legacy]`` table of a configuration in front of it: settings only."""

    name: str
    #: ``http://127.0.0.1:PORT``.
    base: str
    legacy: Mapping[str, Any]
    user: str
    password: str
    #: A page that only a signed-in user sees, and a word of it that names the user.
    protected: str
    greeting: str


@contextmanager
def serving(command: Sequence[str], announces: str, environment: Mapping[str, str], folder: Path) -> Iterator[int]:
    """Start a server that picks its own port, wait until it says which, and end it afterwards.

    ``announces`` is a regular expression over a line of its output; its first group is the port.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    said: list[str] = []
    port: list[int] = []
    settled = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            found = re.search(announces, line)
            if found and not port:
                port.append(int(found[1]))
                settled.set()
        settled.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        settled.wait(60)
        if not port:
            raise RuntimeError(f"{command[0]} did not start:\n{''.join(said[-30:])}")
        yield port[0]
    finally:
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
        except ProcessLookupError:
            process.wait()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        listener.join(20)
        if process.stdout is not None:
            process.stdout.close()
