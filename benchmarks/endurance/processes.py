"""Processes of a gateway, as /proc shows them."""

from __future__ import annotations

from pathlib import Path


def lives(pid: int) -> bool:
    """Whether it runs; one that is dead and not asked for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
