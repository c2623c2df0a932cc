"""Which cookies carry the legacy session, which are the gateway's own, and in which spellings.

Backends do not agree on when two cookie names are the same: ASP.NET ignores case, PHP reads ``.``, a
space and ``[`` as ``_`` and used to decode percent-encoding (CVE-2020-7070), others stop at NUL. Whatever
any of them could take for a bound name is bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum
from urllib.parse import unquote_to_bytes


class CookieFate(IntEnum):
    """What becomes of a cookie, by its name alone."""

    #: Other cookies of the legacy backend's.
    PASS = 1
    #: The legacy session's.
    BOUND = 2
    #: The gateway's own, and what is no cookie's name at all.
    DROP = 3


PASS, BOUND, DROP = CookieFate.PASS, CookieFate.BOUND, CookieFate.DROP
#: The prefix of every cookie that the gateway sets for itself.
OWN_PREFIX = "__Host-ib-"
_REMEMBERED = 4_096
_LONGEST = 256
_PRINTABLE = bytes(range(0x20, 0x7F))
#: Those that no parser takes for the end of a name.
_UNDIVIDED = bytes(set(range(0x21, 0x7F)) - set(b'",;=\\'))
_ALIKE = bytes.maketrans(b". +\t", b"____")


class CookieNames:
    """The fate of cookie names, remembered by spelling; bounded, as spellings come from outside."""

    __slots__ = ("_bound", "_hidden", "_own", "known")

    def __init__(self, session_cookies: Iterable[str], own: str) -> None:
        self._bound = {self.canonical(name.encode()) for name in session_cookies}
        self._own = self.canonical(own.encode())
        #: Spelling to fate; looked into directly on the path of a request.
        self.known: dict[bytes, CookieFate] = {}
        spellings = (re.escape(name).replace(b"_", rb"(?:[._ +\[]|%[0-9a-f]{2})") for name in self._bound)
        #: A bound name behind something that some parser takes for the end of a cookie (RFC 2109: comma, quotes).
        self._hidden = re.compile(rb"(?i)[^!#-+\--:<>-\[\]-~](?:%b)[\"\s]*=" % b"|".join(spellings))

    @staticmethod
    def canonical(name: bytes) -> bytes:
        """One spelling for all that some backend takes for the same name."""
        if b"%" in name:
            name = unquote_to_bytes(unquote_to_bytes(name))
        name = name.partition(b"\0")[0].partition(b"[")[0].strip(b' \t"')
        return name.translate(_ALIKE).lower()

    def decide(self, name: bytes) -> CookieFate:
        """The fate of ``name``, which was not known yet."""
        fate = self._fate_of(name)
        if len(self.known) < _REMEMBERED and len(name) < _LONGEST:
            self.known[name] = fate
        return fate

    def _fate_of(self, name: bytes) -> CookieFate:
        # $Version, $Path and $Domain of RFC 2965 change how some backends read the rest.
        if not name or name.startswith(b"$") or name.translate(None, _PRINTABLE):
            return DROP
        canonical = self.canonical(name)
        if not canonical or canonical == self._own or canonical.startswith(OWN_PREFIX.lower().encode()):
            return DROP
        if canonical in self._bound:
            return BOUND
        return DROP if name.translate(None, _UNDIVIDED) else PASS

    def speaks_of_bound(self, pair: bytes) -> bool:
        """Whether some backend could find a bound cookie inside another one's name or value."""
        if self._hidden.search(pair) is not None:
            return True
        return b"%" in pair and self._hidden.search(unquote_to_bytes(pair)) is not None
