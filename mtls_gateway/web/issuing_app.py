"""The issuing app (証明書発行アプリ), a file that the bank gives out from its enrolment pages."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiohttp import web


@dataclass(frozen=True, slots=True)
class AppFile:
    """What a customer is told of the file."""

    name: str
    octets: int
    #: Hexadecimal.
    sha256: str


class IssuingApp:
    """The file at ``path``, described and sent; one that is replaced is described anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._described: tuple[tuple[int, int, int], AppFile] | None = None

    async def describe(self) -> AppFile | None:
        """Name, size and digest; None: the file is not there."""
        return await asyncio.to_thread(self._describe)

    async def send(self) -> web.StreamResponse:
        """The file itself, streamed.

        Raises:
            web.HTTPException: 404, it is not there.
        """
        if await self.describe() is None:
            raise web.HTTPNotFound
        name = self._path.name
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        headers = {
            "Content-Type": "application/octet-stream",
            # RFC 6266: the second for browsers that read it, the first for all others.
            "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        }
        return web.FileResponse(self._path, headers=headers)

    def _describe(self) -> AppFile | None:
        try:
            with self._path.open("rb") as file:
                status = self._path.stat()
                state = (status.st_ino, status.st_size, status.st_mtime_ns)
                if self._described is None or self._described[0] != state:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    self._described = (state, AppFile(self._path.name, status.st_size, digest))
        except OSError:
            return None
        return self._described[1]
