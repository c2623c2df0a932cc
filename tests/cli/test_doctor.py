from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Ran


@pytest.fixture
def backend(home: Path) -> Iterator[socket.socket]:
    """The configuration's backend accepts connections."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        file = home / "gateway.toml"
        file.write_text(file.read_text().replace(":8080", f":{listening.getsockname()[1]}"))
        yield listening


def _of(ran: Ran) -> dict[str, tuple[str, str]]:
    return {row["check"]: (row["health"], row["found"]) for row in ran.json}


def test_a_machine_that_is_well_has_nothing_bad(backend: socket.socket, acme: Command) -> None:
    ran = acme("--json", "doctor")
    found = _of(ran)
    assert ran.status == 0, ran.out
    assert {health for health, _ in found.values()} <= {"good", "warning"}
    assert found["configuration"][0] == "good"
    assert found["database"] == ("good", "answers: 2 users, 3 lines in the audit log")
    assert found["process"][0] == "warning"
    assert "of 127" not in found["disk"][1]
    assert any(check.startswith("backend http://127.0.0.1:") for check in found)


def test_a_backend_that_is_away_is_bad(acme: Command) -> None:
    ran = acme("--json", "doctor")
    assert ran.status == 1
    assert _of(ran)["backend http://127.0.0.1:8080"] == ("bad", "cannot be reached: Connection refused")


def test_whatever_check_config_finds_is_bad(backend: socket.socket, acme: Command, home: Path) -> None:
    (home / "ca" / "issuing.crl.pem").write_text("nonsense")
    ran = acme("--json", "doctor")
    assert ran.status == 1
    assert any("issuing.crl.pem" in row["found"] for row in ran.json if row["health"] == "bad")


def test_a_configuration_that_cannot_be_read_is_all_that_is_said(command: Command, home: Path) -> None:
    (home / "gateway.toml").write_text("nonsense")
    ran = command("--json", "doctor")
    assert ran.status == 1
    assert [row["check"] for row in ran.json] == ["configuration"]


def test_secrets_that_others_may_read_are_bad(backend: socket.socket, acme: Command, home: Path) -> None:
    (home / "state" / "instance.secret").chmod(0o644)
    found = acme("--json", "doctor").json
    said = [row["found"] for row in found if row["health"] == "bad"]
    assert any("instance.secret" in one and "chmod 0600" in one for one in said)


def test_a_master_that_has_died_is_bad(backend: socket.socket, acme: Command, home: Path) -> None:
    run = home / "state" / "run"
    run.mkdir()
    (run / "master.pid").write_text("4194305")  # above every process ID there can be
    assert _of(acme("--json", "doctor"))["process"][0] == "bad"


def test_for_people_it_is_a_table(backend: socket.socket, acme: Command) -> None:
    lines = acme("doctor").out.splitlines()
    assert lines[0].split() == ["check", "health", "found"]
