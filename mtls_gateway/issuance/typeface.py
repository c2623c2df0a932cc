"""The typefaces of a PDF: which characters they have, how wide these are, and the part of them that is embedded.

Every character has a code of its own in the document (a CID) that leads to its glyph and back to the character, so
that the text can be selected and searched, and comes out exactly as it went in, wherever two characters share a
glyph too (ISO 32000-1, sections 9.7.4, 9.7.5 and 9.10.3).
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import pydyf
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont, TTLibError

from mtls_gateway.errors import ConfigurationError

#: What a viewer needs of an embedded TrueType font (ISO 32000-1, section 9.9); the rest stays out.
_EMBEDDED_TABLES = frozenset({"glyf", "head", "hhea", "hmtx", "loca", "maxp", "GlyphOrder"})
_BUILT_IN = "BIZUDGothic-Regular.ttf"
#: Entries in one block of a ToUnicode CMap (Adobe technical note 5411).
_BLOCK = 100


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One font file, read. Lengths are thousandths of the size that the text is set in."""

    name: str
    octets: bytes
    #: Code point to glyph name and to advance width.
    glyphs: dict[int, str]
    widths: dict[int, int]
    ascent: int
    descent: int
    capital_height: int
    box: tuple[int, int, int, int]


@cache
def built_in_face() -> Face:
    """BIZ UDGothic, which comes with the gateway: all of JIS X 0213 and the vendors' extensions."""
    return _read(resources.files("mtls_gateway.issuance").joinpath("fonts", _BUILT_IN).read_bytes(), _BUILT_IN)


