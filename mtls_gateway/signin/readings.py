r"""All that a legacy backend could take a path for.

Servers do not agree on what a path says. Tomcat drops ``;parameters`` and folds ``/..;/``, IIS ignores
case, trailing dots and spaces, reads ``\`` as ``/`` and may decode twice, PHP runs ``/login.php/anything``,
databases and frameworks fold full-width letters. A guard that reads a path in one way is passed in another;
so a path is read in every way that is known, and refused when no list of readings could be complete.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

#: Longest path that is read in more than one way, in octets.
_LONGEST = 2_048
#: No honest path is encoded more often, or can be read in more ways.
_DEEPEST = 3
_MOST = 64

#: A path that every server reads alike, but for its case.
_PLAIN = re.compile(rb"/|(?:/[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)+/?")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_WIDE_ESCAPE = re.compile(rb"%[uU][0-9A-Fa-f]{4}")
#: Separators, controls and DEL in encoded form: some servers decode before they split, some after.
_ENCODED_HAZARD = re.compile(rb"%(?:2[fF]|5[cC]|[01][0-9A-Fa-f]|7[fF])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: What becomes a slash or backslash when Windows squeezes it into an older code page; in Japan the yen sign does.
_SLASH_ALIKE = re.compile("[\u2044\u2215\u2216\u29f5\u29f8\u00a5\u20a9]")
#: A segment of dots, whatever Windows would trim off it.
_DOTS = re.compile(r"[ +]*\.[. +]*(?:[;:?#].*)?")


class Ambiguous(Exception):
    """The path cannot be read in a bounded number of ways; the request is to be refused with 400."""


def fold(text: str) -> str:
    """``text`` without differences of case, width and form (Unicode NFKC)."""
    if text.isascii():
        return text.lower()
    # Upper-casing first: a dotless i is equal to I for Java's equalsIgnoreCase, but not for casefold().
    upper = unicodedata.normalize("NFKC", text).upper()
    return unicodedata.normalize("NFKC", upper.casefold())


def readings(path: bytes) -> frozenset[str]:
    """Every reading of ``path`` (a request target up to its ``?``), folded, without a slash at its end.

    Raises:
        Ambiguous: encoded separators or controls, dot segments, broken escapes, no UTF-8, and the like.
    """
    if _PLAIN.fullmatch(path):
        return frozenset((path.decode("ascii").lower().rstrip("/") or "/",))
    if not path.startswith(b"/") or len(path) > _LONGEST:
        raise Ambiguous
    found: set[str] = set()
    for text in _decoded(path):
        for variant in _variants(text):
            for reading in _read(variant):
                found.add(reading)
                if len(found) > _MOST:
                    raise Ambiguous
    return frozenset(found)


def _decoded(path: bytes) -> Iterator[str]:
    """``path`` as sent, decoded once, twice …"""
    if _BROKEN_ESCAPE.search(path):
        raise Ambiguous
    for _ in range(_DEEPEST + 1):
        try:
            yield path.decode()
        except UnicodeDecodeError:
            # Overlong forms and surrogates too: Python decodes strictly (RFC 3629).
            raise Ambiguous from None
        if _ENCODED_HAZARD.search(path) or _WIDE_ESCAPE.search(path):
            raise Ambiguous
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return
        path = decoded
    raise Ambiguous


def _variants(text: str) -> set[str]:
    """``text`` in other letters that some server holds for the same."""
    folded = fold(text)
    variants = {folded}
    if not folded.isascii() or not text.isascii():
        if folded.count("%") != text.count("%") or folded.count("/") != text.count("/"):
            raise Ambiguous
        if _SLASH_ALIKE.search(text) or _SLASH_ALIKE.search(folded):
            raise Ambiguous
        split = unicodedata.normalize("NFKD", folded)
        variants.add("".join(letter for letter in folded if unicodedata.category(letter) != "Cf"))
        variants.add("".join(letter for letter in split if unicodedata.category(letter) not in ("Cf", "Mn", "Me")))
    if "+" in folded:
        variants |= {variant.replace("+", " ") for variant in variants}
    for variant in variants:
        if "\\" in variant or _CONTROL.search(variant):
            raise Ambiguous
        if any(_DOTS.fullmatch(segment) for segment in variant.split("/")):
            raise Ambiguous
    return variants


def _read(text: str) -> Iterator[str]:
    """The paths that ``text`` is, once what servers cut off is cut off."""
    for whole in {text, re.split(r"[?#]", text, maxsplit=1)[0]}:
        segments = whole.split("/")
        for parts in (
            segments,
            [segment.partition(";")[0] for segment in segments],
            whole.partition(";")[0].split("/"),
        ):
            yield _join(parts)
            yield _join([part.strip(" ").rstrip(" .") for part in parts])
            # NTFS: what follows a colon names a stream of the same file.
            yield _join([part.partition(":")[0].strip(" ").rstrip(" .") for part in parts])


def _join(parts: list[str]) -> str:
    return "/" + "/".join(part for part in parts if part)
