"""Sockets that systemd passes: taken where the configuration names them, refused with what to do where it does not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mtls_gateway.app.activation import Passed, endpoints_of, passed_sockets, require_named
from mtls_gateway.errors import ConfigurationError
from tests.app.test_listening import configuration_for
from tests.wire.conftest import port_of


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as opened:
        yield opened


@pytest.mark.parametrize("process", ["ours", "another's"])
def test_only_what_was_passed_to_this_very_process_is_taken(monkeypatch: pytest.MonkeyPatch, process: str) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() if process == "ours" else os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("LISTEN_FDNAMES", "https:operations")
    passed = [Passed(3, "https"), Passed(4, "operations"), Passed(5, "unknown")]
    assert passed_sockets() == (passed if process == "ours" else [])
    # Nor does anything that is started from here hear of it.
    assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & os.environ.keys()


def test_a_socket_is_known_by_what_it_listens_on(tmp_path: Path, listening: socket.socket) -> None:
    endpoint = f"127.0.0.1:{port_of(listening)}"
    for host, operations in ((endpoint, "127.0.0.1:1"), ("127.0.0.1:1", endpoint)):
        configuration = configuration_for(tmp_path, host, operations)
        passed = [Passed(listening.fileno(), "https")]
        assert endpoints_of(passed, configuration, tmp_path / "gateway.toml") == [endpoint]


def test_one_where_nothing_listens_is_refused_by_address_and_name(tmp_path: Path, listening: socket.socket) -> None:
    configuration = configuration_for(tmp_path, "127.0.0.1:1", "127.0.0.1:2")
    with pytest.raises(ConfigurationError) as refused:
        endpoints_of([Passed(listening.fileno(), "https")], configuration, tmp_path / "gateway.toml")
    assert str(refused.value) == (
        f"{tmp_path}/gateway.toml: public.listen: systemd passes a socket on 127.0.0.1:{port_of(listening)} (https), "
        "where nothing listens: name it here, or mend ListenStream= of the socket unit and restart that"
    )


def test_what_systemd_keeps_open_cannot_be_left_by_a_reload(tmp_path: Path) -> None:
    configuration = configuration_for(tmp_path, "127.0.0.1:1", "127.0.0.1:2")
    require_named(["127.0.0.1:1"], configuration, tmp_path / "gateway.toml")
    with pytest.raises(ConfigurationError, match=r"public\.listen: systemd passes a socket on 127\.0\.0\.1:3, where"):
        require_named(["127.0.0.1:3"], configuration, tmp_path / "gateway.toml")


@pytest.mark.parametrize("what", ["a datagram socket", "a connection", "a unix socket", "a file", "nothing"])
def test_whatever_is_no_listening_tcp_socket_is_refused(tmp_path: Path, listening: socket.socket, what: str) -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as datagram,
        socket.create_connection(listening.getsockname()) as connection,
        socket.socket(socket.AF_UNIX) as unix,
        (tmp_path / "file").open("wb") as file,
    ):
        datagram.bind(("127.0.0.1", 0))
        unix.bind(str(tmp_path / "unix"))
        unix.listen()
        descriptors = {
            "a datagram socket": datagram.fileno(),
            "a connection": connection.fileno(),
            "a unix socket": unix.fileno(),
            "a file": file.fileno(),
            "nothing": 1_000_000,
        }
        configuration = configuration_for(tmp_path, "127.0.0.1:1", "127.0.0.1:2")
        with pytest.raises(
            ConfigurationError, match=r"something else than a listening TCP socket \(https\): only Listen"
        ):
            endpoints_of([Passed(descriptors[what], "https")], configuration, tmp_path / "gateway.toml")
