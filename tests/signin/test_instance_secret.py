from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mtls_gateway.errors import ConfigurationError
from mtls_gateway.signin.instance_secret import SECRET_OCTETS, derive, load_instance_secret


def test_a_secret_is_made_once_and_read_ever_after(tmp_path: Path) -> None:
    path = tmp_path / "instance.secret"
    first = load_instance_secret(path)
    assert len(first) == SECRET_OCTETS
    assert load_instance_secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["instance.secret"]


def test_many_who_begin_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    path = tmp_path / "instance.secret"
    start = threading.Barrier(8)
    got: list[bytes] = []

    def begin() -> None:
        start.wait()
        got.append(load_instance_secret(path))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len(set(got)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "instance.secret"
    load_instance_secret(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="0600"):
        load_instance_secret(path)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "instance.secret"
    path.write_bytes(bytes(length))
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="32 octets"):
        load_instance_secret(path)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigurationError, match="no regular file"):
        load_instance_secret(tmp_path / "pipe")
    load_instance_secret(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigurationError, match="link"):
        load_instance_secret(tmp_path / "link")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        load_instance_secret(tmp_path / "nowhere" / "instance.secret")


def test_keys_of_different_purposes_differ() -> None:
    secret = bytes(range(32))
    assert derive(secret, "one") != derive(secret, "other")
    assert len(derive(secret, "one")) == 32
    with pytest.raises(ValueError, match="32 octets"):
        derive(b"short", "one")
