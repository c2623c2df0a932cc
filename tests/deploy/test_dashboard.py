"""The dashboard is one that Grafana reads, and asks only for metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.alerts import ROOT, alerts
from tests.deploy.promql import breaches, series

FILE = ROOT / "deploy" / "grafana" / "dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Each with the title of its panel."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


#: Of an annotation; they are Prometheus's, not Grafana's, whose model leaves them out.
PROMETHEUS_OWN = {"step", "textFormat", "titleFormat"}


def test_grafanas_own_model_of_a_dashboard_reads_all_of_it() -> None:
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    lost = _missing(DASHBOARD, read, "")
    assert {path for path in lost if path.rpartition(".")[2] not in PROMETHEUS_OWN} == set()


def _missing(wanted: Any, found: Any, path: str) -> list[str]:
    """What one has and the other has not: keys that the model does not know are dropped by it."""
    match wanted:
        case dict():
            if not isinstance(found, dict):
                return [path]
            lost = [f"{path}.{key}" for key in wanted if key not in found and wanted[key] is not None]
            return lost + [
                one for key in wanted if key in found for one in _missing(wanted[key], found[key], f"{path}.{key}")
            ]
        case list():
            if not isinstance(found, list) or len(found) != len(wanted):
                return [path]
            pairs = enumerate(zip(wanted, found, strict=True))
            return [one for place, (a, b) in pairs for one in _missing(a, b, f"{path}[{place}]")]
    return [] if wanted == found else [path]


def test_every_expression_asks_for_what_is_there() -> None:
    for title, expression in expressions():
        plain = expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
        assert "$" not in plain, title
        assert breaches(plain) == [], title


def test_every_metric_is_on_the_dashboard() -> None:
    asked = " ".join(expression for _, expression in expressions())
    wanted = {name for name in series() if name.startswith("mtls_gateway_") and not name.endswith(("_sum", "_count"))}
    # The seconds left are for those who look by hand; the panel reckons them from nextUpdate, which needs no clerk.
    wanted.remove("mtls_gateway_crl_seconds_left")
    assert sorted(name for name in wanted if not re.search(rf"\b{name}\b", asked)) == []


def test_panels_have_titles_units_and_a_word_on_what_they_show_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in panels()]
    assert len(titles) == len(set(titles))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert len(panel["description"]) > 10, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def test_alerts_that_a_panel_names_exist() -> None:
    known = {alert.name for alert in alerts()}
    named = set(re.findall(r"MtlsGateway\w+", FILE.read_text(encoding="utf-8")))
    assert named - known == set()
