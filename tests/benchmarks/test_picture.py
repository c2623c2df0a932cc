from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from benchmarks.picture import Series, chart

SVG = "{http://www.w3.org/2000/svg}"


def circles(picture: str) -> list[tuple[float, float]]:
    drawn = ElementTree.fromstring(picture).iter(f"{SVG}circle")
    return [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in drawn]


def test_a_flat_line_is_drawn_flat_and_powers_of_ten_stand_equally_far_apart() -> None:
    points = [(1.0, 50.0), (10.0, 50.0), (100.0, 50.0), (1_000.0, 50.0)]
    drawn = circles(chart("flat", "users", "microseconds", [Series("a", points)]))
    assert len({y for _, y in drawn}) == 1
    steps = [right[0] - left[0] for left, right in pairwise(drawn)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.11)


def test_the_axis_of_costs_begins_at_zero() -> None:
    (_, twice), (_, once), (_, nothing) = circles(
        chart("t", "x", "y", [Series("a", [(1.0, 2.0), (10.0, 1.0), (100.0, 0.0)])])
    )
    assert nothing - twice == pytest.approx(2 * (nothing - once), abs=0.2)


def test_names_are_text_and_never_markup() -> None:
    picture = chart("a < b & c", "<x>", "y", [Series("<script>", [(1.0, 1.0)])])
    assert [each.text for each in ElementTree.fromstring(picture).iter(f"{SVG}title")] == ["a < b & c"]
    assert not list(ElementTree.fromstring(picture).iter("script"))


def test_more_lines_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 4"):
        chart("t", "x", "y", [Series(str(number), [(1.0, 1.0)]) for number in range(5)])
