"""Which character encoding a legacy page is written in, and which one its form is sent in.

Forms in Shift_JIS and EUC-JP are alive in Japanese banks. Labels are those of the WHATWG Encoding
Standard (https://encoding.spec.whatwg.org/#names-and-labels), as far as such pages use them; the codecs
are Python's nearest: ``cp932`` is what browsers mean by Shift_JIS.
"""

from __future__ import annotations

import codecs
import re
from email.message import Message

_LABELS = {
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8",
    "cp932": "shift_jis shift-jis sjis x-sjis windows-31j ms_kanji ms932 csshiftjis",
    "euc_jp": "euc-jp x-euc-jp cseucpkdfmtjapanese",
    "iso2022_jp": "iso-2022-jp csiso2022jp",
    "cp1252": "windows-1252 cp1252 x-cp1252 iso-8859-1 iso8859-1 latin1 l1 us-ascii ascii",
    "iso8859-15": "iso-8859-15 iso8859-15 latin9 l9",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
#: How far browsers look for a declaration (HTML, "prescan a byte stream").
_PRESCAN = 1_024
_DECLARED = re.compile(
    rb"<meta[^>]{0,400}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]+)|<\?xml[^>]{0,200}encoding\s*=\s*[\"']([A-Za-z0-9_:.-]+)",
    re.IGNORECASE,
)


def codec_of(label: str) -> str | None:
    """Python's codec for a label, None when it is not known here."""
    return _CODECS.get(label.strip().lower())


def decode_page(body: bytes, content_type: str) -> tuple[str, str]:
    """The page's text and its codec: byte order mark, then Content-Type, then the page's own word, else UTF-8.

    What cannot be decoded becomes U+FFFD, as in a browser.
    """
    for mark, marked in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(marked, "replace"), marked
    header = Message()
    header["Content-Type"] = content_type or "text/html"
    declared = header.get_content_charset("")
    codec = codec_of(declared)
    if codec is None:
        found = _DECLARED.search(body[:_PRESCAN])
        codec = codec_of((found[1] or found[2]).decode("ascii")) if found else None
    codec = codec or "utf-8"
    return body.decode(codec, "replace"), codec


def submission_codec(accept_charset: str, page_codec: str) -> str:
    """The codec that a form is sent in (HTML, "picking an encoding for the form")."""
    for label in re.split(r"[\s,]+", accept_charset):
        codec = codec_of(label)
        if codec is not None:
            return codec
    # A UTF-16 page's form is sent in UTF-8.
    return "utf-8" if page_codec.startswith("utf-16") else page_codec
