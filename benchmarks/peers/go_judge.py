"""The Go service behind nginx's ``auth_request``: compiled here, of Go's standard library only."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.machine import BenchmarkError

_SOURCE = Path(__file__).resolve().parent.parent / "go_judge" / "main.go"


def missing() -> str | None:
    """Why it cannot be had here; None: it can."""
    return None if shutil.which("go") else "not installed: apt-get install golang-go"


def program(build: Path) -> Path:
    """The compiled service. Nothing is fetched for it.

    Raises:
        BenchmarkError: it does not compile.
    """
    made = build / "go-judge"
    if made.exists() and made.stat().st_mtime > _SOURCE.stat().st_mtime:
        return made
    cache = build / "go-cache"
    environment = {**os.environ, "GOCACHE": str(cache), "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    done = subprocess.run(
        ["go", "build", "-o", str(made), str(_SOURCE)], env=environment, capture_output=True, check=False, text=True
    )
    shutil.rmtree(cache, ignore_errors=True)
    if done.returncode:
        raise BenchmarkError(f"the Go service does not compile: {done.stderr.strip()}")
    return made
