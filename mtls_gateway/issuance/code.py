"""Enrolment codes: one per user, printed in the procedure letter, typed once (clause D.1).

Twenty symbols in five groups of four, ``K7QF-2M9T-…``, of an alphabet without ``0 O 1 I L``. The first four find the
code among all others and are no secret by themselves; the last is a check symbol, so that a typing error is told
before anything is sent or counted. What nobody can guess are the fifteen between them: 15 · log2(31) = 74.3 bits of
entropy. Five tries find a code once in 5 · 10^21; and whoever stole the digests and the key could not try them all
either.

The check symbol is the sum of i · value(symbol i) over the first nineteen, i from 1, modulo 31. Thirty-one is prime and
no weight or difference of neighbouring weights is a multiple of it: every single wrong symbol and every pair of
neighbours exchanged is found.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from dataclasses import dataclass, field
from typing import Final, Literal

from mtls_gateway.errors import UsageError

ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
SYMBOLS: Final = 20
GROUP: Final = 4
#: The key of ``digest`` is derived from the instance secret for this purpose, see ``signin.instance_secret.derive``.
KEY_PURPOSE: Final = "enrolment code digest"
KEY_OCTETS: Final = 32
#: Longer input is refused unread: twenty symbols, however they are spaced.
TYPED_CHARACTERS: Final = 200

Reason = Literal["length", "symbol", "check"]

_VALUES: Final = {symbol: value for value, symbol in enumerate(ALPHABET)}
_UPPER: Final = {ord(letter): letter.upper() for letter in "abcdefghijklmnopqrstuvwxyz"}
#: What a Japanese keyboard and its conversions give for a hyphen, beside the dashes of category Pd: minus, the long
#: vowel mark, box drawings, the hyphen bullet.
_LIKE_HYPHENS: Final = frozenset("\u2212\u30fc\u2500\u2501\u2043\u02d7")
#: Come along when text is copied, and show nothing: soft hyphen, zero-width spaces and joiners, byte order mark.
_INVISIBLE: Final = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff")


class UnreadableCode(UsageError):
    """What was typed is no enrolment code: nothing was looked up, nothing is counted.

    ``reason`` is a stable word: ``length`` (not twenty symbols), ``symbol`` (one that no code has) or ``check``
    (a typing error). The message never repeats the code.
    """

    def __init__(self, reason: Reason, cause: str) -> None:
        self.reason: Reason = reason
        super().__init__(f"the enrolment code cannot be read: {cause}")


@dataclass(frozen=True, slots=True)
class Code:
    """An enrolment code whose check symbol is right; made by :func:`read_code`. Its ``repr`` does not tell it."""

    symbols: str = field(repr=False)

    @property
    def locator(self) -> str:
        """The first four symbols: they find the code, or, rarely, a few of them (there are 923,521)."""
        return self.symbols[:GROUP]

    @property
    def secret(self) -> str:
        """The fifteen symbols that nobody can guess."""
        return self.symbols[GROUP:-1]

    @property
    def printed(self) -> str:
        """As the procedure letter shows it: five groups of four with hyphens."""
        return "-".join(self.symbols[start : start + GROUP] for start in range(0, SYMBOLS, GROUP))


def new_code() -> str:
    """A new code in its printed form, from the system's random source."""
    drawn = "".join(secrets.choice(ALPHABET) for _ in range(SYMBOLS - 1))
    return Code(drawn + _check_symbol(drawn)).printed


def read_code(typed: str) -> Code:
    """The code that ``typed`` means: case, spaces, hyphens of all kinds and full-width forms do not matter.

    Raises:
        UnreadableCode: it means none, and why.
    """
    if len(typed) > TYPED_CHARACTERS:
        raise UnreadableCode("length", f"it has {SYMBOLS} symbols, not {len(typed)} characters; type it as printed")
    # Only ASCII letters change case: upper() would also make "SS" of a sharp s.
    symbols = [symbol for symbol in unicodedata.normalize("NFKC", typed).translate(_UPPER) if not _is_separator(symbol)]
    for place, symbol in enumerate(symbols, start=1):
        if symbol not in _VALUES:
            cause = f"no code has its symbol {place}, U+{ord(symbol):04X}; 0, O, 1, I and L do not occur either"
            raise UnreadableCode("symbol", cause)
    if len(symbols) != SYMBOLS:
        raise UnreadableCode("length", f"it has {SYMBOLS} symbols, not {len(symbols)}; type it as printed")
    code = "".join(symbols)
    if _check_symbol(code[:-1]) != code[-1]:
        raise UnreadableCode("check", "a symbol is wrong or two are exchanged; compare it with the letter")
    return Code(code)


def digest(code: Code, key: bytes) -> bytes:
    """What is stored of a code: HMAC-SHA-256 of its twenty symbols, 32 octets.

    A plain hash is as good as salted and slow ones here, since the code has 74 bits of its own; the key keeps a copy
    of the database alone from telling anything at all.

    Raises:
        ValueError: ``key`` has not 32 octets.
    """
    if len(key) != KEY_OCTETS:
        raise ValueError(f"the key of enrolment codes has {KEY_OCTETS} octets")
    return hmac.digest(key, code.symbols.encode("ascii"), "sha256")


def matches(code: Code, key: bytes, stored: bytes) -> bool:
    """Whether ``stored`` is the digest of ``code``; takes the same time wherever they differ.

    Raises:
        ValueError: ``key`` has not 32 octets.
    """
    return hmac.compare_digest(digest(code, key), stored)


def _check_symbol(first: str) -> str:
    return ALPHABET[sum(place * _VALUES[symbol] for place, symbol in enumerate(first, start=1)) % len(ALPHABET)]


def _is_separator(symbol: str) -> bool:
    return (
        symbol.isspace()
        or symbol in _LIKE_HYPHENS
        or symbol in _INVISIBLE
        or unicodedata.category(symbol) in {"Pd", "Zs"}
    )
