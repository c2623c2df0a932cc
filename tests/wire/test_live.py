"""Open connections are found by what was admitted on them, and cut."""

from __future__ import annotations

import pytest

from mtls_gateway.wire.live import Live
from tests.wire.conftest import Counter


class Open:
    def __init__(self) -> None:
        self.causes: list[str] = []

    def cut(self, cause: str) -> None:
        self.causes.append(cause)


def test_every_connection_under_a_key_is_cut_and_no_other(grown: Counter) -> None:
    live = Live()
    first, second, other = Open(), Open(), Open()
    live.hold(first, ["certificate", "session"])
    live.hold(second, ["certificate"])
    live.hold(other, ["elsewhere"])
    assert live.cut("certificate", "revoked") == 2
    assert (first.causes, second.causes, other.causes) == (["revoked"], ["revoked"], [])
    assert live.cut("certificate", "revoked") == 0
    assert grown("cut_connections_total", cause="revoked") == 2


def test_released_connections_leave_nothing_behind() -> None:
    live = Live()
    one, two = Open(), Open()
    live.hold(one, ["a", "b"])
    live.hold(two, ["a"])
    live.release(one, ["a", "b"])
    assert live.keys() == ["a"]
    live.release(one, ["a", "never held"])
    live.release(two, ["a"])
    assert live.keys() == []
    assert live.cut("a", "x") == 0


def test_a_connection_that_ends_while_others_are_cut_does_no_harm() -> None:
    live = Live()
    two = Open()

    class Ending(Open):
        def cut(self, cause: str) -> None:
            live.release(self, ["a", "b"])
            live.release(two, ["a"])
            super().cut(cause)

    one = Ending()
    live.hold(one, ["a", "b"])
    live.hold(two, ["a"])
    assert live.cut("a", "x") == 2
    assert one.causes == two.causes == ["x"]
    assert live.keys() == []


def test_one_that_raises_does_not_spare_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Open):
        def cut(self, cause: str) -> None:
            raise ZeroDivisionError

    live = Live()
    others = [Open() for _ in range(5)]
    for connection in (*others[:2], Broken(), *others[2:]):
        live.hold(connection, ["a"])
    assert live.cut("a", "revoked") == 6
    assert [other.causes for other in others] == [["revoked"]] * 5
    assert "could not be cut" in caplog.text
