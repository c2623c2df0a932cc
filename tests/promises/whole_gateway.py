"""The whole gateway in front of a backend, started once for many tests: real processes, real sockets, any settings.

It is the demo's material with the demo's bank, or another backend, and with settings laid over the demo's. Tests
that change something about a person (revoke, stop, sign in) take a :class:`Person` of their own, so that many
tests can lean on one gateway.
"""

from __future__ import annotations

import asyncio
import copy
import http.client
import itertools
import json
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mtls_gateway.app.rows import open_rows
from mtls_gateway.clock import SystemClock
from mtls_gateway.config import read_configuration
from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.material import Material, Ports, make_material
from mtls_gateway.demo.report import Report
from mtls_gateway.demo.run import Running, process, wait_until_it_answers
from mtls_gateway.demo.visit import Visit, place
from mtls_gateway.demo.walk_disturbances import gateway_workers
from mtls_gateway.issuance.development_ca import DevelopmentAuthority
from mtls_gateway.model import CertificateId
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.opening import Store
from mtls_gateway.store.users import NewUser
from tests.promises.legacy_apps.gateway import toml

T = TypeVar("T")

#: Users that the backend knows and the gateway does not yet: ``person000`` … One gateway serves many tests.
STRANGERS = [f"person{number:03}" for number in range(1_000)]
COMPANY = "yamada"
ODD_BACKEND = Path(__file__).with_name("odd_backend.py")

#: Every test comes from one address.
UNHURRIED: Mapping[str, Any] = {"lockout": {"attempts_per_address": 1_000_000}}


@dataclass(frozen=True)
class Person:
    """A user with a certificate of its own, known to gateway and backend."""

    user_id: str
    certificate: CertificateId
    #: Certificate and key, PEM.
    pem: Path

    @property
    def password(self) -> str:
        return password_of(self.user_id)


def password_of(user_id: str) -> str:
    return f"demo-{user_id}"


