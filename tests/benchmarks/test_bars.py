from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.bars import picture, reached
from benchmarks.goals import AT_LEAST, AT_MOST

SVG = "{http://www.w3.org/2000/svg}"
FIGURES = {
    "full_handshakes_vs_nginx": 1.1,
    "requests_vs_nginx_lua": 1.5,
    "idle_kb_vs_nginx": 2.4,
    "memory_moved_mb": 0.0,
}


def test_a_goal_is_reached_as_often_as_its_figure_is_good_enough() -> None:
    assert reached({name: goal for goals in (AT_LEAST, AT_MOST) for name, goal in goals.items()}) == dict.fromkeys(
        [*AT_LEAST, *AT_MOST], 1.0
    )
    assert reached(FIGURES) == {
        "full_handshakes_vs_nginx": 0.5,
        "requests_vs_nginx_lua": 1.5,
        "idle_kb_vs_nginx": 0.5,
        "memory_moved_mb": 100.0,
    }


def test_each_goal_that_was_measured_has_a_bar_of_its_length_with_its_figure_beside_it() -> None:
    drawn = ElementTree.fromstring(picture("a < b", FIGURES))
    _, *bars = drawn.iter(f"{SVG}rect")
    half, more, half_too, longest = (float(bar.attrib["width"]) for bar in bars)
    assert half == half_too
    assert abs(more - 3 * half) < 0.2
    assert abs(longest - 6 * half) < 0.2
    texts = [each.text for each in drawn.iter(f"{SVG}text")]
    assert "1.1 (>= 2.2)" in texts and "2.4 (<= 1.2)" in texts
