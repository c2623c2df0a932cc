"""``make demo`` as a person runs it: it says ``ready``, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mtls_gateway.demo.cast import CERTIFICATES, USERS
from mtls_gateway.demo.free_ports import free_ports
from tests.promises.whole_gateway import eventually


def running_below(directory: Path) -> list[str]:
    """Processes that have a file of the demo open, whatever they call themselves."""
    found = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith(f"{directory}/"):
            found.append(target)
    return found


def upgrade(directory: Path) -> None:
    """Until the master that the demo started has ended and another one serves."""
    words = [sys.executable, "-m", "mtls_gateway", "--config", str(directory / "gateway.toml"), "upgrade"]
    subprocess.run(words, check=True, timeout=60, stdout=subprocess.DEVNULL)
    assert eventually(lambda: "Shutting down: Master" in (directory / "gateway.log").read_text(encoding="utf-8"), 60)


@pytest.mark.parametrize(("ending", "upgraded"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_it_says_ready_last_and_leaves_nothing_behind(tmp_path: Path, ending: signal.Signals, upgraded: bool) -> None:
    directory = tmp_path / "demo"
    port = free_ports(1)[0]
    words = [sys.executable, "-m", "mtls_gateway.demo", "--directory", str(directory), "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        said = []
        for line in demo.stdout:
            said.append(line)
            if line == "ready\n":
                break
        whole = "".join(said)
        assert said[-1:] == ["ready\n"], whole + demo.stderr.read()
        assert len(running_below(directory)) > 4
        if upgraded:
            upgrade(directory)
        demo.send_signal(ending)
        assert demo.wait(60) == 0
    assert running_below(directory) == []
    for certificate in CERTIFICATES:
        assert re.search(rf"^ +{certificate.name} +{certificate.user_id} ", whole, re.MULTILINE)
    assert {user.user_id for user in USERS} <= set(re.findall(r"\b[a-z]+\d\d\b", whole))
    assert f"https://bank.localhost:{port}/" in whole
