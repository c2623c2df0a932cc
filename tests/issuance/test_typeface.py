from __future__ import annotations

from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.ttGlyphPen import TTGlyphPen

from mtls_gateway.errors import ConfigurationError
from mtls_gateway.issuance.typeface import Typeface, built_in_face, read_face


def _square(pen: TTGlyphPen | T2CharStringPen) -> None:
    pen.moveTo((100, 0))
    pen.lineTo((100, 800))
    pen.lineTo((900, 800))
    pen.lineTo((900, 0))
    pen.closePath()


def make_font(path: Path, characters: str, *, restricted: int = 0, outlines: str = "glyf") -> Path:
    """A font whose glyphs are all the same square."""
    order = [".notdef", *(f"u{ord(character):X}" for character in characters)]
    builder = FontBuilder(1000, isTTF=outlines == "glyf")
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap({ord(character): f"u{ord(character):X}" for character in characters})
    if outlines == "glyf":
        pen = TTGlyphPen(None)
        _square(pen)
        builder.setupGlyf(dict.fromkeys(order, pen.glyph()))
    else:
        drawn = T2CharStringPen(1000, None)
        _square(drawn)
        builder.setupCFF("Squares", {}, dict.fromkeys(order, drawn.getCharString()), {})
    builder.setupHorizontalMetrics(dict.fromkeys(order, (1000, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares of Ours", "psName": "Squares (of) Ours"})
    builder.setupOS2(fsType=restricted)
    builder.setupPost()
    builder.save(path)
    return path


def _jis_x_0213() -> set[str]:
    found = set()
    for lead in (*range(0x81, 0xA0), *range(0xE0, 0xFD)):
        for trail in (*range(0x40, 0x7F), *range(0x80, 0xFD)):
            try:
                found.add(bytes((lead, trail)).decode("shift_jis_2004"))
            except UnicodeDecodeError:
                continue
    return found


def _windows() -> set[str]:
    found = set()
    for lead in (*range(0x81, 0xA0), *range(0xE0, 0xF0), *range(0xFA, 0xFD)):
        for trail in (*range(0x40, 0x7F), *range(0x80, 0xFD)):
            try:
                found.add(bytes((lead, trail)).decode("cp932"))
            except UnicodeDecodeError:
                continue
    return found


def test_the_built_in_face_has_every_kanji_of_jis_x_0213_and_all_of_windows_31j() -> None:
    typeface = Typeface([built_in_face()])
    jis = {character for character in _jis_x_0213() if len(character) == 1}
    assert len(jis) > 11_000
    assert {character for character in jis if not typeface.has(character)} == set("⦅⦆")
    windows = _windows()
    assert len(windows) > 7_000
    assert {character for character in windows if not typeface.has(character)} == set()


def test_digits_and_letters_of_a_code_are_all_as_wide_as_each_other() -> None:
    typeface = Typeface([built_in_face()])
    assert {typeface.width(symbol) for symbol in "23456789ABCDEFGHJKMNPQRSTUVWXYZ-"} == {500}
    assert typeface.width("発行コード") == 5_000


def test_a_further_font_is_used_for_what_the_first_has_not(tmp_path: Path) -> None:
    typeface = Typeface([built_in_face(), read_face(make_font(tmp_path / "squares.ttf", "𠮷田A"))])
    assert list(typeface.runs("𠮷田A野𠮷")) == [(1, "𠮷"), (0, "田A野"), (1, "𠮷")]
    assert typeface.width("𠮷A") == 1_500
    assert list(typeface.runs("")) == []


def test_fonts_that_cannot_be_embedded_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.ttf").write_text("not a font", encoding="ascii")
    make_font(tmp_path / "restricted.ttf", "𠮷", restricted=0x0002)
    make_font(tmp_path / "postscript.otf", "𠮷", outlines="CFF ")
    for name, cause in [
        ("missing.ttf", "cannot be read"),
        ("text.ttf", "is no font"),
        ("restricted.ttf", "forbid to embed"),
        ("postscript.otf", "no TrueType font"),
    ]:
        with pytest.raises(ConfigurationError, match=rf"{name}: .*{cause}"):
            read_face(tmp_path / name)
