"""systemd opens the ports and passes them on: who connects while the gateway is not there waits (clause E.1)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from mtls_gateway.demo.cast import PUBLIC_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.material import Material, Ports
from mtls_gateway.demo.run import end, process, wait_until_it_answers
from tests.promises.whole_gateway import configure, eventually, prepared


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Material, Ports]:
    """Nothing of it runs; no test here needs the bank."""
    return prepared(tmp_path_factory.mktemp("activated"), {"timeouts": {"drain": 2.0}})


def serve(material: Material) -> list[str]:
    return [sys.executable, "-m", "mtls_gateway", "--config", str(material.configuration), "serve"]


def shows_its_page(material: Material, ports: Ports) -> bool:
    """Whether the public host answers; whoever comes too early waits for that."""
    answer = Browser(ports.gateway, material.certificates.server_ca, None).get(PUBLIC_HOST, "/")
    return answer.status == 200


@pytest.mark.needs("systemd-analyze")
def test_systemds_own_launcher_starts_it_with_the_first_customer_who_is_served(made: tuple[Material, Ports]) -> None:
    material, ports = made
    listen = ["-l", f"127.0.0.1:{ports.gateway}", "-l", f"127.0.0.1:{ports.operations}", "--fdname=https:operations"]
    passed = [word for name in ("PYTHONPATH", "VIRTUAL_ENV") if name in os.environ for word in ("-E", name)]
    log = material.log("activated")
    launcher = 'import os, sys; os.execvp("systemd-socket-activate", ["systemd-socket-activate", *sys.argv[1:]])'
    with process(log, ["-c", launcher, *listen, *passed, *serve(material)]) as running:
        assert eventually(lambda: "Listening on" in log.read_text(), 20.0), log.read_text()
        # Nobody runs yet: the customer's own handshake is what starts it.
        assert shows_its_page(material, ports)
        wait_until_it_answers("the gateway", running, ports.operations, "/readyz", log)
    assert "is still in use" not in log.read_text()


#: LISTEN_PID is the process's own: whoever execs keeps it.
LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "https"}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Holder:
    """systemd's part: holds the port, and starts the service with it as often as it is told to."""

    def __init__(self, material: Material, ports: Ports, log: IO[bytes]) -> None:
        self._listening = socket.create_server(("127.0.0.1", ports.gateway))
        self._log = log
        self._words = [sys.executable, "-c", LAUNCHER, str(self._listening.fileno()), *serve(material)]

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._words,
            pass_fds=(self._listening.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def close(self) -> None:
        self._listening.close()


@contextmanager
def holding(material: Material, ports: Ports, log: Path) -> Iterator[Holder]:
    with log.open("wb") as file:
        holder = Holder(material, ports, file)
        try:
            yield holder
        finally:
            holder.close()


def test_what_systemd_keeps_open_is_left_by_no_reload_and_taken_along_by_an_upgrade(
    made: tuple[Material, Ports],
) -> None:
    material, ports = made
    log = material.log("held")
    pid_file = material.directory / "state" / "run" / "master.pid"
    with holding(material, ports, log) as holder:
        running = holder.start()
        try:
            wait_until_it_answers("the gateway", running, ports.operations, "/readyz", log)
            assert shows_its_page(material, ports)
            before = material.configuration.read_text(encoding="utf-8")
            elsewhere = {"listen": ["127.0.0.1:0"]}
            configure(material.configuration, {"public": elsewhere, "certificate": elsewhere})
            os.kill(running.pid, signal.SIGHUP)
            refusal = f"public.listen: systemd passes a socket on 127.0.0.1:{ports.gateway}, where nothing listens"
            assert eventually(lambda: refusal in log.read_text(), 20.0), log.read_text()
            material.configuration.write_text(before, encoding="utf-8")
            os.kill(running.pid, signal.SIGUSR2)
            assert eventually(lambda: int(pid_file.read_text()) != running.pid, 40.0), log.read_text()
            assert eventually(lambda: running.poll() is not None, 20.0)
            assert shows_its_page(material, ports)
        finally:
            end(running)
        # Nobody is there any more, and who comes waits all the same.
        socket.create_connection(("127.0.0.1", ports.gateway)).close()
    assert "Traceback" not in log.read_text()


def test_a_port_that_the_configuration_does_not_name_is_no_start(made: tuple[Material, Ports]) -> None:
    material, ports = made
    log = material.log("stranger")
    (port,) = free_ports(1)
    with holding(material, Ports(port, ports.operations, ports.bank), log) as holder:
        refused = holder.start()
        try:
            assert refused.wait(60.0) == 2
        finally:
            end(refused)
    assert f"public.listen: systemd passes a socket on 127.0.0.1:{port} (https), where nothing" in log.read_text()
