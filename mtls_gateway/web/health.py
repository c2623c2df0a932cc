"""For those who operate it: /healthz, /readyz and /metrics, on a listener of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from mtls_gateway.errors import GatewayError

#: Seconds for all checks together: whoever asks does not wait longer.
_PATIENCE = 3.0

#: Returns when all is well; raises GatewayError that says what is not.
Check = Callable[[], Awaitable[None]]


def make_operations(
    checks: Mapping[str, Check],
    collect: Callable[[], bytes] = generate_latest,
    *,
    advice: Mapping[str, Check] | None = None,
) -> web.Application:
    """The application; ``checks`` decide whether new visitors should be sent here, ``advice`` is only said.

    ``collect`` gives the metrics in the text format; it may block.
    """

    async def healthz(request: web.Request) -> web.StreamResponse:
        return web.json_response({"alive": True})

    async def readyz(request: web.Request) -> web.StreamResponse:
        results, said = await asyncio.gather(outcomes(checks), outcomes(advice or {}))
        ready = all(result == "ok" for result in results.values())
        body = {"ready": ready, "checks": results, **({"advice": said} if said else {})}
        return web.json_response(body, status=200 if ready else 503)

    async def metrics(request: web.Request) -> web.StreamResponse:
        text = await asyncio.to_thread(collect)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application(middlewares=[web.middleware(_plain)])
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return application


async def _plain(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    response = await handler(request)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


async def outcomes(checks: Mapping[str, Check]) -> dict[str, str]:
    """Make all checks at once; for each ``ok``, or what is wrong."""
    return dict(zip(checks, await asyncio.gather(*map(_outcome, checks.values())), strict=True))


async def _outcome(check: Check) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            await check()
    except GatewayError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {_PATIENCE:g} s"
    return "ok"
