"""The cookies of one dialogue with the legacy backend, kept as a browser would keep them (RFC 6265, section 5).

What the backend does not see is not asked: every cookie goes back to it whatever its ``Secure`` and
``Domain`` say, because the hop behind the gateway is plain and named otherwise than in the browser.
"""

from __future__ import annotations

import re
from email.utils import mktime_tz, parsedate_tz

from mtls_gateway.clock import Clock
from mtls_gateway.signin.ports import LegacyCookie

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: As many as browsers keep for one site at least (RFC 6265, section 6.1).
_MAXIMUM = 50


class LegacyCookies:
    """A jar for one dialogue."""

    __slots__ = ("_clock", "_kept")

    def __init__(self, clock: Clock, cookies: tuple[LegacyCookie, ...] = ()) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, str], LegacyCookie] = {}
        for cookie in cookies:
            path = _attribute(cookie.attributes, "path") or "/"
            self._kept[cookie.name, path] = cookie

    def take(self, set_cookie: str, path: str) -> str | None:
        """Keep, replace or delete what one ``Set-Cookie`` value says; ``path`` is the request's.

        Returns the cookie's name when it was kept.
        """
        pair, _, attributes = set_cookie.partition(";")
        name, separator, value = (part.strip() for part in pair.partition("="))
        if not separator or not name or _CONTROL.search(set_cookie):
            return None
        attributes = attributes.strip()
        where = _attribute(attributes, "path")
        if where is None or not where.startswith("/"):
            # The browser would take it from the address it asked for, which is the portal's here: say it.
            where = path[: path.rfind("/")] or "/"
            attributes = f"{attributes}; Path={where}" if attributes else f"Path={where}"
        key = (name, where)
        if self._is_over(attributes):
            self._kept.pop(key, None)
            return None
        if key not in self._kept and len(self._kept) >= _MAXIMUM:
            return None
        self._kept[key] = LegacyCookie(name, value, attributes)
        return name

    def header(self, path: str) -> str:
        """The ``Cookie`` value for a request to ``path``; longer paths first, "" when there is none."""
        fitting = [(where, cookie) for (_, where), cookie in self._kept.items() if _path_matches(path, where)]
        fitting.sort(key=lambda pair: -len(pair[0]))
        return "; ".join(f"{cookie.name}={cookie.value}" for _, cookie in fitting)

    def all(self) -> tuple[LegacyCookie, ...]:
        """Everything kept."""
        return tuple(self._kept.values())

    def _is_over(self, attributes: str) -> bool:
        age = _attribute(attributes, "max-age")
        if age is not None and re.fullmatch(r"-?\d{1,18}", age):
            return int(age) <= 0
        expires = _attribute(attributes, "expires")
        if expires is None:
            return False
        date = parsedate_tz(expires)
        try:
            return date is not None and mktime_tz(date) <= self._clock.now()
        except (OverflowError, ValueError):
            return False


def _attribute(attributes: str, wanted: str) -> str | None:
    """The last attribute of that name, as RFC 6265 says."""
    found = None
    for attribute in attributes.split(";"):
        name, _, value = attribute.partition("=")
        if name.strip().lower() == wanted:
            found = value.strip()
    return found


def _path_matches(path: str, where: str) -> bool:
    """RFC 6265, section 5.1.4."""
    return path == where or (path.startswith(where) and (where.endswith("/") or path[len(where)] == "/"))
