from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtls_gateway.errors import StateError
from mtls_gateway.issuance.key_files import PRIVATE, PUBLIC, replace_file


def test_a_key_is_nobody_elses_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        replace_file(tmp_path / "key.pem", b"secret", PRIVATE)
    finally:
        os.umask(before)
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    before = os.umask(0o077)
    try:
        replace_file(tmp_path / "crl.pem", b"public", PUBLIC)
    finally:
        os.umask(before)
    assert (tmp_path / "crl.pem").stat().st_mode & 0o777 == 0o644


def test_what_was_read_before_is_whole_after_a_replacement(tmp_path: Path) -> None:
    path = tmp_path / "crl.pem"
    replace_file(path, b"old" * 1000, PUBLIC)
    with path.open("rb") as reader:
        replace_file(path, b"new", PUBLIC)
        assert reader.read() == b"old" * 1000
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["crl.pem"]


def test_what_cannot_be_written_is_named_and_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(StateError, match="taken cannot be written"):
        replace_file(tmp_path / "taken", b"", PUBLIC)
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]