def read_face(path: Path) -> Face:
    """A further TrueType font, such as the bank's own for characters outside the standards.

    Raises:
        ConfigurationError: the file cannot be read, is no TrueType font, or its licence bits forbid embedding.
    """
    try:
        return _read(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigurationError(str(path), "", f"the font cannot be read: {error.strerror}") from error


def _read(octets: bytes, file: str) -> Face:
    try:
        font = TTFont(io.BytesIO(octets), lazy=True)
        tables = set(font.keys())
        if not {"glyf", "cmap", "hmtx", "hhea", "head", "OS/2", "name"} <= tables:
            raise ConfigurationError(file, "", "is no TrueType font with glyf outlines; convert it or name another")
        # OpenType, OS/2: bit 1 of fsType forbids embedding, bit 8 subsetting, bit 9 embedding outlines.
        if font["OS/2"].fsType & 0x0302:
            raise ConfigurationError(file, "", "the font's licence bits (fsType) forbid to embed a part of it")
        scale = 1000 / font["head"].unitsPerEm
        advance = font["hmtx"].metrics
        glyphs: dict[int, str] = font.getBestCmap() or {}
        head, metrics = font["head"], font["hhea"]
        box = (head.xMin, head.yMin, head.xMax, head.yMax)
        return Face(
            name=re.sub("[^A-Za-z0-9-]", "", str(font["name"].getDebugName(6))) or "Font",
            octets=octets,
            glyphs=glyphs,
            widths={code: round(advance[glyph][0] * scale) for code, glyph in glyphs.items()},
            ascent=round(metrics.ascent * scale),
            descent=round(metrics.descent * scale),
            capital_height=round(getattr(font["OS/2"], "sCapHeight", metrics.ascent) * scale),
            box=(round(box[0] * scale), round(box[1] * scale), round(box[2] * scale), round(box[3] * scale)),
        )
    except TTLibError as error:
        raise ConfigurationError(file, "", f"is no font: {' '.join(str(error).split())}") from error


class Typeface:
    """Faces in the order of preference: a character is set in the first that has it."""

    __slots__ = ("_widths", "faces")

    def __init__(self, faces: Sequence[Face]) -> None:
        self.faces = tuple(faces)
        self._widths: dict[int, int] = {}
        for face in reversed(self.faces):
            self._widths |= face.widths

    def has(self, character: str) -> bool:
        """Whether there is a glyph for it."""
        return ord(character) in self._widths

    def width(self, text: str) -> int:
        """Of one line, in thousandths of its size.

        Raises:
            KeyError: there is no glyph for a character.
        """
        widths = self._widths
        return sum([widths[ord(character)] for character in text])

    def runs(self, text: str) -> Iterator[tuple[int, str]]:
        """``text`` in pieces of one face each: the face's place in ``faces``, and the piece."""
        start, current = 0, -1
        for place, character in enumerate(text):
            face = next(index for index, one in enumerate(self.faces) if ord(character) in one.glyphs)
            if face != current:
                if place > start:
                    yield current, text[start:place]
                start, current = place, face
        if text:
            yield current, text[start:]


class FaceInDocument:
    """One face in one PDF: gives out character codes while pages are made, then embeds what they used."""

    def __init__(self, face: Face, pdf: pydyf.PDF) -> None:
        self._face = face
        self._codes: dict[str, int] = {}
        self._font = pydyf.Dictionary()
        pdf.add_object(self._font)

    @property
    def reference(self) -> bytes:
        """For the resources of pages."""
        return bytes(self._font.reference)

    def encode(self, text: str) -> str:
        """The operand of ``Tj``, in hexadecimal; each character's code is two octets."""
        codes = self._codes
        # CID 0 is the missing glyph.
        return "".join([f"{codes.setdefault(character, len(codes) + 1):04X}" for character in text])

    def embed(self, pdf: pydyf.PDF) -> None:
        """Complete the font with the part of the face that was used; nothing may be encoded afterwards."""
        face, characters = self._face, list(self._codes)
        octets, glyph_ids = _subset(face, characters)
        tag = "".join(chr(65 + octet % 26) for octet in hashlib.sha256(octets).digest()[:6])
        name = f"/{tag}+{face.name}"
        file = _added(pdf, pydyf.Stream([octets], {"Length1": len(octets)}, compress=True))
        descriptor = _added(pdf, pydyf.Dictionary({
            "Type": "/FontDescriptor", "FontName": name, "Flags": 4, "FontBBox": pydyf.Array(face.box),
            "ItalicAngle": 0, "Ascent": face.ascent, "Descent": face.descent, "CapHeight": face.capital_height,
            "StemV": 80, "FontFile2": file,
        }))  # fmt: skip
        glyphs = _added(pdf, pydyf.Stream([b"".join(b"%c%c" % divmod(one, 256) for one in glyph_ids)], compress=True))
        widths = pydyf.Array([1, pydyf.Array([face.widths[ord(character)] for character in characters])])
        descendant = _added(pdf, pydyf.Dictionary({
            "Type": "/Font", "Subtype": "/CIDFontType2", "BaseFont": name, "FontDescriptor": descriptor, "DW": 1000,
            "CIDSystemInfo": pydyf.Dictionary(
                {"Registry": pydyf.String("Adobe"), "Ordering": pydyf.String("Identity"), "Supplement": 0}
            ),
            "W": widths, "CIDToGIDMap": glyphs,
        }))  # fmt: skip
        self._font.update({
            "Type": "/Font", "Subtype": "/Type0", "BaseFont": name, "Encoding": "/Identity-H",
            "DescendantFonts": pydyf.Array([descendant]),
            "ToUnicode": _added(pdf, pydyf.Stream([_to_unicode(characters)], compress=True)),
        })  # fmt: skip


def _added(pdf: pydyf.PDF, thing: pydyf.Object) -> bytes:
    pdf.add_object(thing)
    return bytes(thing.reference)


def _subset(face: Face, characters: Sequence[str]) -> tuple[bytes, list[int]]:
    """The face with these characters only, and the glyph number of each character's code, from code 0."""
    # It tells of every table that is left out.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    font = TTFont(io.BytesIO(face.octets), lazy=True, recalcTimestamp=False)
    # The names of glyphs are read before the table that holds them goes.
    font.getGlyphOrder()
    options = Options(hinting=False, notdef_outline=True, layout_features=[], glyph_names=False, recalc_bounds=False)
    options.drop_tables = [table for table in font.keys() if table not in _EMBEDDED_TABLES]  # noqa: SIM118
    subsetter = Subsetter(options)
    names = [face.glyphs[ord(character)] for character in characters]
    subsetter.populate(glyphs=names)
    subsetter.subset(font)
    written = io.BytesIO()
    font.save(written)
    return written.getvalue(), [0, *(font.getGlyphID(name) for name in names)]


def _to_unicode(characters: Sequence[str]) -> bytes:
    lines = [
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
        "/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
        "1 begincodespacerange <0000> <FFFF> endcodespacerange",
    ]
    for start in range(0, len(characters), _BLOCK):
        block = characters[start : start + _BLOCK]
        lines.append(f"{len(block)} beginbfchar")
        for code, character in enumerate(block, start=start + 1):
            lines.append(f"<{code:04X}> <{character.encode('utf-16-be').hex().upper()}>")
        lines.append("endbfchar")
    lines.append("endcmap CMapName currentdict /CMap defineresource pop end end")
    return "\n".join(lines).encode("ascii")
