"""All in one run: the contest, CRLs, revocation, memory; a table, ``build/bench/results.json``, one line of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend as wheel

from benchmarks import bars, gateway, memory, new_crl, revocation, workers
from benchmarks.contest import Contest, Plan, say
from benchmarks.figures import HEADING
from benchmarks.goals import unmeasured, verdict
from benchmarks.machine import BenchmarkError


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """``build/bench`` for what lasts; sockets need a short path, and a checkout may lie deep."""
    lasting = Path("build/bench").resolve()
    lasting.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="mtls-bench-"))
    try:
        for name in ("load", "backend"):
            if (lasting / name).exists():
                shutil.copy2(lasting / name, scratch / name)
        yield scratch
        for name in ("load", "backend"):
            shutil.copy2(scratch / name, lasting / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main() -> int:
    """Run, print the table, write ``build/bench/results.json``; the last line is the ratios as JSON."""
    quick = os.environ.get("QUICK", "") not in ("", "0")
    if (os.cpu_count() or 1) < 2:
        print("benchmarks: two cores are needed, one for the proxy and one for the load", file=sys.stderr)
        return 2
    began = time.monotonic()
    try:
        with workspace() as build:
            contest = Contest(build, Plan.of(quick))
            contest.run()
        contest.work_out()
        say("CRLs by their length, and new ones under load")
        contest.take(new_crl.figures(new_crl.Plan.of(quick)))
        say("one worker and two")
        contest.take(workers.figures(quick=quick))
        say("revocation, with 1,000 live connections")
        contest.add("revocation_worst_seconds", revocation.worst_seconds())
        say("memory, 2 GB past a slow peer")
        contest.add("memory_moved_mb", memory.moved_megabytes())
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    _report(contest, quick, time.monotonic() - began)
    return 0


def _report(contest: Contest, quick: bool, seconds: float) -> None:
    print(HEADING)
    for answers in contest.answers.values():
        print("\n".join(answers.lines()))
    print("\nratios, gateway to peer")
    for name, ratio in contest.ratios.items():
        print(f"  {name:<52}{ratio:>9.2f}{verdict(name, ratio)}")
    for name, reason in contest.roster.missing.items():
        print(f"missing: {name}: {reason}")
    for name in unmeasured(contest.ratios):
        print(f"not measured: {name}")
    about = {
        "quick": quick,
        "seconds": round(seconds),
        "machine": platform.platform(),
        "compiled": gateway.COMPILED.exists(),
        "python": platform.python_version(),
        "openssl of the gateway": wheel.openssl_version_text(),
        "openssl of the system (peers, load)": ssl.OPENSSL_VERSION,
        "load average, whole run": os.getloadavg(),
    }
    results = Path("build/bench/results.json")
    results.parent.mkdir(parents=True, exist_ok=True)
    written = {
        "about": about,
        "ratios": contest.ratios,
        "missing": contest.roster.missing,
        "answers": [answers.as_json() for answers in contest.answers.values()],
    }
    results.write_text(json.dumps(written, indent=1) + "\n")
    drawn = results.with_name("goals.svg")
    drawn.write_text(bars.picture("How far each goal is reached", contest.ratios))
    print(f"\n{seconds:.0f} s; every reading is in {results}, how far each goal is reached in {drawn}")
    print(json.dumps(contest.ratios))
