"""Whatever happens, nothing is left running, and what cannot be started is said in one line."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mtls_gateway.demo import run
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.material import Material, Ports, make_material
from mtls_gateway.demo.run import DemoError, end, left_running, port_is_taken, run_demo

#: Starts a child in its own group's session, says so, and takes no notice of SIGTERM.
_STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("here", flush=True)
time.sleep(600)
"""


def test_a_process_that_will_not_end_is_killed_with_all_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "END", 0.2)
    process = subprocess.Popen([sys.executable, "-c", _STUBBORN], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    assert len(left_running([process.pid])) == 2
    end(process)
    process.stdout.close()
    assert left_running([process.pid]) == []


def test_a_port_in_use_is_named_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert port_is_taken(port)
        with pytest.raises(DemoError, match=f"port {port} is in use"):
            run_demo(tmp_path / "demo", port)
    assert not (tmp_path / "demo").exists()


def test_free_ports_are_different_ones() -> None:
    assert len(set(free_ports(5))) == 5


def test_a_gateway_that_does_not_start_is_said_so_and_its_bank_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "demo"
    ports = Ports(*free_ports(3))
    material = make_material(directory, ports, fresh=True)
    broken = material.configuration.read_text().replace("ca/root.cert.pem", "ca/missing.pem")

    def make_broken(*_: object, **__: object) -> Material:
        material.configuration.write_text(broken)
        return material

    monkeypatch.setattr(run, "make_material", make_broken)
    with (
        pytest.raises(DemoError, match=r"the gateway .*missing\.pem.*gateway\.log"),
        run.started(directory, ports, fresh=True),
    ):
        pass
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", ports.bank, timeout=5).request("GET", "/login")


def test_sigterm_ends_it_as_an_interruption_does() -> None:
    with pytest.raises(KeyboardInterrupt), run._ended_by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
