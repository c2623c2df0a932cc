"""What is counted on the way arrives in the metrics as if it had been observed one by one."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from mtls_gateway import metrics
from mtls_gateway.wire.tally import _BOUNDS, Tally
from tests.wire.conftest import Counter


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=st.lists(st.one_of(st.sampled_from((0.0, *_BOUNDS)), st.floats(0, 100)), max_size=20))
def test_durations_are_added_as_observe_would(seconds: list[float]) -> None:
    registry = CollectorRegistry()
    observed = Histogram("h", "h", ["route"], registry=registry, buckets=_BOUNDS)
    grown, tally = Counter(), Tally()
    for each in seconds:
        observed.labels("tally").observe(each)
        tally.answered("public", "tally", 200, each)
    tally.add_up()
    tally.add_up()
    for sample in next(iter(registry.collect())).samples if seconds else ():
        if not sample.name.endswith("_created"):
            name = sample.name.replace("h_", "request_seconds_", 1)
            assert abs(grown(name, **sample.labels) - sample.value) < 1e-6, sample


def test_its_buckets_are_the_histograms() -> None:
    assert (*_BOUNDS, float("inf")) == tuple(metrics.REQUEST_SECONDS._upper_bounds)


def test_requests_and_octets_are_added_once(grown: Counter) -> None:
    tally = Tally()
    for _ in range(3):
        tally.answered("public", "legacy", 200, 0.1)
    tally.answered("certificate", "portal", 404, 0.1)
    tally.octets_up, tally.octets_down = 5, 7
    tally.shook_hands("public", "full")
    for _ in range(2):
        tally.add_up()
    assert grown("requests_total", site="public", route="legacy", status="200") == 3
    assert grown("requests_total", site="certificate", route="portal", status="404") == 1
    assert grown("handshakes_total", site="public", outcome="full") == 1
    assert grown("octets_total", direction="up") == 5
    assert grown("octets_total", direction="down") == 7
