from __future__ import annotations

from mtls_gateway.app.crash_loop import CrashLoop


def test_a_process_that_has_served_is_replaced_at_once_however_often_it_dies() -> None:
    loop = CrashLoop()
    for second in range(100):
        assert loop.ended("gateway", served=True, now=second) == 0.0
        assert loop.may_fork("gateway", second)


def test_the_pause_doubles_with_each_failure_to_start_up_to_half_a_minute() -> None:
    loop = CrashLoop()
    now, pauses = 0.0, []
    for _ in range(9):
        pauses.append(loop.ended("portal", served=False, now=now))
        assert not loop.may_fork("portal", now + pauses[-1] - 0.01)
        now += pauses[-1]
        assert loop.may_fork("portal", now)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_one_roles_pause_is_not_anothers() -> None:
    loop = CrashLoop()
    loop.ended("portal", served=False, now=0.0)
    assert loop.may_fork("gateway", 0.0)
    assert not loop.may_fork("portal", 0.0)


def test_one_that_serves_at_last_ends_the_loop() -> None:
    loop = CrashLoop()
    for now in range(5):
        loop.ended("clerk", served=False, now=now)
    loop.serves("clerk")
    assert loop.may_fork("clerk", 5.0)
    assert loop.ended("clerk", served=False, now=6.0) == 0.5
