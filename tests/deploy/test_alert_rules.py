"""Alerts ask only for metrics that exist, and each leads to a runbook entry that does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from mtls_gateway.app.clerk import ClerkWorker
from mtls_gateway.app.gateway import GatewayWorker
from mtls_gateway.app.portal import PortalWorker
from mtls_gateway.model import CertificateState, Code, Method
from tests.deploy.alerts import PROMETHEUS, ROOT, RULES, Alert, alerts
from tests.deploy.promql import breaches, declared, selectors

ALERTS = alerts()
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))

#: Values that a label can have, where the code has a list of them.
VALUES = {
    "verdict": {code.value for code in Code} | {"admitted", "no_session"},
    "role": {GatewayWorker.role, PortalWorker.role, ClerkWorker.role},
    "cause": {"asked", "hung", "died"},
    "check": {"database", "revocation", "state", "backends"},
    "method": {method.value for method in Method} | {"confirmation"},
}
STATES = {
    "mtls_gateway_certificates": {state.value for state in CertificateState},
    "mtls_gateway_users_locked": {"suspended", "stopped"},
}


def by_name(alert: Alert) -> str:
    return alert.name


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_an_alert_asks_for_what_is_there(alert: Alert) -> None:
    assert breaches(alert.expression) == []


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_an_alert_compares_labels_with_values_that_they_can_have(alert: Alert) -> None:
    for name, matchers in selectors(alert.expression):
        for label, (how, value) in matchers.items():
            values = STATES.get(name) if label == "state" else VALUES.get(label)
            if values is not None:
                pattern = value if "~" in how else re.escape(value)
                assert any(re.fullmatch(pattern, one) for one in values), f"{name}{{{label}{how}{value}}}"


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_an_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(alert: Alert) -> None:
    assert alert.severity in ("critical", "warning")
    assert len(alert.annotations["summary"]) > 20
    assert alert.annotations["runbook"] == f"docs/runbook.md#{alert.name.lower()}"


def test_every_alert_has_one_runbook_entry_and_every_entry_an_alert() -> None:
    headings = re.findall(r"^### (MtlsGateway\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert sorted(headings) == sorted(alert.name for alert in ALERTS)


def test_every_alert_is_seen_to_fire_and_to_be_silent() -> None:
    tested = set()
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            silent, firing = test["promql_expr_test"]
            assert silent["exp_samples"] == [] and firing["exp_samples"], test["name"]
            assert f'alertname="{test["name"]}"' in silent["expr"] and silent["expr"] == firing["expr"]
            tested.add(test["name"])
    assert tested == {alert.name for alert in ALERTS}


@pytest.mark.needs("promtool")
def test_the_rules_are_prometheus_own_and_do_what_they_say(tmp_path: Path) -> None:
    for words in (
        ["check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES)],
        ["check", "config", str(PROMETHEUS / "prometheus.yml")],
        ["test", "rules", *map(str, TESTS)],
    ):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_is_declared_is_counted_somewhere() -> None:
    """``metrics`` is the list of what can be asked for: a name that nobody sets would never alert anybody."""
    code = "".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "mtls_gateway").rglob("*.py") if file.name != "metrics.py"
    )
    assert [name for name in declared() if not re.search(rf"\bmetrics\.{name}\b", code)] == []
