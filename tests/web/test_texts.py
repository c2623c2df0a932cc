"""The catalogues: the same keys in both languages, and everything that is needed is there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from mtls_gateway.model import Code
from mtls_gateway.web.texts import days_left, print_moment, read_texts

TEXTS = read_texts()


def leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield above + key, value


def test_both_languages_say_the_same_things() -> None:
    japanese, english = dict(leaves(TEXTS["ja"])), dict(leaves(TEXTS["en"]))
    assert japanese.keys() == english.keys()
    for key, value in japanese.items():
        holes = re.compile(r"%\((\w+)\)")
        assert set(holes.findall(str(value))) == set(holes.findall(str(english[key]))), key
        if isinstance(value, list):
            assert len(value) == len(english[key]), key


def test_every_code_is_explained() -> None:
    for language in TEXTS.values():
        assert {code.value for code in Code} <= language["refused"].keys()


def test_japanese_is_written_as_a_bank_writes() -> None:
    for key, value in leaves(TEXTS["ja"]):
        text = "".join(value) if isinstance(value, list) else value
        assert "！" not in text and "!" not in text and "あなた" not in text and "お客様" not in text, key
        if key.startswith("refused.") and key.endswith((".happened", ".todo")):
            for line in value if isinstance(value, list) else [value]:
                assert line.endswith("。"), key


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (0.0, "1970年1月1日 9時00分（日本時間）"),
        (1_780_282_800.0, "2026年6月1日 12時00分（日本時間）"),
        (1_835_395_140.0, "2028年2月29日 8時59分（日本時間）"),
    ],
)
def test_moments_are_printed_in_japan_time(moment: float, said: str) -> None:
    assert print_moment(moment, TEXTS["ja"]) == said


def test_days_are_those_of_the_calendar_in_japan() -> None:
    # 2026-06-01 23:59 and 2026-06-02 00:00 in Japan.
    assert days_left(1_780_326_000.0, 1_780_325_940.0) == 1
    assert days_left(1_780_325_940.0, 1_780_326_000.0) == 0
