"""How servers resolve a path, modelled after what they do: the guard is held against each of them.

Every model says which path the application is given, or None when the server itself refuses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from urllib.parse import unquote_to_bytes


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _dots(path: str) -> str | None:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment in ("", "."):
            continue
        if segment == "..":
            if not kept:
                return None
            kept.pop()
        else:
            kept.append(segment)
    return "/" + "/".join(kept)


def tomcat(path: bytes) -> str | None:
    """CoyoteAdapter: path parameters are removed, then %-decoded, then normalised."""
    stripped = re.sub(rb";[^/]*", b"", path)
    decoded = _text(unquote_to_bytes(stripped))
    if "\0" in decoded:
        return None
    return _dots(decoded.replace("\\", "/"))


def tomcat_allowing_encoded_slashes(path: bytes) -> str | None:
    """ALLOW_ENCODED_SLASH, and a front that decoded once already."""
    return tomcat(unquote_to_bytes(path))


def django(path: bytes) -> str | None:
    """WSGI: decoded once; slashes and dots stay as they are; APPEND_SLASH."""
    return _text(unquote_to_bytes(path)).rstrip("/") or "/"


def django_behind_a_normaliser(path: bytes) -> str | None:
    """nginx' merge_slashes and dot segments in front of it."""
    return _dots(_text(unquote_to_bytes(path)))


def iis(path: bytes) -> str | None:
    """Case is ignored, backslashes are slashes, trailing dots and spaces and streams are Windows'."""
    decoded = _text(unquote_to_bytes(path)).replace("\\", "/").partition("\0")[0]
    resolved = _dots(decoded)
    if resolved is None:
        return None
    segments = [segment.partition(":")[0].rstrip(" .") for segment in resolved.split("/")]
    return unicodedata.normalize("NFKC", "/".join(segments)).lower()


def iis_decoding_twice(path: bytes) -> str | None:
    """Before MS01-026, and every rewriter since that decodes what was decoded."""
    return iis(unquote_to_bytes(path))


def php(path: bytes) -> str | None:
    """Apache: slashes merged, %2f refused, PATH_INFO behind a script's name; urldecode() reads + as a space."""
    if b"%2f" in path.lower():
        return None
    resolved = _dots(_text(unquote_to_bytes(path)))
    if resolved is None:
        return None
    script = re.match(r"(.*?\.php)(?:/.*)?$", resolved)
    return (script[1] if script else resolved).replace("+", " ").rstrip(" ")


SERVERS: tuple[Callable[[bytes], str | None], ...] = (
    tomcat,
    tomcat_allowing_encoded_slashes,
    django,
    django_behind_a_normaliser,
    iis,
    iis_decoding_twice,
    php,
)
