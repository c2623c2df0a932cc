"""What commands print: a table or a list for people, JSON for scripts."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence

from mtls_gateway.cli.settings import Settings

Value = str | int | float | bool | None


def show_rows(settings: Settings, rows: Sequence[Mapping[str, Value]], nothing: str) -> None:
    """Print a table of ``rows``, which have the same columns; ``nothing`` is said when there are none."""
    if settings.as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not rows:
        print(nothing)
        return
    columns = list(rows[0])
    lines = [
        [column.replace("_", " ") for column in columns],
        *([_text(row[name]) for name in columns] for row in rows),
    ]
    widths = [max(_width(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        print("  ".join(_padded(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip())


def show_one(settings: Settings, row: Mapping[str, Value]) -> None:
    """Print one thing, a line for each of its properties."""
    if settings.as_json:
        print(json.dumps(row, ensure_ascii=False, indent=2))
        return
    width = max(len(name) for name in row)
    for name, value in row.items():
        print(f"{name.replace('_', ' '):<{width}}  {_text(value)}")


def show_report(
    settings: Settings, summary: Mapping[str, Value], name: str, rows: Sequence[Mapping[str, Value]]
) -> None:
    """Print one thing and the table that belongs to it; in JSON the table is its property ``name``."""
    if settings.as_json:
        print(json.dumps({**summary, name: rows}, ensure_ascii=False, indent=2))
        return
    show_one(settings, summary)
    if rows:
        print()
        show_rows(settings, rows, "")


def done(settings: Settings, sentence: str, **facts: Value) -> None:
    """Say what was done; for scripts, its facts."""
    print(json.dumps(facts, ensure_ascii=False) if settings.as_json else sentence)


def counted(number: int, thing: str, things: str | None = None) -> str:
    """``1 session``, ``2 sessions``; ``things`` where an s is not enough."""
    return f"{number} {thing}" if number == 1 else f"{number} {things or thing + 's'}"


def _text(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _width(text: str) -> int:
    """Columns on a terminal: Japanese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
