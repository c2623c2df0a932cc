"""The state table: an exchange goes forward, back only to connect or to be judged anew, and never out of its end."""

from __future__ import annotations

import pytest

from mtls_gateway.wire.phase import Phase

ALLOWED = {
    (Phase.ADMITTING, Phase.CONNECTING),
    (Phase.ADMITTING, Phase.DONE),
    (Phase.CONNECTING, Phase.WAITING),
    (Phase.CONNECTING, Phase.DONE),
    (Phase.WAITING, Phase.ANSWERING),
    (Phase.WAITING, Phase.TUNNEL),
    (Phase.WAITING, Phase.CONNECTING),
    (Phase.WAITING, Phase.DONE),
    (Phase.ADMITTING, Phase.RECALLED),
    (Phase.CONNECTING, Phase.RECALLED),
    (Phase.WAITING, Phase.RECALLED),
    (Phase.RECALLED, Phase.CONNECTING),
    (Phase.RECALLED, Phase.DONE),
    (Phase.ANSWERING, Phase.DONE),
    (Phase.TUNNEL, Phase.DONE),
}


@pytest.mark.parametrize("now", Phase)
@pytest.mark.parametrize("then", Phase)
def test_only_the_steps_of_the_table_are_possible(now: Phase, then: Phase) -> None:
    assert (then in now.followers) == ((now, then) in ALLOWED)
