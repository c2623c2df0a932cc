"""What the pages say: one catalogue per language, with the same keys."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources
from typing import Any, Final

LANGUAGES: Final = ("ja", "en")
#: Japan Standard Time, which has had no summer time since 1951: needs no time zone database.
JAPAN = timezone(timedelta(hours=9), "JST")

Texts = Mapping[str, Any]


def read_texts() -> Mapping[str, Texts]:
    """The catalogues by language."""
    folder = resources.files("mtls_gateway.web") / "templates"
    return {
        language: tomllib.loads((folder / f"{language}.toml").read_text(encoding="utf-8")) for language in LANGUAGES
    }


def other_language(language: str) -> str:
    """The language beside."""
    return "en" if language == "ja" else "ja"


def choose_language(asked: str | None, remembered: str | None, accept_language: str) -> str:
    """``?lang=``, else the cookie, else the first of Accept-Language that there is, else Japanese."""
    for wanted in (asked, remembered):
        if wanted in LANGUAGES:
            return wanted
    weighted = []
    for place, item in enumerate(accept_language.split(",")[:20]):
        tag, _, parameters = item.partition(";")
        weight = parameters.strip().removeprefix("q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        weighted.append((-quality, place, tag.strip().lower().partition("-")[0]))
    for negated, _, primary in sorted(weighted):
        if primary in LANGUAGES and negated < 0:
            return primary
    return "ja"


def print_moment(moment: float, texts: Texts) -> str:
    """A POSIX time as customers read it: Japan time, to the minute."""
    there = datetime.fromtimestamp(moment, UTC).astimezone(JAPAN)
    parts = {"year": there.year, "month": there.month, "day": there.day, "hour": there.hour, "minute": there.minute}
    return str(texts["common"]["date_time"] % parts + texts["common"]["japan_time"])


def print_day(moment: float, texts: Texts) -> str:
    """The date of a POSIX time in Japan."""
    there = datetime.fromtimestamp(moment, UTC).astimezone(JAPAN)
    return str(texts["common"]["date"] % {"year": there.year, "month": there.month, "day": there.day})


def days_left(until: float, now: float) -> int:
    """Whole days of the calendar in Japan from ``now`` to ``until``; 0: today; never negative."""
    first = datetime.fromtimestamp(now, UTC).astimezone(JAPAN).date()
    last = datetime.fromtimestamp(until, UTC).astimezone(JAPAN).date()
    return max((last - first).days, 0)
