"""The portal's client does nothing behind its caller's back."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from mtls_gateway.config import Timeouts
from mtls_gateway.errors import LegacyUnavailable, LegacyUnreachable
from mtls_gateway.web.legacy_http import LegacyClient
from tests.signin.legacy_applications import running

LIMIT = 100_000


@pytest.fixture
async def backend() -> AsyncIterator[str]:
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.json_response({"target": request.raw_path, "headers": list(map(list, request.headers.items()))})

    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/echo", "Set-Cookie": "a=1"})

    async def compressed(request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(b"x"), headers={"Content-Encoding": "gzip"})

    async def long(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * (LIMIT + 1))

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"x")
        assert request.transport is not None
        request.transport.abort()
        return response

    application = web.Application()
    for name, handler in {"echo": echo, "redirect": redirect, "gzip": compressed, "long": long, "cut": cut}.items():
        application.router.add_route("*", f"/{name}", handler)
    application.router.add_route("*", "/echo/{tail:.*}", echo)
    async with running(application) as address:
        yield address


@pytest.fixture
async def client() -> AsyncIterator[LegacyClient]:
    async with LegacyClient(Timeouts()) as opened:
        yield opened


async def test_only_the_given_headers_are_sent(client: LegacyClient, backend: str) -> None:
    answer = await client.exchange(
        backend, "GET", "/echo", [("Host", "bank.example"), ("X-A", "1")], None, maximum_octets=LIMIT
    )
    assert b'"headers": [["Host", "bank.example"], ["X-A", "1"], ["Connection", "close"]]' in answer.body


@pytest.mark.parametrize("target", ["/echo/a%2Fb;jsessionid=1?q=%E3%81%82&r=%82%A0", "/echo/%7E~//x"])
async def test_the_target_is_sent_as_it_is_written(client: LegacyClient, backend: str, target: str) -> None:
    answer = await client.exchange(backend, "GET", target, [], None, maximum_octets=LIMIT)
    assert target.encode() in answer.body


async def test_redirects_are_not_followed_and_cookies_not_kept(client: LegacyClient, backend: str) -> None:
    answer = await client.exchange(backend, "GET", "/redirect", [], None, maximum_octets=LIMIT)
    assert answer.status == 302 and ("Set-Cookie", "a=1") in answer.headers
    assert b"Cookie" not in (await client.exchange(backend, "GET", "/echo", [], None, maximum_octets=LIMIT)).body


@pytest.mark.parametrize(("path", "cause"), [("/gzip", "compressed"), ("/long", "longer than"), ("/cut", "GET /cut")])
async def test_an_answer_that_cannot_be_used_is_refused(
    client: LegacyClient, backend: str, path: str, cause: str
) -> None:
    with pytest.raises(LegacyUnavailable, match=cause):
        await client.exchange(backend, "GET", path, [], None, maximum_octets=LIMIT)


async def test_a_backend_that_takes_no_connection_is_told_from_one_that_gives_no_answer(
    client: LegacyClient, backend: str, free_port: int
) -> None:
    with pytest.raises(LegacyUnreachable):
        await client.exchange(f"http://127.0.0.1:{free_port}", "POST", "/echo", [], b"", maximum_octets=LIMIT)
    with pytest.raises(LegacyUnavailable) as error:
        await client.exchange(backend, "GET", "/cut", [], None, maximum_octets=LIMIT)
    assert not isinstance(error.value, LegacyUnreachable)


async def test_a_backend_whose_certificate_is_not_known_gets_nothing(backend: str) -> None:
    async with LegacyClient(Timeouts()) as client:
        with pytest.raises(LegacyUnavailable):
            await client.exchange(
                backend.replace("http://", "https://"), "GET", "/echo", [], None, maximum_octets=LIMIT
            )
