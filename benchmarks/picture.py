"""Curves as an SVG picture: a logarithmic axis of what grows, a linear one of what it costs, one line for each series.

Written here, as a chart of three lines needs no library: SVG 1.1, text only, readable in both light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 40, 40, 74
#: Told apart by their dashes too, for whoever does not tell colours apart.
_STROKES = (("#1f6fb2", ""), ("#c2571a", "6 3"), ("#3f8f4f", "2 3"), ("#8a4fb0", "9 3 2 3"))


@dataclass(frozen=True)
class Series:
    """One line; points in the order of what grows."""

    name: str
    points: Sequence[tuple[float, float]]


def chart(title: str, across: str, up: str, lines: Sequence[Series]) -> str:
    """The picture. What grows must be above zero; the other axis begins at zero, so that flat looks flat."""
    if len(lines) > len(_STROKES):
        raise ValueError(f"{len(lines)} lines in one picture; at most {len(_STROKES)} can be told apart")
    growing = [x for line in lines for x, _ in line.points]
    low, high = math.log10(min(growing)), math.log10(max(growing))
    top = _round_up(max(y for line in lines for _, y in line.points))

    def place(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(x) - low) / (high - low or 1.0)
        return (
            _LEFT + share * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        'font-family="sans-serif" font-size="11" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_WIDTH / 2, 18, title, anchor="middle", size=13),
        _text(_LEFT, 34, up),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - _BOTTOM + 34, across, anchor="middle"),
    ]
    for step in range(5):
        value = top * step / 4
        _, y = place(10**low, value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#dddddd"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{value:,.6g}", anchor="end"))
    for power in range(math.ceil(low), math.floor(high) + 1):
        x, _ = place(10**power, 0)
        parts.append(f'<path d="M{x:.1f} {_HEIGHT - _BOTTOM}v5" stroke="#555555"/>')
        parts.append(_text(x, _HEIGHT - _BOTTOM + 18, f"{10**power:,}", anchor="middle"))
    for number, (line, (colour, dashes)) in enumerate(zip(lines, _STROKES, strict=False)):
        parts += _line([place(*point) for point in line.points], colour, dashes)
        x, y = _LEFT + number % 2 * 290, _HEIGHT - 24 + number // 2 * 15
        parts.append(f'<path d="M{x} {y - 4}h24" {_stroke(colour, dashes)}/>')
        parts.append(_text(x + 30, y, line.name))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(points: Sequence[tuple[float, float]], colour: str, dashes: str) -> list[str]:
    drawn = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return [f'<path d="M{drawn}" fill="none" {_stroke(colour, dashes)}/>', *dots]


def _stroke(colour: str, dashes: str) -> str:
    return f'stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="#222222">{escape(text)}</text>'
    )


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5 or 10 times a power of ten, with a little room above."""
    power: float = 10 ** math.floor(math.log10(value * 1.1))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= value * 1.1)
