"""The gateway itself, as ``serve`` starts it: one worker, portal and clerk, all on the proxy's core, every check on."""

from __future__ import annotations

import asyncio
import compileall
import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mtls_gateway
from benchmarks.client import Client
from benchmarks.crowd import write
from benchmarks.generator import Target
from benchmarks.machine import PROXY_CORE, BenchmarkError, descendants, free_port, pinned, process
from benchmarks.material import CERTIFICATE_NAME, PUBLIC_NAME, Held, Material
from mtls_gateway.clock import SystemClock
from mtls_gateway.config import Configuration, read_configuration
from mtls_gateway.model import Method, NewSession, SessionState
from mtls_gateway.signin.instance_secret import load_instance_secret
from mtls_gateway.signin.token import Tokens
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.users import NewUser

#: As it is installed, with the path of a request compiled, where ``make compiled`` has made that.
COMPILED = Path("build/compiled").resolve()
_ACTOR = "benchmark"
_COMPANY = "C0001"
_PATIENCE = 60.0

_CONFIGURATION = """
state = "state"

[public]
name = "{public}"
listen = ["127.0.0.1:{port}"]
certificate = "{material.server_chain}"
key = "{material.server.key_file}"

[certificate]
name = "{certificate}"
listen = ["127.0.0.1:{port}"]
certificate = "{material.server_chain}"
key = "{material.server.key_file}"

[[trust.authorities]]
name = "root"
certificate = "{material.root.certificate_file}"
revocation = "none"

[[trust.authorities]]
name = "issuing"
certificate = "{material.issuing.certificate_file}"
crls = [{{ source = "issuing.crl", refresh = 0.2 }}]

[limits]
connections_per_address = 20000
requests_per_connection = 100000000
backend_connections_per_session = 20000

[timeouts]
idle = 600

[legacy]
backends = ["http://127.0.0.1:{backend}"]
session_cookies = ["JSESSIONID"]
guarded = ["/login"]

[legacy.login]
kind = "argon2id"

[operations]
listen = "127.0.0.1:{operations}"
workers = {workers}
"""


@dataclass(frozen=True)
class Gateway:
    """A running gateway with what is needed to speak to it, and to give it orders as an operator does."""

    target: Target
    configuration: Configuration
    material: Material
    #: Certificate and session cookie by user ID.
    clients: dict[str, Held]
    cookies: dict[str, str]
    crl: Path
    log: Path
    #: From its command to its first answer.
    start_seconds: float

    def headers(self, user: str) -> dict[str, str]:
        """What makes a request one of this user's session."""
        return {"Cookie": f"{self.configuration.sessions.cookie}={self.cookies[user]}"}

    @property
    def workers(self) -> list[int]:
        """Process IDs of the gateway workers, as the log names them."""
        return [int(pid) for pid in re.findall(r"gateway is serving \(pid (\d+)\)", self.log.read_text())]

    def put_crl(self, crl: bytes) -> None:
        """Put a new CRL (DER) where the clerk fetches it, whole or not at all."""
        _replace(self.crl, crl)

    def command(self, *arguments: str) -> list[str]:
        """The operator's command line."""
        return _command(self.crl.parent, *arguments, compiled=True)


def _command(directory: Path, *arguments: str, compiled: bool) -> list[str]:
    program = [sys.executable, "-m", "mtls_gateway", "--config", str(directory / "gateway.toml"), *arguments]
    if not compiled or not COMPILED.exists():
        return program
    return ["env", f"PYTHONPATH={COMPILED}", "PYTHONSAFEPATH=1", *program]


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(path)


