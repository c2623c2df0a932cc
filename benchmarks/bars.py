"""How far each goal is reached, as an SVG picture: one bar for each, all of one scale, a line where it is reached."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

from benchmarks.goals import AT_LEAST, AT_MOST

_WIDTH, _ROW, _TOP = 760, 22, 52
_LEFT, _RIGHT = 290, 110
#: Times the goal at which a bar ends; what is better is written beside it.
_LONGEST = 3.0


def reached(figures: Mapping[str, float]) -> dict[str, float]:
    """Of each goal that was measured how many times it is reached: 1 is just so, more is better."""
    shares = {name: figures[name] / goal for name, goal in AT_LEAST.items() if name in figures}
    for name, goal in AT_MOST.items():
        if name in figures:
            shares[name] = goal / figures[name] if figures[name] > goal / 100 else 100.0
    return shares


def picture(title: str, figures: Mapping[str, float]) -> str:
    """The picture of every goal that was measured."""
    shares = reached(figures)
    height = _TOP + _ROW * len(shares) + 16
    unit = (_WIDTH - _LEFT - _RIGHT) / _LONGEST
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="11" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_WIDTH / 2}" y="20" text-anchor="middle" font-size="13" fill="#222222">{escape(title)}</text>',
        f'<text x="{_LEFT + unit:.1f}" y="40" text-anchor="middle" fill="#222222">goal</text>',
    ]
    for number, (name, share) in enumerate(shares.items()):
        y = _TOP + _ROW * number
        # Told apart by the line as well, for whoever does not tell colours apart.
        colour = "#3f8f4f" if share >= 1 else "#c2571a"
        goal = f">= {AT_LEAST[name]:g}" if name in AT_LEAST else f"<= {AT_MOST[name]:g}"
        end = _LEFT + unit * min(share, _LONGEST)
        parts += [
            f'<text x="{_LEFT - 6}" y="{y + 12}" text-anchor="end" fill="#222222">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{end - _LEFT:.1f}" height="{_ROW - 7}" fill="{colour}"/>',
            f'<text x="{end + 5:.1f}" y="{y + 12}" fill="#222222">{escape(f"{figures[name]:g} ({goal})")}</text>',
        ]
    parts.append(f'<path d="M{_LEFT + unit:.1f} {_TOP - 6}V{height - 10}" stroke="#222222"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"
