"""Draws the app's icon, a shield with a tick, as windows/art.c draws it in the wizard: ``icon.py OUTPUT.ico``."""

from __future__ import annotations

import math
import struct
import sys
from pathlib import Path

SIZES = (16, 20, 24, 32, 40, 48, 64)
SAMPLES = 4
NAVY, GOLD, WHITE = (11, 61, 102), (201, 162, 75), (255, 255, 255)


def in_shield(x: float, y: float, more: float) -> bool:
    """Is the point of the unit square in the shield, its edge grown outwards by ``more``?"""
    half = 0.40 + more
    if not 0.06 - more <= y <= 0.96 + more:
        return False
    if y > 0.45:
        half *= math.sqrt(max(0.0, 1.0 - ((y - 0.45) / (0.51 + more)) ** 3))
    return abs(x - 0.5) <= half


def from_line(x: float, y: float, x1: float, y1: float, x2: float, y2: float) -> float:
    """How far the point is from the line between two others."""
    along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / ((x2 - x1) ** 2 + (y2 - y1) ** 2)
    along = min(1.0, max(0.0, along))
    return math.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1))


def colour_at(x: float, y: float) -> tuple[int, int, int] | None:
    """The colour of a point of the unit square; None outside."""
    if in_shield(x, y, -0.035):
        tick = min(from_line(x, y, 0.30, 0.50, 0.45, 0.65), from_line(x, y, 0.45, 0.65, 0.71, 0.33))
        return WHITE if tick < 0.065 else NAVY
    return GOLD if in_shield(x, y, 0.0) else None


def pixel(column: int, row: int, size: int) -> tuple[int, int, int, int]:
    """Red, green, blue and opacity, averaged."""
    found = []
    for sample in range(SAMPLES * SAMPLES):
        x = (column + (sample % SAMPLES + 0.5) / SAMPLES) / size
        y = (row + (sample // SAMPLES + 0.5) / SAMPLES) / size
        if (colour := colour_at(x, y)) is not None:
            found.append(colour)
    if not found:
        return 0, 0, 0, 0
    red, green, blue = (round(sum(colour[part] for colour in found) / len(found)) for part in range(3))
    return red, green, blue, round(255 * len(found) / SAMPLES**2)


def bitmap(rows: list[list[tuple[int, int, int, int]]]) -> bytes:
    """A device-independent bitmap as icons hold it: from the bottom up, an empty mask behind it."""
    size = len(rows)
    head = struct.pack("<IiiHHIIiiII", 40, size, 2 * size, 1, 32, 0, 0, 0, 0, 0, 0)
    colours = b"".join(
        bytes((blue, green, red, opacity)) for row in reversed(rows) for red, green, blue, opacity in row
    )
    return head + colours + bytes((size + 31) // 32 * 4 * size)


def icon() -> bytes:
    """The whole file."""
    images = []
    for size in SIZES:
        rows = [[pixel(column, row, size) for column in range(size)] for row in range(size)]
        images.append(bitmap(rows))
    offset = 6 + 16 * len(images)
    directory = struct.pack("<HHH", 0, 1, len(images))
    for size, image in zip(SIZES, images, strict=True):
        directory += struct.pack("<BBBBHHII", size, size, 0, 0, 1, 32, len(image), offset)
        offset += len(image)
    return directory + b"".join(images)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(icon())
