"""The CRLs of our own issuers, as a stranger gets them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtls_gateway.model import Site
from tests.web.portal_client import Portal

CRL = bytes(range(256)) * 4_096


@pytest.fixture
def file(portal: Portal) -> Path:
    directory = portal.configuration.published_directory
    directory.mkdir()
    file = directory / "issuing-1.crl"
    file.write_bytes(CRL)
    return file


async def test_a_stranger_gets_it_whole_and_may_keep_it_for_a_while(portal: Portal, file: Path) -> None:
    answer = await portal.stranger().get("/gateway/crl/issuing-1.crl")
    assert (answer.status, answer.body) == (200, CRL)
    assert answer.one("Content-Type") == "application/pkix-crl"
    assert answer.one("Cache-Control").startswith("public, max-age=")
    assert answer.one("Content-Length") == str(len(CRL))
    assert answer.all("Set-Cookie") == []


async def test_head_says_the_same_without_it(portal: Portal, file: Path) -> None:
    answer = await portal.stranger().send("HEAD", "/gateway/crl/issuing-1.crl")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.one("Content-Length") == str(len(CRL))
    assert answer.all("ETag") and answer.all("Last-Modified")


async def test_who_has_it_already_is_told_so_and_who_has_another_gets_the_new_one(portal: Portal, file: Path) -> None:
    first = await portal.stranger().get("/gateway/crl/issuing-1.crl")
    for name in ("ETag", "Last-Modified"):
        asked = {"If_None_Match" if name == "ETag" else "If_Modified_Since": first.one(name)}
        again = await portal.stranger().get("/gateway/crl/issuing-1.crl", **asked)
        assert (again.status, again.body) == (304, b"")
    newer = file.with_name("newer")
    newer.write_bytes(CRL[:-1])
    os.utime(newer, (2_000_000_000, 2_000_000_000))
    newer.replace(file)
    answer = await portal.stranger().get("/gateway/crl/issuing-1.crl", If_None_Match=first.one("ETag"))
    assert (answer.status, answer.body) == (200, CRL[:-1])


@pytest.mark.parametrize(
    "name",
    [
        "nobody.crl",
        "issuing-1",
        "issuing-1.crl.crl",
        "..%2fgateway.sqlite3",
        "..%2f..%2fstate%2fpublished%2fissuing-1.crl",
        "%2e%2e/issuing-1.crl",
        "ISSUING-1.crl",
        ".crl",
        "issuing-1%00.crl",
    ],
)
async def test_nothing_else_is_published(portal: Portal, file: Path, name: str) -> None:
    answer = await portal.stranger().get(f"/gateway/crl/{name}")
    assert answer.status == 404
    assert CRL[:64] not in answer.body


async def test_it_cannot_be_posted_to(portal: Portal, file: Path) -> None:
    assert (await portal.stranger().send("POST", "/gateway/crl/issuing-1.crl")).status == 405


async def test_it_is_there_for_those_who_are_signed_in_as_well(portal: Portal, file: Path) -> None:
    answer = await portal.browser(site=Site.PUBLIC).get("/gateway/crl/issuing-1.crl")
    assert answer.status == 200
