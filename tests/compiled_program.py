"""The program whose path of a request is compiled, as ``make compiled`` leaves it; see ``docs/compiled.md``."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path(__file__).parent.parent
FOLDER = _ROOT / "build" / "compiled"


def what_is_wrong() -> str | None:
    """Why it cannot be what the tests run; None: it is there, compiled, and of this source."""
    if not any((FOLDER / "mtls_gateway" / "wire").glob("exchange.*.so")):
        return "it is not there, or not compiled"
    for source in (_ROOT / "mtls_gateway").rglob("*.py"):
        copy = FOLDER / source.relative_to(_ROOT)
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            return f"it is not made of this source: {source.relative_to(_ROOT)} differs"
    return None
