"""The service manager is told what it understands, and one that is ill keeps nobody from work."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_gateway.app import service_manager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def test_a_status_stays_one_line_whatever_it_says(manager: socket.socket) -> None:
    service_manager.tell_ready("refused: a\nREADY=0")
    assert manager.recv(1_000) == b"READY=1\nSTATUS=refused: a READY=0"


def test_an_abstract_address_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(b"\0mtls-gateway-test")
        monkeypatch.setenv("NOTIFY_SOCKET", "@mtls-gateway-test")
        service_manager.tell_stopping()
        assert listening.recv(1_000).startswith(b"STOPPING=1\n")


def test_a_manager_that_reads_nothing_is_not_waited_for(manager: socket.socket) -> None:
    for _ in range(2_000):
        service_manager.tell_alive()
    service_manager.tell_ready("serving")
    assert manager.recv(1_000) == b"WATCHDOG=1"


def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service_manager.tell_alive()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    service_manager.tell_reloading()
    assert list(tmp_path.iterdir()) == []
