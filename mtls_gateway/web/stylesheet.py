"""The one style sheet: its address carries its digest, so that browsers may keep it for good."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import NamedTuple


class StyleSheet(NamedTuple):
    """What is served, and under which name."""

    name: str
    octets: bytes


def read_style_sheet() -> StyleSheet:
    """The style sheet of all pages."""
    octets = (resources.files("mtls_gateway.web") / "static" / "portal.css").read_bytes()
    return StyleSheet(f"portal.{hashlib.sha256(octets).hexdigest()[:16]}.css", octets)
