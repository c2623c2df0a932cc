"""A worker of the gateway in the test's own loop, on uvloop as in production, and what stands around it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from prometheus_client import REGISTRY

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Configuration, validate_configuration
from mtls_gateway.wire.frontend import Frontend
from mtls_gateway.wire.listener import Listener
from mtls_gateway.wire.refusal import REASONS
from mtls_gateway.wire.sites import Sites
from mtls_gateway.wire.tls import Contexts, build_contexts
from mtls_gateway.wire.worker import Worker
from tests.wire.client import Client, client_context
from tests.wire.material import CERTIFICATE, PUBLIC, Material, Pair, make_material
from tests.wire.scripted import Script, ScriptedBackend, ScriptedGate, answering, ok


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("wire-material"))


def port_of(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port


def configure(material: Material, state: Path, port: int, backends: list[str], **sections: Any) -> Configuration:
    host = {
        "listen": [f"127.0.0.1:{port}"],
        "certificate": str(material.server.pem),
        "key": str(material.server.key_pem),
        **sections.pop("host", {}),
    }
    legacy = {
        "backends": backends,
        "session_cookies": ["SESSION"],
        "guarded": ["/login"],
        "login": {"kind": "form", "page": "/login", "user_field": "u", "password_field": "p", "proof_page": "/"},
        **sections.pop("legacy", {}),
    }
    authority = {"name": "test", "certificate": str(material.authority.pem), "revocation": "none"}
    tables = {
        "state": str(state),
        "public": {"name": PUBLIC, **host},
        "certificate": {"name": CERTIFICATE, **host},
        "trust": {"authorities": [authority]},
        "legacy": legacy,
        **sections,
    }
    return validate_configuration(tables, state / "gateway.toml")


def contexts_for(configuration: Configuration, material: Material) -> Contexts:
    return build_contexts(configuration, [material.authority.certificate])


class Gateway:
    """A running worker with one legacy backend and a portal. Its clock moves only when a test says so."""

    def __init__(self, material: Material, state: Path, legacy: ScriptedBackend, portal: ScriptedBackend) -> None:
        self.material = material
        self.state = state
        self.legacy = legacy
        self.portal = portal
        self.gate = ScriptedGate()
        self.clock = ManualClock(1_800_000_000.0)
        self.clients: list[Client] = []
        self.port = 0
        self.logged: list[tuple[str, int]] = []

    async def start(self, backends: list[str] | None = None, **sections: Any) -> None:
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = port_of(listening)
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            self.backend_port = port_of(reserved)
        self.backend_url = f"http://127.0.0.1:{self.backend_port}"
        urls = [self.backend_url] if backends is None else backends
        self.configuration = configure(self.material, self.state, self.port, urls, **sections)
        self.worker = Worker(
            self.configuration,
            gate=self.gate,
            pages={status: b"page %d" % status for status in REASONS if status != 303},
            clock=self.clock,
            loop=asyncio.get_running_loop(),
            log_access=lambda peer, exchange, bound, status, seconds: self.logged.append((exchange.route, status)),
        )
        self.contexts = contexts_for(self.configuration, self.material)
        sites = Sites(f"127.0.0.1:{self.port}", self.configuration.public, self.configuration.certificate)
        self.listening = listening
        self.listener = Listener(self.worker, listening, sites, self.contexts)
        self.listener.start()
        await self.legacy.listen(self.backend_port)
        await self.portal.listen_unix(self.configuration.portal_socket)

    async def connect(self, host: str = CERTIFICATE, certificate: Pair | None = None, limit: int = 1 << 16) -> Client:
        context = client_context(self.material, certificate or (self.material.client if host == CERTIFICATE else None))
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=host, limit=limit), 10
        )
        client = Client(reader, writer, f"{host}:{self.port}")
        self.clients.append(client)
        return client

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and have the worker look at its watch."""
        self.clock.advance(seconds)
        self.worker.deadlines.sweep()

    async def until(self, predicate: Callable[[], object]) -> None:
        """Let the loop turn until something has happened; it must within seconds."""
        async with asyncio.timeout(10):
            while not predicate():  # noqa: ASYNC110  # states of the gateway, which sets no event for them
                await asyncio.sleep(0)

    async def frontend(self) -> Frontend:
        """The one client connection, from the inside."""
        await self.until(lambda: self._frontends())
        (frontend,) = self._frontends()
        return frontend

    def _frontends(self) -> list[Frontend]:
        return [each for each in self.worker.deadlines._watched if isinstance(each, Frontend)]

    async def stop(self) -> None:
        for client in self.clients:
            client.vanish()
        self.listener.stop()
        await self.until(lambda: self.worker.connections == 0)
        assert self.worker.live.keys() == []
        for pool in self.worker.pools.values():
            pool.close()
        backends = [backend for pool in self.worker.pools.values() for backend in pool.backends]
        await self.legacy.stop()
        await self.portal.stop()
        await self.until(lambda: all(backend.open == 0 for backend in backends))
        self.worker.close()
        self.listening.close()


OpenGateway = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def open_gateway(
    material: Material, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[OpenGateway]:
    """Makes gateways; each must end with no connection left, and without an internal error unless it was expected."""
    opened: list[Gateway] = []

    async def open_one(
        script: Script | None = None,
        portal: Script | None = None,
        backends: list[str] | None = None,
        **sections: Any,
    ) -> Gateway:
        legacy = ScriptedBackend(script or answering(ok()))
        gateway = Gateway(material, tmp_path, legacy, ScriptedBackend(portal or answering(ok(b"portal"))))
        await gateway.start(backends, **sections)
        opened.append(gateway)
        return gateway

    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
    yield open_one
    for gateway in opened:
        await gateway.stop()
    assert unhandled == []
    if not getattr(caplog, "errors_expected", False):
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert [record.getMessage() for record in errors] == []


@pytest.fixture
def errors_expected(caplog: pytest.LogCaptureFixture) -> None:
    """This test provokes an internal error, which is logged."""
    caplog.errors_expected = True  # type: ignore[attr-defined]  # read by open_gateway


class Counter:
    """What a metric has grown by since the test began."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for family in REGISTRY.collect():
            for sample in family.samples:
                self._before[sample.name, tuple(sorted(sample.labels.items()))] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        value = REGISTRY.get_sample_value(f"mtls_gateway_{name}", labels) or 0.0
        return value - self._before.get((f"mtls_gateway_{name}", tuple(sorted(labels.items()))), 0.0)


@pytest.fixture
def grown() -> Iterator[Counter]:
    yield Counter()