@contextlib.contextmanager
def running(
    name: str,
    directory: Path,
    material: Material,
    backend: int,
    users: dict[str, Held],
    *,
    crl_entries: int = 0,
    workers: int = 1,
    core: int | None = PROXY_CORE,
    prefill: Callable[[Path], object] | None = None,
    crowd: int = 0,
    settings: str = "",
    compiled: bool = True,
) -> Iterator[Gateway]:
    """A gateway with these users registered and signed in, each with its certificate.

    ``compiled``: as it is installed, where there is one. ``crowd``: so many others are in its database, each with a
    session. ``settings``: more of its configuration.
    ``prefill`` is given the path of the database before anything else is in it.

    Raises:
        BenchmarkError: it does not begin to answer; says what it logged.
    """
    # As pip leaves what it installs: otherwise every start would read the sources anew.
    compileall.compile_dir(Path(mtls_gateway.__file__).parent, quiet=1)
    directory.mkdir(parents=True, exist_ok=True)
    port, log, file = free_port(), directory / "gateway.log", directory / "gateway.toml"
    file.write_text(
        _CONFIGURATION.format(
            public=PUBLIC_NAME,
            certificate=CERTIFICATE_NAME,
            port=port,
            material=material,
            backend=backend,
            operations=free_port(),
            workers=workers,
        )
        + settings
    )
    crl = directory / "issuing.crl"
    _replace(crl, material.crl(crl_entries))
    configuration = read_configuration(file)
    configuration.state.mkdir(mode=0o700)
    if prefill is not None:
        prefill(configuration.state / "gateway.sqlite3")
    cookies = asyncio.run(_fill(configuration, users))
    if crowd:
        write(Path(configuration.database_url.removeprefix("sqlite:///")), crowd, crowd)
    command = _command(directory, "serve", compiled=compiled)
    with process(pinned(core, *command) if core is not None else command, log) as child:
        began = time.monotonic()
        target = Target(name, port, CERTIFICATE_NAME, ())
        gateway = Gateway(target, configuration, material, users, cookies, crl, log, 0.0)
        deadline = began + _PATIENCE
        user = next(iter(users))
        while not _answers(gateway, user):
            if child.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"the gateway does not answer; {log} ends with:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        target = Target(name, port, CERTIFICATE_NAME, tuple(descendants(child.pid)))
        yield Gateway(target, configuration, material, users, cookies, crl, log, time.monotonic() - began)


def _answers(gateway: Gateway, user: str) -> bool:
    try:
        with Client(gateway.target, gateway.material, gateway.clients[user], timeout=5) as client:
            return client.get("/page", gateway.headers(user)) == 200
    except OSError:
        return False


async def _fill(configuration: Configuration, users: dict[str, Held]) -> dict[str, str]:
    clock = SystemClock()
    await migrate(configuration.database_url, clock)
    store = await open_store(configuration.database_url, clock)
    try:
        await store.companies.create(_COMPANY, "ベンチマーク株式会社", "Benchmark Ltd.", actor=_ACTOR)
        await store.users.add([NewUser(user, _COMPANY) for user in users], actor=_ACTOR)
        registrations = [
            NewCertificate(held.identity, user, held.certificate.not_valid_after_utc.timestamp())
            for user, held in users.items()
        ]
        await store.certificates.register(registrations, actor=_ACTOR)
        await store.companies.set_method(_COMPANY, Method.CERTIFICATE, actor=_ACTOR)
        tokens = Tokens(load_instance_secret(configuration.state / "instance.secret"))
        return {user: await _sign_in(store, tokens, configuration, user, held) for user, held in users.items()}
    finally:
        await store.close()


async def _sign_in(store: Store, tokens: Tokens, configuration: Configuration, user: str, held: Held) -> str:
    """A session as the portal would have opened it after the right password."""
    token, now = tokens.mint(), SystemClock().now()
    opened = NewSession(
        digest=token.digest,
        user_id=user,
        certificate=held.identity,
        opened=now,
        ends=now + configuration.sessions.absolute,
        legacy_cookies=b"",
    )
    state = await store.sessions.open_session(opened, idle=configuration.sessions.idle)
    if state is not SessionState.LIVE:
        raise BenchmarkError(f"the session of {user} is {state.value}")
    return token.text
