"""How servers read a query or a urlencoded form, modelled after what they do.

Every model gives the parameters that a program is handed, names in lower case, for programs that ignore case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote_to_bytes

Pairs = list[tuple[str, str]]


def _folded(pairs: Pairs) -> Pairs:
    return [(name.lower(), value.lower()) for name, value in pairs]


def _text(octets: bytes, encoding: str = "utf-8") -> str:
    return octets.decode(encoding, "replace")


def python(octets: bytes) -> Pairs:
    """urllib.parse, Django: parted at ``&``, decoded, plus signs are blanks."""
    return _folded(parse_qsl(_text(octets), keep_blank_values=True))


def perl(octets: bytes) -> Pairs:
    """CGI.pm and the W3C's old advice: parted at ``;`` too."""
    return python(octets.replace(b";", b"&"))


def tomcat(octets: bytes) -> Pairs:
    """A name without ``=`` is a parameter; broken escapes drop the parameter, not the request."""
    pairs = []
    for piece in octets.split(b"&"):
        name, _, value = piece.partition(b"=")
        if re.search(rb"%(?![0-9A-Fa-f]{2})", piece):
            continue
        pairs.append((_text(unquote_to_bytes(name.replace(b"+", b" "))), _text(unquote_to_bytes(value))))
    return _folded(pairs)


def php(octets: bytes) -> Pairs:
    """Names are variables: leading blanks go, dots and blanks become underscores, ``[`` begins an array, NUL ends."""
    pairs = []
    for name, value in parse_qsl(_text(octets), keep_blank_values=True):
        variable = name.lstrip(" ").partition("\0")[0].partition("[")[0]
        pairs.append((re.sub(r"[ .]", "_", variable), value))
    return _folded(pairs)


def asp(octets: bytes) -> Pairs:
    """Classic ASP: ``%u0041``, and Windows' best fit for full-width letters."""
    widened = re.sub(rb"%[uU]([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)).encode("utf-8", "replace"), octets)
    return _folded([tuple(unicodedata.normalize("NFKC", one) for one in pair) for pair in python(widened)])  # type: ignore[misc]


def twice(octets: bytes) -> Pairs:
    """A front that decodes every part once more."""
    return [
        (_text(unquote_to_bytes(name)).lower(), _text(unquote_to_bytes(value)).lower())
        for name, value in python(octets)
    ]


def decoded_first(octets: bytes) -> Pairs:
    """A program of a bank's own: decode it all, then part it."""
    return perl(unquote_to_bytes(octets))


def trimming(octets: bytes) -> Pairs:
    """Another: both sides of ``=`` are trimmed."""
    return [(name.strip(), value.strip()) for name, value in python(octets)]


def in_shift_jis(octets: bytes) -> Pairs:
    """A page in Shift_JIS, and a database that takes full-width letters for the same."""
    pairs = parse_qsl(_text(octets), keep_blank_values=True, encoding="cp932")
    return _folded([tuple(unicodedata.normalize("NFKC", one) for one in pair) for pair in pairs])  # type: ignore[misc]


SERVERS: tuple[Callable[[bytes], Pairs], ...] = (
    python,
    perl,
    tomcat,
    php,
    asp,
    twice,
    decoded_first,
    trimming,
    in_shift_jis,
)
