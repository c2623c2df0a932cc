from __future__ import annotations

import pytest

from benchmarks.payday import Assumptions, Costs, simulate

#: So short that whoever waits there does not notice.
NOTHING = 1e-9


def test_one_queue_waits_as_long_as_queueing_theory_says() -> None:
    # Two visits to one portal of 0.5 s each in the mean, arrivals of 0.7 of what it can do: a network of queues with
    # one station (Jackson), where each visit takes 1 / (rate of service - rate of visits).
    costs = Costs(worker=NOTHING, portal=1.0, turn=NOTHING, note=0.0, bank=NOTHING)
    assumptions = Assumptions(busiest_hour=1.0, peak=1.0)
    users = int(0.7 * 3600)
    found = simulate(users, 1, costs, assumptions)
    assert found.portals == pytest.approx(0.7, abs=0.001)
    # The time in an M/M/1 queue is exponential; the sum of two visits has its median at 1.678 means of one.
    assert found.p50 == pytest.approx(1.678 / (2.0 - 2 * 0.7), rel=0.2)


def test_the_same_seed_gives_the_same_figures_and_more_machines_never_wait_longer() -> None:
    one, again, two = (simulate(200_000, machines, Costs(), Assumptions()) for machines in (1, 1, 2))
    assert one == again
    assert two.p99 < one.p99 * 1.1
    assert two.turn == pytest.approx(one.turn, rel=0.1)


def test_who_is_asked_for_more_than_there_is_time_for_does_not_keep_up() -> None:
    assert simulate(10_000, 1, Costs(), Assumptions()).keeps_up
    assert not simulate(2_000_000, 8, Costs(), Assumptions()).keeps_up
