from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.issuance.typesetting import NEVER_FIRST, NEVER_LAST, Room, fit, wrap


class Squares:
    """ASCII is half as wide as everything else."""

    def width(self, text: str) -> int:
        return sum(500 if character.isascii() else 1000 for character in text)


SQUARES = Squares()


def _lines(text: str, width: int) -> list[str]:
    return list(wrap(text, SQUARES, width * 1000))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("発行コード", ["発行コード"]),
        ("発行コード発行期限", ["発行コード", "発行期限"]),
        # A closing mark, a long vowel mark, a small kana never begin a line.
        ("あいうえお。かき", ["あいうえ", "お。かき"]),
        ("あいうえデータを", ["あいうえ", "データを"]),
        ("あいうえキャンセル", ["あいうえ", "キャンセル"]),
        # An opening mark never ends one.
        ("あいうえ「実行」", ["あいうえ", "「実行」"]),
        # Words are kept whole, and the space between two is not carried over.
        ("abc def ghi jkl", ["abc def", "ghi jkl"]),
        ("あいうWindows", ["あいう", "Windows"]),
        # Unless a word alone is longer than the line.
        ("abcdefghijklmnop", ["abcdefghij", "klmnop"]),
        # Nothing but marks: broken all the same.
        ("。。。。。。。", ["。。。。。", "。。"]),
    ],
)
def test_lines_break_as_japanese_lines_do(text: str, lines: list[str]) -> None:
    assert _lines(text, 5) == lines


@given(st.text(alphabet="あ漢ー、。（）「」ab1 \u3000-/", max_size=80), st.integers(1, 20))
def test_no_character_is_lost_and_no_line_is_too_long(text: str, width: int) -> None:
    lines = _lines(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(SQUARES.width(line.rstrip()) <= width * 1000 for line in lines)


@given(st.text(alphabet="あいう漢字。「」、", min_size=30, max_size=80))
def test_no_line_begins_or_ends_with_a_mark_that_must_not_while_there_is_a_choice(text: str) -> None:
    lines = _lines(text, 12)
    for before, after in pairwise(lines):
        if after[0] in NEVER_FIRST or before[-1] in NEVER_LAST:
            # No place earlier in the line was better.
            assert all(
                before[place] in NEVER_FIRST or before[place - 1] in NEVER_LAST for place in range(1, len(before))
            )


def test_a_text_is_set_as_large_as_fits_and_refused_when_it_does_not() -> None:
    place = Room(width=100.0, height=24.0, sizes=(10.0, 5.0), leading=1.2)
    assert fit(["発行コード"], SQUARES, place).size == 10.0
    assert fit(["あ" * 20], SQUARES, place).paragraphs == (("あ" * 10, "あ" * 10),)
    smaller = fit(["あ" * 30], SQUARES, place)
    assert smaller.size < 10.0
    assert smaller.height <= 24.0
    with pytest.raises(ValueError, match="500 characters do not fit"):
        fit(["あ" * 500], SQUARES, place)


def test_paragraphs_and_their_gaps_and_indents_are_counted_in() -> None:
    place = Room(width=100.0, height=100.0, sizes=(10.0, 10.0), leading=1.5, gap=0.5, indent=2.0)
    fitted = fit(["あ" * 9, "い"], SQUARES, place)
    assert fitted.paragraphs == (("あ" * 8, "あ"), ("い",))
    assert fitted.height == pytest.approx(10 * (1 + 2 * 1.5 + 0.5))
    assert fit([], SQUARES, place).height == 0.0
