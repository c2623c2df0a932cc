"""The portal's own client of the legacy backend; satisfies ``signin.ports.LegacyHttp``.

Nothing is done behind the caller's back: no redirect is followed, no cookie kept, no body decompressed, no
proxy of the environment used. Every exchange has its own connection, so that none is ever repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import aiohttp
from yarl import URL

from mtls_gateway.config import Timeouts
from mtls_gateway.errors import LegacyUnavailable, LegacyUnreachable
from mtls_gateway.signin.ports import LegacyResponse

_OWN = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_LONGEST_HEADER = 65_536


class LegacyClient:
    """Open it inside a running loop; close it, or use it as a context manager."""

    def __init__(self, timeouts: Timeouts, *, at_once: int = 100) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=at_once),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_OWN,
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=timeouts.backend_connect,
                sock_read=timeouts.backend_first_octet,
            ),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )

    async def __aenter__(self) -> LegacyClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def exchange(
        self,
        backend: str,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        *,
        maximum_octets: int,
    ) -> LegacyResponse:
        """One request to the backend of that address, and its answer.

        Raises:
            LegacyUnreachable: no connection was made, and nothing sent.
            LegacyUnavailable: no answer, not in time, longer than ``maximum_octets``, or compressed unasked.
        """
        url = URL(backend.rstrip("/") + target, encoded=True)
        try:
            return await self._exchange(method, url, headers, body, maximum_octets)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise LegacyUnreachable(f"{backend}: {error or 'no connection in time'}") from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise LegacyUnavailable(f"{backend}: {method} {url.path}: {error or type(error).__name__}") from error

    async def _exchange(
        self, method: str, url: URL, headers: Sequence[tuple[str, str]], body: bytes | None, maximum_octets: int
    ) -> LegacyResponse:
        async with self._session.request(method, url, headers=headers, data=body, allow_redirects=False) as response:
            if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
                raise LegacyUnavailable(f"{url.path}: the answer is compressed, although that was not accepted")
            received = bytearray()
            async for piece in response.content.iter_chunked(65_536):
                received += piece
                if len(received) > maximum_octets:
                    raise LegacyUnavailable(f"{url.path}: the answer is longer than {maximum_octets} octets")
            fields = [
                (name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in response.raw_headers
            ]
            return LegacyResponse(response.status, fields, bytes(received), str(url))
