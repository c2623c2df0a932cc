"""What a PromQL expression asks for, and what ``mtls_gateway.metrics`` has to give."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from mtls_gateway import metrics

#: What Prometheus itself adds to each series that it scrapes.
SCRAPED: Final = frozenset({"job", "instance"})
#: Series that no process of ours makes.
FOREIGN: Final = {"up": SCRAPED, "ALERTS": SCRAPED | {"alertname", "alertstate", "severity"}}

_WORD = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_SELECTOR = re.compile(r"\b(?P<name>up|ALERTS|mtls_gateway_\w+)(?:\{(?P<matchers>[^}]*)\})?")
_MATCHER = re.compile(rf'(?P<label>{_WORD})\s*(?P<how>=~|!~|!=|=)\s*"(?P<value>(?:[^"\\]|\\.)*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


def declared() -> dict[str, MetricWrapperBase]:
    """Every metric of the module, by the name of its variable."""
    return {name: value for name, value in vars(metrics).items() if isinstance(value, Counter | Gauge | Histogram)}


def _described(metric: Any) -> tuple[str, tuple[str, ...]]:
    return metric._name, metric._labelnames


def series() -> dict[str, frozenset[str]]:
    """Every series that can be scraped, with its labels."""
    found: dict[str, frozenset[str]] = dict(FOREIGN)
    for metric in declared().values():
        name, labels = _described(metric)
        whole = SCRAPED | set(labels)
        match metric:
            case Counter():
                found[f"{name}_total"] = whole
            case Histogram():
                found |= {f"{name}_bucket": whole | {"le"}, f"{name}_sum": whole, f"{name}_count": whole}
            case _:
                found[name] = whole
    return found


def selectors(expression: str) -> Iterator[tuple[str, Mapping[str, tuple[str, str]]]]:
    """Each series that ``expression`` asks for, with its matchers: label → (how, value)."""
    for found in _SELECTOR.finditer(expression):
        matchers = {one["label"]: (one["how"], one["value"]) for one in _MATCHER.finditer(found["matchers"] or "")}
        yield found["name"], matchers


def breaches(expression: str) -> list[str]:
    """What ``expression`` asks for that is not there."""
    known = series()
    found = []
    labels: set[str] = set()
    for name, matchers in selectors(expression):
        if name not in known:
            found.append(f"there is no metric {name}")
            continue
        labels |= known[name]
        found += [f"{name} has no label {label}" for label in matchers if label not in known[name]]
    for grouping in _GROUPING.finditer(expression):
        words = {word.strip() for word in grouping[1].split(",") if word.strip()}
        found += [f"no metric of the expression has a label {word}" for word in sorted(words - labels)]
    if not labels:
        found.append("it asks for no metric")
    return found
