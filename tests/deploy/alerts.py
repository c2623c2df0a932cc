"""The alert rules, as Prometheus reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))


@dataclass(frozen=True)
class Alert:
    name: str
    expression: str
    severity: str
    annotations: dict[str, str]


def alerts() -> list[Alert]:
    found = []
    for file in RULES:
        whole: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        for rule in (rule for group in whole["groups"] for rule in group["rules"]):
            labels, annotations = rule.get("labels", {}), rule.get("annotations", {})
            found.append(Alert(rule["alert"], rule["expr"], labels.get("severity", ""), annotations))
    return found
