"""Where CRLs come from: files and HTTP, fetched at the configured places only.

Never from a distribution point that a certificate names: that would let whoever shows one make the bank's machine
ask any address.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp

from mtls_gateway.clock import Clock
from mtls_gateway.config import Crl
from mtls_gateway.errors import TrustMaterialError

_STRONG = timedelta(seconds=2)


@dataclass(slots=True)
class _Fetched:
    """What a source gave last, and what tells whether it would give the same."""

    octets: bytes
    mark: object


class Sources:
    """Fetches CRLs; remembers what was fetched, so that nothing is read twice for nothing."""

    __slots__ = ("_base", "_clock", "_last", "_tried")

    def __init__(self, base: Path, clock: Clock) -> None:
        self._base = base
        self._clock = clock
        self._last: dict[str, _Fetched] = {}
        self._tried: dict[str, float] = {}

    async def fetch(self, crl: Crl) -> tuple[bytes | None, TrustMaterialError | None]:
        """The newest octets that a source gave, if it ever gave any, and why it gave none just now, if it did not.

        It is asked when its ``refresh`` has passed. The same octets are the same object.
        """
        last = self._last.get(crl.source)
        now = self._clock.monotonic()
        error = None
        if crl.source not in self._tried or now - self._tried[crl.source] >= crl.refresh:
            self._tried[crl.source] = now
            try:
                fetched = await (self._over_http(crl, last) if crl.is_http else self._from_file(crl, last))
            except TrustMaterialError as caught:
                error = caught
            else:
                if last is not None and last.octets == fetched.octets:
                    fetched.octets = last.octets
                self._last[crl.source] = last = fetched
        return (None if last is None else last.octets), error

    def distrust(self, source: str) -> None:
        """What it gave was refused and may have been damaged on the way: it is not asked for changes only."""
        if source in self._last:
            self._last[source].mark = None

    async def _from_file(self, crl: Crl, last: _Fetched | None) -> _Fetched:
        return await asyncio.to_thread(_read_file, self._base / crl.source, crl, last)

    async def _over_http(self, crl: Crl, last: _Fetched | None) -> _Fetched:
        # What is sent is what counts: compressed, a small answer could become a huge one.
        headers = {"Accept-Encoding": "identity"}
        if last is not None and isinstance(last.mark, Mapping):
            headers |= last.mark
        timeout = aiohttp.ClientTimeout(total=crl.timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
                session.get(crl.source, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status == 304 and last is not None:
                    return last
                if answer.status != 200:
                    raise TrustMaterialError(crl.source, f"answers {answer.status}", "http_status")
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise TrustMaterialError(crl.source, "answers in a content encoding unasked", "http_status")
                octets = bytearray()
                async for piece in answer.content.iter_any():
                    octets += piece
                    if len(octets) > crl.maximum_octets:
                        raise TrustMaterialError(crl.source, f"has more than {crl.maximum_octets} octets", "oversized")
                mark = _conditions(answer.headers)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            cause = f"cannot be fetched: {error or 'timed out'}"
            raise TrustMaterialError(crl.source, cause, "unreachable") from error
        return _Fetched(bytes(octets), mark)


def _conditions(headers: Mapping[str, str]) -> dict[str, str]:
    """The header fields that ask for another list than this one (RFC 9110, section 13.1)."""
    if "ETag" in headers:
        return {"If-None-Match": headers["ETag"]}
    try:
        age = parsedate_to_datetime(headers["Date"]) - parsedate_to_datetime(headers["Last-Modified"])
    except (KeyError, ValueError, TypeError):
        return {}
    # Seconds only: a list that replaced this one within the same second would never be seen (section 8.8.2.2).
    return {"If-Modified-Since": headers["Last-Modified"]} if age >= _STRONG else {}


def _read_file(path: Path, crl: Crl, last: _Fetched | None) -> _Fetched:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if last is not None and last.mark == mark:
                return last
            octets = file.read(crl.maximum_octets + 1)
    except OSError as error:
        raise TrustMaterialError(crl.source, f"cannot be read: {error.strerror}", "missing") from error
    if len(octets) > crl.maximum_octets:
        raise TrustMaterialError(crl.source, f"has more than {crl.maximum_octets} octets", "oversized")
    return _Fetched(octets, mark)
