"""What the master listens on: kept where it stays, opened where it is new, and named by its key where it cannot be."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

from mtls_gateway.app import listening
from mtls_gateway.app.listening import address_of, addresses, listen
from mtls_gateway.config import Configuration, validate_configuration
from mtls_gateway.errors import ConfigurationError
from tests.wire.conftest import port_of

LOG = logging.getLogger(__name__)


def configuration_for(folder: Path, host: str, operations: str) -> Configuration:
    site = {"listen": [host], "certificate": "c.pem", "key": "k.pem"}
    login = {"kind": "form", "page": "/login", "user_field": "u", "password_field": "p", "proof_page": "/"}
    raw: dict[str, Any] = {
        "state": str(folder),
        "public": {"name": "bank.example", **site},
        "certificate": {"name": "cert.bank.example", **site},
        "trust": {"authorities": [{"name": "one", "certificate": "ca.pem", "revocation": "none"}]},
        "legacy": {
            "backends": ["http://127.0.0.1:1"],
            "session_cookies": ["S"],
            "guarded": ["/login"],
            "login": login,
        },
        "operations": {"listen": operations},
    }
    return validate_configuration(raw, folder / "gateway.toml")


def settings_for(configuration: Configuration) -> Any:
    settings = Config()
    settings.set("bind", addresses(configuration))
    settings.set("umask", 0o177)
    return settings


@pytest.fixture
def free() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return f"127.0.0.1:{port_of(probe)}"


@pytest.fixture
def taken() -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        yield f"127.0.0.1:{port_of(other)}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_BETWEEN_TRIES", 0.0)


def test_every_address_once_and_the_portals_socket_for_this_user_only(tmp_path: Path, free: str) -> None:
    (tmp_path / "run").mkdir()
    configuration = configuration_for(tmp_path, free, "[::1]:0")
    listeners = listen(settings_for(configuration), LOG, configuration, tmp_path / "gateway.toml", ())
    try:
        found = [address_of(each.sock) for each in listeners]
        assert found[0] == free
        assert found[1].startswith("[::1]:")
        assert found[2] == str(configuration.portal_socket)
        assert configuration.portal_socket.stat().st_mode & 0o777 == 0o600
        # A reload keeps them: nobody who waits to be accepted is turned away.
        again = listen(settings_for(configuration), LOG, configuration, tmp_path / "gateway.toml", listeners)
        assert again == listeners
    finally:
        for each in listeners:
            each.close()


@pytest.mark.parametrize(("key", "is_host"), [("public.listen", True), ("operations.listen", False)])
def test_an_address_that_is_taken_is_named_with_its_key_and_nothing_is_left_open(
    tmp_path: Path, free: str, taken: str, key: str, is_host: bool
) -> None:
    (tmp_path / "run").mkdir()
    configuration = configuration_for(tmp_path, taken if is_host else free, free if is_host else taken)
    with pytest.raises(ConfigurationError) as refused:
        listen(settings_for(configuration), LOG, configuration, tmp_path / "gateway.toml", ())
    assert (
        str(refused.value)
        == f"{tmp_path / 'gateway.toml'}: {key}: {taken} cannot be listened on: Address already in use"
    )
    host, _, port = free.rpartition(":")
    socket.create_server((host, int(port))).close()


def test_a_portals_socket_that_cannot_be_made_is_the_state_directorys_fault(tmp_path: Path, free: str) -> None:
    configuration = configuration_for(tmp_path, free, "127.0.0.1:0")
    with pytest.raises(ConfigurationError, match=r"gateway\.toml: state: .*portal\.sock cannot be listened on"):
        listen(settings_for(configuration), LOG, configuration, tmp_path / "gateway.toml", ())
