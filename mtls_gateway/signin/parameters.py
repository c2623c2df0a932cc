r"""Whether a legacy backend could take a query, or a form that is sent, for one that names a parameter (clause A.4).

Servers do not agree on what a query says either. Some part it at ``;`` too, some decode before they part it or
more than once, ASP reads ``%u0041``, PHP drops what follows ``[`` or a NUL and turns dots and blanks into
underscores, databases fold case and full-width letters. So nothing is parted here: a parameter is *looked for*, in the
text as it was sent and in every decoded form of it, at every place where any of them could let one begin.
What more is found than a server would find is refused as well, and harms only who writes like an attacker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mtls_gateway.signin.readings import Ambiguous, fold
from mtls_gateway.wire.gate import Header

#: No honest query is encoded more often.
_DEEPEST = 3
#: Where a parameter may begin, and what may stand before and behind its name.
_BEGINS = r"(?:^|[&;?#])[\s+]*"
_NAME_ENDS = r"(?:[\s+]*|[\s+.\[\0][^=&;]*)"
#: Encodings of Japanese pages; all of them hold ASCII for what it is.
_ENCODINGS = ("utf-8", "cp932", "euc_jp")
_CHARSETS = frozenset(
    (
        b"utf-8",
        b"us-ascii",
        b"iso-8859-1",
        b"windows-1252",
        b"shift_jis",
        b"windows-31j",
        b"ms932",
        b"x-sjis",
        b"euc-jp",
    )
)
_ESCAPE = re.compile(rb"%(?:([0-9A-Fa-f]{2})|[uU]([0-9A-Fa-f]{4}))")
#: An ASCII letter in two or three octets: no UTF-8 (RFC 3629), but some decoders take it.
_OVERLONG = re.compile(rb"(?:[\xc0\xc1]|\xe0[\x80\x81])[\x80-\xbf]")
#: Letters that are not there to whoever does not show them: controls and soft hyphens, zero-width ones, accents.
_UNSEEN = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f\u00ad\u0300-\u036f\u200b-\u200f\u2060-\u2064\ufeff]")

Looked = re.Pattern[str]
"""The parameters that are looked for."""


def looked_for(parameters: Iterable[str]) -> Looked:
    """``parameters`` are ``NAME`` or ``NAME=VALUE``, see ``config.Parameter``."""
    return re.compile("|".join(_expression(parameter) for parameter in parameters))


def _expression(parameter: str) -> str:
    name, given, value = parameter.partition("=")
    # PHP: what is no letter of a variable's name becomes an underscore.
    letters = "".join(r"[._\s+\[]" if letter in "._" else re.escape(letter) for letter in fold(name))
    if not given:
        return rf"{_BEGINS}{letters}{_NAME_ENDS}(?=[=&;?#]|$)"
    return rf"{_BEGINS}{letters}{_NAME_ENDS}=[\s+]*{re.escape(fold(value))}(?![\w-])"


def names(octets: bytes, looked: Looked) -> bool:
    """Whether any reading of ``octets``, a query or a urlencoded form, names what is looked for.

    Raises:
        Ambiguous: it is encoded more often than is honest.
    """
    return any(looked.search(text) for decoded in _decoded(octets) for text in _texts(decoded))


def _decoded(octets: bytes) -> Iterator[bytes]:
    """As sent, decoded once, twice …"""
    for _ in range(_DEEPEST + 1):
        yield octets
        if b"%" not in octets:
            return
        decoded = _ESCAPE.sub(_unescaped, octets)
        if decoded == octets:
            return
        octets = decoded
    raise Ambiguous


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes((int(match[1], 16),))
    return chr(int(match[2], 16)).encode("utf-8", "replace")


def _texts(octets: bytes) -> Iterator[str]:
    """``octets`` as text, in every encoding and without what is not seen."""
    if octets.isascii():
        text = octets.decode().lower()
        yield text
        yield from _without_unseen(text)
        return
    for encoding in _ENCODINGS:
        text = fold(octets.decode(encoding, "replace"))
        yield text
        yield from _without_unseen(text)
    if _OVERLONG.search(octets):
        yield from _texts(_OVERLONG.sub(_shortened, octets))


def _shortened(match: re.Match[bytes]) -> bytes:
    high, low = match[0][-2:]
    return bytes(((high & 1) << 6 | low & 0x3F,))


def _without_unseen(text: str) -> Iterator[str]:
    seen = _UNSEEN.sub("", text)
    if seen != text:
        yield seen


def is_readable(headers: Iterable[Header]) -> bool:
    """Whether a body with these headers is a urlencoded form that every server reads in the same letters."""
    found = {name.lower(): value.lower() for name, value in headers if name.lower().startswith(b"content-")}
    types = [value for name, value in headers if name.lower() == b"content-type"]
    if len(types) != 1 or b"content-encoding" in found:
        return False
    media, *attributes = (part.strip(b" \t") for part in found[b"content-type"].split(b";"))
    if media != b"application/x-www-form-urlencoded":
        return False
    return all(
        attribute.startswith(b"charset=") and attribute.removeprefix(b"charset=").strip(b'"') in _CHARSETS
        for attribute in attributes
        if attribute
    )
