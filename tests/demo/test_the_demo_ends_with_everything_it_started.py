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


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_ready_last_and_leaves_nothing_behind(tmp_path: Path, ending: signal.Signals) -> None:
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
        demo.send_signal(ending)
        assert demo.wait(60) == 0
    assert running_below(directory) == []
    for certificate in CERTIFICATES:
        assert re.search(rf"^ +{certificate.name} +{certificate.user_id} ", whole, re.MULTILINE)
    assert {user.user_id for user in USERS} <= set(re.findall(r"\b[a-z]+\d\d\b", whole))
    assert f"https://bank.localhost:{port}/" in whole
