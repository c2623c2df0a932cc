"""Clause A.8: whether a browser is one of the notice's table 3, by its User-Agent."""

from __future__ import annotations

import re

from mtls_gateway.config import Browsers

_REMEMBERED = 4_096
#: Octets of a User-Agent that are looked at: patterns come from the configuration, the text from outside.
_LONGEST = 512


class BrowserTable:
    """The table of one configuration."""

    __slots__ = ("_browsers", "_known", "_systems", "advises", "enforces")

    def __init__(self, table: Browsers) -> None:
        self._systems = tuple(re.compile(row.pattern) for row in table.systems)
        self._browsers = tuple(re.compile(row.pattern) for row in table.browsers)
        #: An unsupported browser gets a banner.
        self.advises = table.mode != "off"
        #: An unsupported browser gets the refusal page instead of the sign-in pages.
        self.enforces = table.mode == "enforce"
        self._known: dict[bytes, bool] = {}

    def is_supported(self, user_agent: bytes) -> bool:
        """Whether system and browser both have a row; a table without rows says nothing. True when ``off``."""
        if not self.advises:
            return True
        user_agent = user_agent[:_LONGEST]
        supported = self._known.get(user_agent)
        if supported is None:
            text = user_agent.decode("latin-1")
            supported = all(
                not rows or any(row.search(text) for row in rows) for rows in (self._systems, self._browsers)
            )
            if len(self._known) < _REMEMBERED:
                self._known[user_agent] = supported
        return supported
