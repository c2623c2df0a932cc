"""Where to go after signing in: a path of this host, never another site (open redirect, CWE-601)."""

from __future__ import annotations

from urllib.parse import quote

_LONGEST = 1_024
#: RFC 3986, section 3.3 and 3.4, without what some browser takes for a slash.
_ALLOWED = frozenset("!$%&'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~[]{}|^`\"")


def safe_next(target: str) -> str | None:
    r"""``target`` when it is a path (and query) of this host in at most 1,024 characters; else None.

    ``//host``, ``/\\host`` and controls, which browsers drop before they read a URL, are refused, not repaired.
    """
    if not target.startswith("/") or target.startswith("//") or len(target) > _LONGEST:
        return None
    if not _ALLOWED.issuperset(target):
        return None
    return target


def with_next(page: str, target: bytes) -> bytes:
    """``page`` with ``?next=`` when ``target`` is safe to come back to, else ``page`` as it is."""
    following = safe_next(target.decode("ascii", "replace"))
    if following is None or following == "/":
        return page.encode()
    return f"{page}?next={quote(following, safe='/')}".encode()
