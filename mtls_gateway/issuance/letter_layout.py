"""The procedure letter's layout: what stands where on its pages, read from ``templates/letter.ja.toml``.

A text that holds a value of the letter is set anew for each user; all others are set once, and every page refers to
them (form XObjects, ISO 32000-1, section 8.10). This is what makes a file of thousands small and quick.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from mtls_gateway.issuance.typeface import Typeface
from mtls_gateway.issuance.typesetting import Fitted, Room, fit

#: A4, in points.
PAGE_WIDTH: Final = 595.276
PAGE_HEIGHT: Final = 841.89
_POINTS: Final = 72 / 25.4
#: From the top of a line to its baseline, and the strength of a bold stroke, as multiples of the size.
_BASELINE: Final = 0.88
_BOLD: Final = 0.028
_INDENT: Final = 1.8
_FIRST_NUMBER: Final = 0x2460

#: Encodes a run of text for one of the faces, by its place.
Encode = Callable[[int, str], str]
Millimetres = Annotated[float, Field(ge=0, le=297)]
Points = Annotated[float, Field(gt=0, le=72)]


class Element(BaseModel):
    """One thing on a page; lengths as in the file: millimetres from the top left, sizes in points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: Annotated[int, Field(ge=1)]
    kind: Literal["text", "frame", "line"] = "text"
    box: tuple[Millimetres, Millimetres, Millimetres, Millimetres]
    text: str = ""
    size: Points = 10
    #: The smallest size that the text may be set in to fit; left out: no smaller.
    least: Points | None = None
    leading: float = 1.4
    gap: float = 0.0
    bold: bool = False
    align: Literal["left", "centre", "right"] = "left"
    middle: bool = False
    marks: Literal["", "bullets", "numbers"] = ""
    line: float = 0.0
    fill: float | None = None

    def paragraphs(self, values: Mapping[str, str]) -> list[str]:
        """The text with its values; lines that these leave empty are closed up."""
        filled = (self.text % values).split("\n")
        return [line.rstrip() for line in filled if line.strip()]

    def set(self, values: Mapping[str, str], typeface: Typeface) -> Fitted:
        """The lines of the text.

        Raises:
            ValueError: they do not fit into the box.
        """
        width, height = self.box[2] * _POINTS, self.box[3] * _POINTS
        indent = _INDENT if self.marks else 0.0
        room = Room(width, height, (self.size, self.least or self.size), self.leading, self.gap, indent)
        return fit(self.paragraphs(values), typeface, room)

    def draw(self, values: Mapping[str, str], typeface: Typeface, encode: Encode) -> str:
        """The operators of a content stream.

        Raises:
            ValueError: the text does not fit into the box.
        """
        left, top, width, height = (length * _POINTS for length in self.box)
        foot = PAGE_HEIGHT - top - height
        if self.kind == "line":
            return f"{self.line} w {left:.2f} {foot:.2f} m {left + width:.2f} {foot + height:.2f} l S"
        if self.kind == "frame":
            frame = f"{left:.2f} {foot:.2f} {width:.2f} {height:.2f} re"
            return f"q {self.fill} g {frame} f Q" if self.fill is not None else f"{self.line} w {frame} S"
        fitted = self.set(values, typeface)
        size = fitted.size
        down = top + ((height - fitted.height) / 2 if self.middle else 0.0) + _BASELINE * size
        parts = [f"q 2 Tr {size * _BOLD:.2f} w"] if self.bold else []
        for number, lines in enumerate(fitted.paragraphs):
            if self.marks:
                mark = chr(_FIRST_NUMBER + number) if self.marks == "numbers" else "・"
                parts.append(_line(mark, left, PAGE_HEIGHT - down, size, typeface, encode))
            for line in lines:
                start = left + (_INDENT * size if self.marks else 0.0)
                if self.align != "left":
                    spare = width - typeface.width(line) * size / 1000
                    start += spare if self.align == "right" else spare / 2
                parts.append(_line(line, start, PAGE_HEIGHT - down, size, typeface, encode))
                down += size * self.leading
            down += size * self.gap
        return "\n".join([*parts, "Q"] if self.bold else parts)


def _line(text: str, left: float, baseline: float, size: float, typeface: Typeface, encode: Encode) -> str:
    runs = " ".join(f"/F{face} {size:g} Tf <{encode(face, run)}> Tj" for face, run in typeface.runs(text))
    return f"BT {left:.2f} {baseline:.2f} Td {runs} ET"


class Layout(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    weekdays: str
    date: str
    deadline: str
    separator: str
    postal_mark: str
    telephone: str
    hours: str
    elements: tuple[Element, ...]

    @property
    def pages(self) -> range:
        """The numbers of a letter's pages."""
        return range(1, max(element.page for element in self.elements) + 1)


@dataclass(frozen=True)
class Sorted:
    """The elements of one page: those that are the same for all, and those that hold a value of the letter."""

    fixed: tuple[Element, ...]
    varying: tuple[Element, ...]


def sort_page(layout: Layout, page: int, varying: frozenset[str]) -> Sorted:
    """Tell the elements of ``page`` apart; ``varying`` are the names of the letter's values."""
    here = [element for element in layout.elements if element.page == page]
    varies = [any(f"%({name})s" in element.text for name in varying) for element in here]
    return Sorted(
        tuple(element for element, moves in zip(here, varies, strict=True) if not moves),
        tuple(element for element, moves in zip(here, varies, strict=True) if moves),
    )


@cache
def read_layout() -> Layout:
    """The layout that comes with the gateway."""
    file = resources.files("mtls_gateway.issuance").joinpath("templates", "letter.ja.toml")
    return Layout.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
