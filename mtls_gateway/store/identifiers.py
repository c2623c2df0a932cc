"""What an ID or a name may look like: it will stand in headers, forms, pages and logs."""

from __future__ import annotations

import re
import unicodedata

from mtls_gateway.errors import UsageError

#: What a header field, a form field and a shell word can all carry as it is.
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)


def is_identifier(identifier: str) -> bool:
    """Whether this can be an ID at all; what cannot need not be looked for, and may not be sent to every database."""
    return _IDENTIFIER.fullmatch(identifier) is not None


def require_identifier(what: str, identifier: str) -> None:
    """Refuse an ID that could be read in two ways somewhere.

    Raises:
        UsageError: it is none.
    """
    if not is_identifier(identifier):
        raise UsageError(
            f"{what} {identifier!r} will not do: 1 to 64 of A-Z a-z 0-9 . _ @ + -, beginning with a letter or digit"
        )


def require_name(what: str, name: str) -> None:
    """Refuse a name that is empty, surrounded by spaces, too long or not printable.

    Raises:
        UsageError: it is one of these.
    """
    if not name or name != name.strip() or len(name) > 200:
        raise UsageError(f"{what} {name!r} will not do: 1 to 200 characters without spaces around them")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for character in name):
        raise UsageError(f"{what} {name!r} will not do: it has a character that cannot be printed")


def require_address(email: str) -> None:
    """Refuse what cannot be a mail address; whether it is one, only a mail can tell.

    Raises:
        UsageError: it cannot be one.
    """
    local, separator, domain = email.rpartition("@")
    if not separator or not local or "." not in domain or len(email) > 254 or re.search(r"[\s<>,;:\"\x00-\x1f]", email):
        raise UsageError(f"{email!r} is not a mail address")
