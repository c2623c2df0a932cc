"""The whole demo, started again by a tiny service manager whenever its master dies, as systemd would."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from mtls_gateway.app.rows import open_rows
from mtls_gateway.clock import SystemClock
from mtls_gateway.config import read_configuration
from mtls_gateway.demo import cast
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.material import Material, Ports, make_material
from mtls_gateway.demo.run import left_running, process, wait_until_it_answers
from mtls_gateway.store.opening import Store

T = TypeVar("T")
#: One that migrates: its users enrol by a code and the password.
COMPANY = "sato"
#: ``RestartSec=``, and how often the manager looks. Seconds.
_RESTART = 1.0
_LOOK_EVERY = 0.05
_SETTINGS = """
[lockout]
attempts_per_address = 1000000

[issuance]
organisation = "Demo Credit Cooperative"
finish_every = 1.0

[signer]
certificates_per_minute = 1000000

[[signer.issuers]]
name = "demo-issuing"
active = true
certificate = "ca/issuing.cert.pem"
chain = ["ca/root.cert.pem"]
key = { kind = "pem", file = "ca/issuing.key.pem", unencrypted = true }
crl_url = "http://pki.localhost/issuing.crl"
"""


class Service:
    """The gateway as a service: begun again for ever, what is left of the one before killed first."""

    def __init__(self, material: Material) -> None:
        self._words = [sys.executable, "-m", "mtls_gateway", "--config", str(material.configuration), "serve"]
        self._log = material.log("gateway").open("ab")
        self._stop = threading.Event()
        self._child = self._start()
        self._thread = threading.Thread(target=self._look_after)
        self._thread.start()
        self.restarts = 0

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._words,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _look_after(self) -> None:
        while not self._stop.wait(_LOOK_EVERY):
            if self._child.poll() is not None:
                self._kill_all()
                time.sleep(_RESTART)
                self.restarts += 1
                self._child = self._start()

    def _kill_all(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """The master of this moment."""
        return self._child

    def processes(self, role: str) -> list[int]:
        """Process IDs of ``gateway``, ``portal``, ``clerk``, ``signer`` or ``master``."""
        if role == "master":
            return [self._child.pid]
        lines = [line.split(" ", 1) for line in left_running([self._child.pid])]
        return [int(pid) for pid, title in lines if title.startswith(f"mtls-gateway: {role}")]

    def end(self) -> None:
        """For good."""
        self._stop.set()
        self._thread.join(30)
        self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(60)
        self._kill_all()
        self._child.wait()
        self._log.close()


class Bank:
    """Everything that runs, and what is needed to be a customer or an operator."""

    def __init__(self, material: Material, ports: Ports, service: Service) -> None:
        self.material = material
        self.ports = ports
        self.service = service

    def rows(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Do something with the rows, as an operator's command does."""
        configuration = read_configuration(self.material.configuration)

        async def do() -> T:
            store = await open_rows(configuration, SystemClock())
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(do())

    @property
    def log(self) -> str:
        """What the gateway has said."""
        return self.material.log("gateway").read_text(encoding="utf-8", errors="replace")

    def wait_until_ready(self) -> None:
        """Until all of it answers."""
        wait_until_it_answers(
            "the gateway", self.service.child, self.ports.operations, "/readyz", self.material.log("gateway")
        )


def password_of(user_id: str) -> str:
    """Of whoever the backend knows besides the cast."""
    return f"demo-{user_id}"


@contextmanager
def running(folder: Path, strangers: list[str]) -> Iterator[Bank]:
    """Backend and gateway; the backend knows the strangers too, the gateway does not yet."""
    gateway, operations, bank = free_ports(3)
    ports = Ports(gateway=gateway, operations=operations, bank=bank)
    material = make_material(folder, ports, fresh=True)
    accounts = {user.user_id: user.password for user in cast.USERS} | {name: password_of(name) for name in strangers}
    material.accounts.write_text(json.dumps(accounts), encoding="utf-8")
    with material.configuration.open("a", encoding="utf-8") as file:
        file.write(_SETTINGS)
    with ExitStack() as stack:
        words = ["-m", "mtls_gateway.demo.bank", "--port", str(bank), "--accounts", str(material.accounts)]
        backend = stack.enter_context(process(material.log("bank"), words))
        wait_until_it_answers("the bank", backend, bank, "/login", material.log("bank"))
        service = Service(material)
        stack.callback(service.end)
        running = Bank(material, ports, service)
        running.wait_until_ready()
        yield running
