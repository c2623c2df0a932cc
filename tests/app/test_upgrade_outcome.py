"""Whoever asks for an upgrade signals a master and nothing else, and is told where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mtls_gateway.app.upgrade_outcome import UpgradeOutcome, ask_for_upgrade
from mtls_gateway.errors import StateError
from tests.app.test_listening import configuration_for


@pytest.mark.parametrize("content", [None, "", "nonsense", "999999999"])
def test_without_a_master_nothing_is_signalled(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "run").mkdir()
    if content is not None:
        (tmp_path / "run" / "master.pid").write_text(content)
    with pytest.raises(StateError, match=r"run/master\.pid names no running master; start it with: mtls-gateway serve"):
        ask_for_upgrade(configuration_for(tmp_path, "127.0.0.1:1", "127.0.0.1:2"))


def test_a_process_that_has_the_number_of_a_dead_master_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "run" / "master.pid").write_text(str(other.pid))
        with pytest.raises(StateError, match="names no running master"):
            ask_for_upgrade(configuration_for(tmp_path, "127.0.0.1:1", "127.0.0.1:2"))
        other.communicate(b"\n", timeout=20)
        assert other.returncode == 0
    finally:
        other.kill()
        other.wait()


def test_what_cannot_be_written_keeps_nobody_from_serving(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # There is no folder for it.
    configuration = configuration_for(tmp_path, "127.0.0.1:1", "127.0.0.1:2")
    UpgradeOutcome("refused", 1, "0.1", "why").write(configuration)
    file = configuration.state / "run" / "upgrade.json"
    assert not file.exists()
    assert f"{file}: No such file or directory" in caplog.text
