"""Gateways that many tests lean on; each is started when the first of them asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from mtls_gateway.demo.material import Material
from tests import compiled_program
from tests.promises.authority import Authority
from tests.promises.whole_gateway import WholeGateway, authorities, whole_gateway


@pytest.fixture(scope="session", autouse=True)
def program() -> Iterator[None]:
    """What is started here is compiled, as it is where it is installed; the rooms' tests are of what is written."""
    with pytest.MonkeyPatch.context() as environment:
        wrong = compiled_program.what_is_wrong()
        if wrong is None:
            environment.setenv("PYTHONPATH", str(compiled_program.FOLDER))
            # Otherwise the folder that a process is started in comes first.
            environment.setenv("PYTHONSAFEPATH", "1")
        elif os.environ.get("CI"):
            pytest.fail(f"{compiled_program.FOLDER}: {wrong}", False)
        yield


def pytest_report_header() -> str:
    wrong = compiled_program.what_is_wrong()
    return "promises: of the compiled program" + ("" if wrong is None else f", NOT: {wrong} (make compiled)")


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    """In front of the demo's bank, with a second issuer of certificates and a short patience for heads."""

    def settings(material: Material) -> Mapping[str, Any]:
        second = Authority.made(material.directory, "second")
        return {
            "timeouts": {"head": 2.0},
            "trust": {"authorities": [*authorities(material.configuration), second.settings()]},
        }

    with whole_gateway(tmp_path_factory.mktemp("gateway"), settings) as running:
        yield running


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    """In front of the odd backend, which is told everything that it may be told, and is given little time."""
    controller = [{"path": "/ib", "query": "EventID=Login"}, {"path": "/ib", "field": "userid"}]
    settings = {
        "legacy": {
            "seen": {"forwarded_headers": True, "user_header": True, "client_cert_header": True},
            "guarded": ["/login", "/login/**", *controller],
        },
        "lockout": {"suspension": 1.5},
        "timeouts": {"backend_first_octet": 1.0, "backend_silence": 1.0},
    }
    with whole_gateway(tmp_path_factory.mktemp("odd"), settings, backend="odd") as running:
        yield running
