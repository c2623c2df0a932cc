"""Whoever asks /readyz hears of a disk that is full or cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtls_gateway.app.ready import _require_writable, backend_check, free_octets
from mtls_gateway.errors import StateError, StoreUnavailable


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def test_a_disk_with_less_than_the_reserve_is_as_good_as_full(state: Path) -> None:
    free, size = free_octets(state)
    assert 0 < free <= size
    _require_writable(state, 1)
    with pytest.raises(StoreUnavailable, match=r"full but for .* less than operations\.disk_reserve"):
        _require_writable(state, size + 1)


def test_a_state_directory_that_cannot_be_written_is_named(state: Path) -> None:
    (state / "run").rmdir()
    with pytest.raises(StoreUnavailable, match=f"{state} cannot be written: {os.strerror(2)}"):
        _require_writable(state, 1)


async def test_backends_are_missed_when_no_worker_can_use_any() -> None:
    await backend_check(lambda: {"portal": 2.0, "http://a": 0.0, "http://b": 1.0})()
    with pytest.raises(StateError, match="no backend can be used: http://a, http://b"):
        await backend_check(lambda: {"portal": 2.0, "http://a": 0.0, "http://b": 0.0})()
    with pytest.raises(StateError, match="no worker has looked yet"):
        await backend_check(lambda: {"portal": 2.0})()
