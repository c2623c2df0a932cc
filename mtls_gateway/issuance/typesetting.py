"""Japanese lines: where they may break, and how large a text may be set to fit its place.

A line never begins with a closing mark, a small kana or a long vowel mark, and never ends with an opening mark (JIS X
4051, section 6.1); words and numbers of the Latin alphabet are kept whole while they fit a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

NEVER_FIRST: Final = frozenset(
    "、。，．,.・：；:;？！?!）)］]｝}」』】〉》〕”’ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ々〜～…％%"
)
NEVER_LAST: Final = frozenset("（([［{｛「『【〈《〔“‘〒￥\\")
#: A word of printing ASCII, or any one other character.
_PIECES: Final = re.compile(r"[!-~]+|.", re.DOTALL)
#: Between the sizes that are tried, in points.
_STEP: Final = 0.5


class Measure(Protocol):
    """What is needed of a typeface."""

    def width(self, text: str) -> int:
        """Of one line, in thousandths of its size."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """A place for text: lengths in points."""

    width: float
    height: float
    #: The largest size that is tried, and the smallest.
    sizes: tuple[float, float]
    #: The distance of lines, and what is added between paragraphs, as multiples of the size.
    leading: float = 1.4
    gap: float = 0.0
    #: How far the lines are indented, as a multiple of the size.
    indent: float = 0.0


@dataclass(frozen=True, slots=True)
class Fitted:
    """Paragraphs of lines, and the size in which they fit."""

    size: float
    paragraphs: tuple[tuple[str, ...], ...]
    height: float


def fit(paragraphs: Sequence[str], measure: Measure, room: Room) -> Fitted:
    """``paragraphs`` in the largest size in which all their lines fit into ``room``.

    Raises:
        ValueError: they do not fit in the smallest size either.
    """
    size, smallest = room.sizes
    while size >= smallest:
        width = (room.width / size - room.indent) * 1000
        broken = tuple(tuple(wrap(paragraph, measure, width)) for paragraph in paragraphs)
        lines = sum(map(len, broken))
        height = size * (1 + (lines - 1) * room.leading + (len(broken) - 1) * room.gap) if lines else 0.0
        if height <= room.height:
            return Fitted(size, broken, height)
        size -= _STEP
    raise ValueError(f"{sum(map(len, paragraphs))} characters do not fit into their place")


def wrap(text: str, measure: Measure, width: float) -> Iterator[str]:
    """The lines of one paragraph; ``width`` is in thousandths of the size. An empty one is one empty line."""
    rest = list(_pieces(text, measure, width))
    while rest:
        taken = _fitting(rest, measure, width)
        line, rest = rest[:taken], rest[taken:]
        yield "".join(line).rstrip(" \u3000") if rest else "".join(line)
        while rest and rest[0] == " ":
            rest.pop(0)
    if not text:
        yield ""


def _pieces(text: str, measure: Measure, width: float) -> Iterator[str]:
    for piece in _PIECES.findall(text):
        if len(piece) > 1 and measure.width(piece) > width:
            yield from piece
        else:
            yield piece


def _fitting(pieces: Sequence[str], measure: Measure, width: float) -> int:
    """How many of ``pieces`` stand on the next line; at least one."""
    taken, used = 0, 0
    for piece in pieces:
        used += measure.width(piece)
        if used > width:
            break
        taken += 1
    if taken == len(pieces):
        return taken
    for here in range(taken, 0, -1):
        if pieces[here][0] not in NEVER_FIRST and pieces[here - 1][-1] not in NEVER_LAST:
            return here
    # Marks only, all the way: better a bad break than none.
    return max(taken, 1)
