"""The judge of rules and dashboard judges: it would find what is wrong with them."""

from __future__ import annotations

import pytest

from tests.deploy.promql import breaches


@pytest.mark.parametrize(
    "expression",
    [
        'up{job="mtls-gateway"} == 0',
        "sum by (instance, status) (rate(mtls_gateway_requests_total[5m]))",
        "histogram_quantile(0.9, sum by (le) (rate(mtls_gateway_request_seconds_bucket[5m])))",
    ],
)
def test_what_is_there_may_be_asked_for(expression: str) -> None:
    assert breaches(expression) == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("rate(mtls_gateway_request_total[5m])", "there is no metric mtls_gateway_request_total"),
        ("mtls_gateway_requests", "there is no metric mtls_gateway_requests"),
        ('mtls_gateway_requests_total{code="500"}', "mtls_gateway_requests_total has no label code"),
        ("sum by (reason) (mtls_gateway_requests_total)", "no metric of the expression has a label reason"),
        ("sum by (le) (mtls_gateway_request_seconds_sum)", "no metric of the expression has a label le"),
        ("vector(1) > 0", "it asks for no metric"),
    ],
)
def test_what_is_not_there_is_named(expression: str, said: str) -> None:
    assert said in breaches(expression)
