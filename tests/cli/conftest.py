"""A directory with a CA, host certificates and a configuration, and the command run in this process."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mtls_gateway.app.rows import open_rows
from mtls_gateway.cli import run
from mtls_gateway.clock import SystemClock
from mtls_gateway.config import read_configuration
from mtls_gateway.issuance.development_ca import DevelopmentAuthority
from mtls_gateway.store.opening import Store

ISSUER = "CN=Demo Shinkumi Issuing CA,O=Demo Shinkumi,C=JP"

CONFIGURATION = """
state = "state"
[public]
name = "ib.localhost"
listen = ["127.0.0.1:8443"]
certificate = "hosts/ib.localhost.cert.pem"
key = "hosts/ib.localhost.key.pem"
[certificate]
name = "cert.ib.localhost"
listen = ["127.0.0.1:8443"]
certificate = "hosts/cert.ib.localhost.cert.pem"
key = "hosts/cert.ib.localhost.key.pem"
[[trust.authorities]]
name = "root"
certificate = "ca/root.cert.pem"
crls = [{ source = "ca/root.crl.der" }]
[[trust.authorities]]
name = "issuing"
certificate = "ca/issuing.cert.pem"
crls = [{ source = "ca/issuing.crl.pem" }]
[legacy]
backends = ["http://127.0.0.1:8080"]
session_cookies = ["JSESSIONID"]
guarded = ["/login"]
[legacy.login]
kind = "form"
page = "/login"
user_field = "u"
password_field = "p"
proof_page = "/menu"
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]
#: What somebody else does with the store.
Colleague = Callable[[Callable[[Store], Awaitable[Any]]], Any]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; every test works on a copy."""
    directory = tmp_path_factory.mktemp("material")
    authority = DevelopmentAuthority(directory / "ca", SystemClock())
    authority.initialise("Demo Shinkumi")
    for name in ("ib.localhost", "cert.ib.localhost"):
        authority.issue_server([name], directory / "hosts")
    (directory / "gateway.toml").write_text(CONFIGURATION)
    return directory


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def command(home: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    def run_it(*words: object) -> Ran:
        capfd.readouterr()
        status = run(["--config", str(home / "gateway.toml"), *(str(word) for word in words)])
        out, err = capfd.readouterr()
        return Ran(status, out, err)

    return run_it


@pytest.fixture
def colleague(home: Path) -> Colleague:
    """Another operator, who is not the one that types the commands."""

    def do(work: Callable[[Store], Awaitable[Any]]) -> Any:
        async def with_store() -> Any:
            store = await open_rows(read_configuration(home / "gateway.toml"), SystemClock())
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(with_store())

    return do


@pytest.fixture
def acme(command: Command) -> Command:
    """The command, in a home that has a company with two users."""
    for words in (
        ("company", "create", "acme", "--name-ja", "株式会社アクメ"),
        ("user", "create", "taro", "--company", "acme", "--administrator", "--email", "taro@example.co.jp"),
        ("user", "create", "hanako", "--company", "acme"),
    ):
        assert command(*words).status == 0
    return command
