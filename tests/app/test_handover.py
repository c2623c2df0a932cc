"""Two masters, seen from the old one: whatever the new one does instead of serving, the old one learns why."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from mtls_gateway.app.handover import SHARED, Stage, Successor, predecessor, start_successor
from mtls_gateway.errors import StateError
from tests.promises.whole_gateway import eventually

SERVES = """
from mtls_gateway.app.handover import predecessor
from pathlib import Path
import time
before = predecessor()
before.require_alike(Path("/state"))
while not before.gives("9.9"):
    time.sleep(0.01)
before.taken()
time.sleep(60)
"""
SAYS_NO = """
from mtls_gateway.app.handover import predecessor
predecessor().cannot("there is\\nno disk")
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


def started(program: str, *, until: float = 1_000.0, state: str = "/state") -> Successor:
    return start_successor(
        [sys.executable, "-c", program],
        {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        state=Path(state),
        sockets=[],
        activated=[],
        until=until,
        kill_after=5.0,
    )


def comes_to(successor: Successor, stage: Stage, now: float = 0.0) -> bool:
    return eventually(lambda: successor.look(now) is stage, 20.0)


def test_it_is_given_the_service_when_it_serves_and_not_before() -> None:
    successor = started(SERVES)
    try:
        assert comes_to(successor, Stage.SERVES)
        assert successor.version == "9.9"
        assert successor.look(0.0) is Stage.RISING
        successor.give()
        assert comes_to(successor, Stage.TAKEN)
    finally:
        successor.end_and_wait()


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (SAYS_NO, "there is no disk"),
        ("raise SystemExit(3)", "it ended with status 3 before it served; the lines above say why"),
        ("import os; os.kill(os.getpid(), 9)", "it ended by SIGKILL before it served; the lines above say why"),
    ],
)
def test_one_that_ends_has_failed_and_it_is_known_why(program: str, cause: str) -> None:
    successor = started(program)
    assert comes_to(successor, Stage.FAILED)
    assert successor.cause == cause


def test_one_that_takes_too_long_is_ended_and_then_killed() -> None:
    successor = started(STUBBORN, until=10.0)
    assert successor.look(9.0) is Stage.RISING
    assert successor.reaped() is None
    successor.look(10.0)
    assert comes_to(successor, Stage.FAILED, now=15.0)
    assert successor.cause == "it did not serve within operations.upgrade_timeout"


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(StateError, match=r"^/nowhere/mtls-gateway cannot be started: No such file"):
        start_successor(
            ["/nowhere/mtls-gateway"], {}, state=Path("/"), sockets=[], activated=[], until=1.0, kill_after=1.0
        )


def test_versions_that_do_not_share_what_both_use_do_not_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    words = f'"shared": {SHARED + 1}, "master": 1, "state": "/state", "sockets": [], "activated": [], "notify": null'
    monkeypatch.setenv("MTLS_GATEWAY_HANDOVER", f'{{{words}, "channel": {theirs.detach()}}}')
    before = predecessor()
    assert before is not None
    with pytest.raises(StateError, match="these two versions cannot run side by side; restart the gateway"):
        before.require_alike(Path("/state"))
    with pytest.raises(StateError, match="state cannot be changed by an upgrade"):
        before.require_alike(Path("/elsewhere"))
    before.let_go()
    ours.close()


def test_an_offer_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTLS_GATEWAY_HANDOVER", "{}")
    with pytest.raises(StateError, match="MTLS_GATEWAY_HANDOVER is nothing that can be taken over from"):
        predecessor()
    monkeypatch.delenv("MTLS_GATEWAY_HANDOVER")
    assert predecessor() is None
