"""The CRLs of our own issuers, for everybody: no session, no certificate, no page.

What is published is what the clerk has put in its place; a file is sent as it was when it was opened, however large.
"""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web

from mtls_gateway.issuance.own_crl import crl_file

#: As an issuer's name in the configuration.
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}", re.ASCII)


class PublishedCrls:
    """Serves ``crl/ISSUER.crl``."""

    def __init__(self, directory: Path, cache_seconds: float) -> None:
        """``cache_seconds``: how long caches on the way may keep a list."""
        self._directory = directory
        self._cache = f"public, max-age={int(cache_seconds)}"

    async def show(self, request: web.Request) -> web.StreamResponse:
        """GET and HEAD; ETag, Last-Modified and ranges are the library's."""
        name = request.match_info["issuer"]
        file = crl_file(self._directory, name)
        if not _NAME.fullmatch(name) or not file.is_file():
            raise web.HTTPNotFound
        # RFC 5280, section 4.2.1.13, and RFC 2585, section 4.2.
        headers = {"Content-Type": "application/pkix-crl", "Cache-Control": self._cache}
        return web.FileResponse(file, headers=headers, chunk_size=262_144)