class WholeGateway:
    """A running gateway."""

    def __init__(self, running: Running) -> None:
        self.material = running.material
        self.ports = running.ports
        self.process = running.gateway
        self.visit = Visit(running, Report())
        self._strangers = iter(STRANGERS)
        self._folders = itertools.count()
        self._authority = DevelopmentAuthority(self.material.certificates.authority, SystemClock())

    @property
    def port(self) -> int:
        return self.ports.gateway

    @property
    def server_ca(self) -> Path:
        return self.material.certificates.server_ca

    @property
    def log(self) -> str:
        return self.material.log("gateway").read_text(encoding="utf-8", errors="replace")

    def workers(self) -> list[int]:
        return gateway_workers(self.visit)

    # --- people ---------------------------------------------------------------------------------

    def newcomer(self, company: str = COMPANY, *, administrator: bool = False) -> Person:
        """A user nobody has used yet, with a good, registered certificate."""
        user_id = self.new_user(company, administrator=administrator)
        folder = self.folder()
        issued = self._authority.issue(user_id, user_id, folder, password="test")
        pem = folder / "both.pem"
        pem.write_bytes(issued.certificate_file.read_bytes() + issued.key_file.read_bytes())
        self.register(NewCertificate(issued.certificate, user_id, issued.not_after))
        return Person(user_id, issued.certificate, pem)

    def new_user(self, company: str = COMPANY, *, administrator: bool = False) -> str:
        """A user that the backend knows, without a certificate."""
        user_id = next(self._strangers)
        self.store(lambda store: store.users.add([NewUser(user_id, company, administrator)], actor="test"))
        return user_id

    def register(self, *certificates: NewCertificate) -> None:
        self.store(lambda store: store.certificates.register(certificates, actor="test"))

    def revoke_by_crl(self, person: Person) -> None:
        """Put the certificate on the CA's next CRL: nothing but the file changes."""
        self._authority.revoke(person.certificate.serial, days=30.0)

    def folder(self) -> Path:
        folder = self.material.directory / f"extra-{next(self._folders)}"
        folder.mkdir(mode=0o700)
        return folder

    # --- as a client ----------------------------------------------------------------------------

    def browser(self, person: Person | Path | None = None) -> Browser:
        pem = person.pem if isinstance(person, Person) else person
        return Browser(self.port, self.server_ca, pem)

    def signed_in(self, person: Person) -> Browser:
        """A browser in which the person has signed in; fails if that does not lead home."""
        browser = self.browser(person)
        page = browser.get(CERTIFICATE_HOST, "/")
        tried = browser.submit(page, page.form("password"), password=person.password)
        # Not what that leads to: near a certificate's end it is a notice.
        answer = browser.get(CERTIFICATE_HOST, "/home")
        assert place(answer) == f"home of {person.user_id}", f"{tried.status} {tried.text}\n{answer.text}"
        return browser

    # --- as an operator -------------------------------------------------------------------------

    def store(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Do something with the rows directly."""

        async def do() -> T:
            # With the instance's secret: the audit log stays whole.
            opened = await open_rows(read_configuration(self.material.configuration), SystemClock())
            try:
                return await work(opened)
            finally:
                await opened.close()

        return asyncio.run(do())

    def cli(self, *words: str) -> str:
        """A command as an operator types it; fails unless it succeeds."""
        done = mtls_gateway(self.material.configuration, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def metrics(self) -> str:
        """All of /metrics."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.operations, timeout=10)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """A figure of /metrics, summed over whatever labels are not given; 0 when it is not there."""
        total = 0.0
        for line in self.metrics().splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if found and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")).items():
                total += float(found[2])
        return total

    def metric_reaches(self, wanted: float, name: str, **labels: str) -> bool:
        """Whether a figure is ``wanted`` at last: workers add theirs up once a second."""
        return eventually(lambda: self.metric(name, **labels) >= wanted)


def eventually(look: Callable[[], bool], seconds: float = 8.0) -> bool:
    """Whether ``look`` comes true in time."""
    until = time.monotonic() + seconds
    while not look():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def mtls_gateway(configuration: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    command = [sys.executable, "-m", "mtls_gateway", "--config", str(configuration), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)


Settings = Mapping[str, Any] | Callable[[Material], Mapping[str, Any]]
"""Laid over the demo's configuration, table by table; a function where they name files that it makes."""


@contextmanager
def whole_gateway(directory: Path, settings: Settings, *, backend: str = "bank") -> Iterator[WholeGateway]:
    """Start everything below ``directory``; all processes have ended when the block has.

    ``backend`` is ``bank``, the demo's, or ``odd``.
    """
    material, ports = prepared(directory, settings)
    with ExitStack() as stack:
        word = ["-m", "mtls_gateway.demo.bank"] if backend == "bank" else [str(ODD_BACKEND)]
        words = [*word, "--port", str(ports.bank), "--accounts", str(material.accounts)]
        bank = stack.enter_context(process(material.log("bank"), words))
        wait_until_it_answers("the backend", bank, ports.bank, "/login", material.log("bank"))
        gateway = stack.enter_context(
            process(material.log("gateway"), ["-m", "mtls_gateway", "--config", str(material.configuration), "serve"])
        )
        wait_until_it_answers("the gateway", gateway, ports.operations, "/readyz", material.log("gateway"))
        yield WholeGateway(Running(material, ports, bank, gateway))


def prepared(directory: Path, settings: Settings) -> tuple[Material, Ports]:
    """The demo's material with ``settings`` laid over its configuration; nothing is started."""
    gateway, operations, bank = free_ports(3)
    ports = Ports(gateway=gateway, operations=operations, bank=bank)
    material = make_material(directory, ports, fresh=True)
    accounts = {user.user_id: user.password for user in cast.USERS} | {name: password_of(name) for name in STRANGERS}
    material.accounts.write_text(json.dumps(accounts), encoding="utf-8")
    configure(material.configuration, UNHURRIED, settings(material) if callable(settings) else settings)
    return material, ports


def configure(file: Path, *settings: Mapping[str, Any]) -> None:
    """Lay ``settings`` over what the file says; a list replaces a list, None takes away."""
    whole = tomllib.loads(file.read_text(encoding="utf-8"))
    for each in settings:
        # A copy: what is laid over one gateway's must not become part of the next one's.
        _lay_over(whole, copy.deepcopy(dict(each)))
    file.write_text("".join(f"{name} = {toml(value)}\n" for name, value in whole.items()), encoding="utf-8")


def _lay_over(whole: dict[str, Any], settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if value is None:
            whole.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(whole.get(name), dict):
            _lay_over(whole[name], value)
        else:
            whole[name] = value


def authorities(configuration: Path) -> list[dict[str, Any]]:
    """Those that a configuration has."""
    whole = tomllib.loads(configuration.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = whole["trust"]["authorities"]
    return found
