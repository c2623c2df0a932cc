"""A backend whose answers go on until they are cut: ``/stream`` (chunked) and ``/socket`` (WebSocket), and ``/page``.

Run by the benchmark: ``python -m benchmarks.live_backend PORT``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import uvloop
from aiohttp import web

#: Seconds between two pieces, so that a cut is seen when it happens; the longest that anything goes on.
_EVERY = 0.005
_LONGEST = 60.0
_PAGE = b"x" * 2048


async def _page(request: web.Request) -> web.Response:
    return web.Response(body=_PAGE, content_type="text/html")


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _ in range(int(_LONGEST / _EVERY)):
            await response.write(b"y" * 1024)
            await asyncio.sleep(_EVERY)
    return response


async def _socket(request: web.Request) -> web.WebSocketResponse:
    response = web.WebSocketResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _ in range(int(_LONGEST / _EVERY)):
            await response.send_str("tick")
            await asyncio.sleep(_EVERY)
    return response


def main() -> None:
    """Serve until SIGTERM."""
    uvloop.install()
    application = web.Application()
    application.router.add_get("/page", _page)
    application.router.add_get("/stream", _stream)
    application.router.add_get("/socket", _socket)
    web.run_app(
        application,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        backlog=4096,
        shutdown_timeout=1,
        keepalive_timeout=600,
    )


if __name__ == "__main__":
    main()
