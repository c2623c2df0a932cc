"""A full disk costs figures, never a process; and what a process has counted outlives it."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mtls_gateway.app.figures import ReservedFigures, collect_figures, fold_ended


def test_the_blocks_of_a_file_are_taken_when_it_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "counter_1.db"
    figures: Any = ReservedFigures(str(file))
    assert file.stat().st_blocks * 512 >= file.stat().st_size == 131_072
    figures.write_value("a", 3.0, 0.0)
    figures.close()
    again: Any = ReservedFigures(str(file))
    assert again.read_value("a") == (3.0, 0.0)
    again.close()
    assert [(key, value) for key, value, *_ in again.read_all_values_from_file(str(file))] == [("a", 3.0)]


def test_a_process_that_gets_no_block_counts_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, octets: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    file = tmp_path / "counter_1.db"
    figures: Any = ReservedFigures(str(file))
    figures.write_value("a", 3.0, 0.0)
    assert figures.read_value("a") == (3.0, 0.0)
    figures.close()
    # What is not there cannot be read with holes in it either.
    assert not file.exists()


def _counted_elsewhere(directory: Path, count: int) -> None:
    """A process counts something, and has ended."""
    program = (
        "from prometheus_client import Counter, Gauge, Histogram\n"
        f"Counter('things_total', 'Things.', ['kind']).labels('good').inc({count})\n"
        f"Histogram('seconds', 'Seconds.', buckets=(1.0, 2.0)).observe({count})\n"
        "Gauge('state', 'State.', ['of'], multiprocess_mode='mostrecent').labels('it').set(1)\n"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=30)


def _figures(directory: Path) -> dict[str, float]:
    lines = collect_figures(directory).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_counters_of_processes_that_have_ended_are_kept_in_one_file_for_all(tmp_path: Path) -> None:
    for count in (1, 2, 3):
        _counted_elsewhere(tmp_path, count)
    before = _figures(tmp_path)
    assert before['things_total{kind="good"}'] == 6.0
    assert before['state{of="it"}'] == 1.0
    assert fold_ended(tmp_path)
    after = _figures(tmp_path)
    # A gauge says how things are, and whoever said it is gone.
    assert before.pop('state{of="it"}') and after == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["counter_ended.db", "histogram_ended.db"]
    _counted_elsewhere(tmp_path, 4)
    assert fold_ended(tmp_path)
    assert _figures(tmp_path)['things_total{kind="good"}'] == 10.0
    assert _figures(tmp_path)['seconds_bucket{le="1.0"}'] == 1.0
    assert _figures(tmp_path)["seconds_count"] == 4.0


def test_files_of_a_process_that_lives_are_left_alone(tmp_path: Path) -> None:
    _counted_elsewhere(tmp_path, 1)
    ended = next(tmp_path.glob("counter_*.db"))
    own = tmp_path / f"counter_{os.getpid()}.db"
    own.write_bytes(ended.read_bytes())
    assert fold_ended(tmp_path)
    assert own.exists() and not ended.exists()
    assert _figures(tmp_path)['things_total{kind="good"}'] == 2.0


def test_nothing_is_added_up_while_somebody_reads_and_nobody_is_waited_for(tmp_path: Path) -> None:
    _counted_elsewhere(tmp_path, 1)
    reader = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)
    assert not fold_ended(tmp_path)
    assert not list(tmp_path.glob("*_ended.db"))
    os.close(reader)
    assert fold_ended(tmp_path)


def test_whoever_reads_meanwhile_never_sees_a_count_twice_or_one_less(tmp_path: Path) -> None:
    for _ in range(6):
        _counted_elsewhere(tmp_path, 1)
    files = {file: file.read_bytes() for file in tmp_path.glob("counter_*.db")}
    seen: set[float] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(_figures(tmp_path)['things_total{kind="good"}'])

    reading = threading.Thread(target=read)
    reading.start()
    try:
        while not seen:
            assert reading.is_alive()
        folded = 0
        while folded < 1:
            folded += fold_ended(tmp_path)
    finally:
        stop.set()
        reading.join(20)
    assert seen == {6.0}
    assert not any(file.exists() for file in files)


def test_a_file_that_its_process_left_half_written_costs_only_its_own_figures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _counted_elsewhere(tmp_path, 2)
    whole = next(tmp_path.glob("counter_*.db"))
    pid = int(whole.stem.rpartition("_")[2])
    broken = tmp_path / f"counter_{_another_that_has_ended(pid)}.db"
    broken.write_bytes(b"\xff\x00\x00\x00" + bytes(4) + b"\xff\xff\x00\x00" + bytes(300))
    assert fold_ended(tmp_path)
    assert "its figures are missed" in caplog.text
    assert _figures(tmp_path)['things_total{kind="good"}'] == 2.0


def _another_that_has_ended(other: int) -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    assert child.pid != other
    return child.pid
