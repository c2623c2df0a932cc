"""The access log tells who asked for what and how that ended, and no secret (clause E.3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.model import print_serial
from tests.promises.whole_gateway import WholeGateway, eventually, whole_gateway

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WholeGateway, Path]]:
    directory = tmp_path_factory.mktemp("logged")
    with whole_gateway(directory, {"operations": {"access_log": "access.log"}}) as gateway:
        yield gateway, directory / "access.log"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def found(file: Path, **wanted: Any) -> dict[str, Any] | None:
    return next((line for line in reversed(lines(file)) if wanted.items() <= line.items()), None)


def test_a_request_says_who_asked_and_how_it_ended(logged: tuple[WholeGateway, Path]) -> None:
    gateway, file = logged
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    trace = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    answer = browser.get(CERTIFICATE_HOST, "/home?account=4711", headers=trace)
    assert eventually(lambda: found(file, path="/home", trace=TRACE) is not None)
    line = found(file, path="/home", trace=TRACE)
    assert line is not None
    names = ("site", "method", "status", "route", "backend", "verdict", "user", "company", "serial")
    told = {name: line[name] for name in names}
    assert told == {
        "site": "certificate",
        "method": "GET",
        "status": 200,
        "route": "legacy",
        "backend": f"http://127.0.0.1:{gateway.ports.bank}",
        "verdict": "admitted",
        "user": person.user_id,
        "company": "yamada",
        "serial": print_serial(person.certificate.serial),
    }
    assert line["octets_down"] == len(answer.body)
    assert 0 < line["seconds"] < 10


def test_no_secret_stands_in_it(logged: tuple[WholeGateway, Path]) -> None:
    gateway, file = logged
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    browser.get(CERTIFICATE_HOST, "/home?secret=hidden-in-the-query")
    assert eventually(lambda: found(file, user=person.user_id, path="/home") is not None)
    text = file.read_text()
    token = browser.cookies[CERTIFICATE_HOST]["__Host-ib-session"]
    for secret in (person.password, token, "hidden-in-the-query"):
        assert secret not in text


def test_a_refusal_says_why(logged: tuple[WholeGateway, Path]) -> None:
    gateway, file = logged
    gateway.browser().get(CERTIFICATE_HOST, "/nobody")
    assert eventually(lambda: found(file, path="/nobody") is not None)
    line = found(file, path="/nobody")
    assert line is not None and (line["verdict"], line["route"]) == ("certificate_missing", "page")


def test_every_request_has_an_identifier_of_its_own(logged: tuple[WholeGateway, Path]) -> None:
    gateway, file = logged
    for _ in range(20):
        gateway.browser().get(PUBLIC_HOST, "/")
    assert eventually(lambda: sum(line["site"] == "public" for line in lines(file)) >= 20)
    identifiers = [line["request"] for line in lines(file)]
    assert len(identifiers) == len(set(identifiers))


def test_a_file_that_was_moved_away_is_made_anew(logged: tuple[WholeGateway, Path]) -> None:
    gateway, file = logged
    gateway.browser().get(PUBLIC_HOST, "/before")
    assert eventually(lambda: found(file, path="/before") is not None)
    file.rename(file.with_suffix(".1"))

    def is_written_anew() -> bool:
        gateway.browser().get(PUBLIC_HOST, "/after")
        return found(file, path="/after") is not None

    assert eventually(is_written_anew)
    assert found(file.with_suffix(".1"), path="/before") is not None
