"""What stands behind nginx's ``auth_request``: aiohttp on uvloop, the same checks that the gateway makes.

Run by the benchmark: ``python -m benchmarks.peers.judge_service SOCKET ROWS``. On each request: the certificate is
registered and neither revoked nor past its end, the session lives, and was opened with this certificate.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop
from aiohttp import web

_HOUR = 3600.0


@dataclass(slots=True)
class _Session:
    certificate: tuple[str, str]
    ends: float
    last_used: float


class Judge:
    """Dictionaries only: a real one would ask a database now and then, and be slower."""

    def __init__(self, rows: dict[str, str]) -> None:
        certificate = (rows["issuer"], rows["serial"])
        now = time.time()
        self._users = {certificate: (rows["user"], now + 24 * _HOUR)}
        self._revoked: set[tuple[str, str]] = set()
        self._sessions = {rows["session"]: _Session(certificate, now + 8 * _HOUR, now)}

    async def judge(self, request: web.Request) -> web.Response:
        """204 with the user, or why not."""
        now = time.time()
        headers = request.headers
        certificate = (headers.get("X-Certificate-Issuer", ""), headers.get("X-Certificate-Serial", ""))
        registered = self._users.get(certificate)
        if registered is None or certificate in self._revoked or now >= registered[1]:
            return web.Response(status=403)
        session = self._sessions.get(request.cookies.get("__Host-ib-session", ""))
        if session is None or session.certificate != certificate or now >= session.ends:
            return web.Response(status=401)
        if now - session.last_used > _HOUR / 4:
            return web.Response(status=401)
        session.last_used = now
        return web.Response(status=204, headers={"X-User-ID": registered[0]})


def main() -> None:
    """Serve until SIGTERM."""
    uvloop.install()
    socket, rows = sys.argv[1:]
    application = web.Application()
    application.router.add_get("/judge", Judge(json.loads(Path(rows).read_text())).judge)
    web.run_app(application, path=socket, access_log=None, print=None, backlog=4096)


if __name__ == "__main__":
    main()
