"""The procedure letter: the paper that brings a user the one-time enrolment code (clause D.1).

Here is what it says; ``letter_printer`` makes the PDF file, ``letter_layout`` knows what stands where.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from mtls_gateway.config import Configuration, Issuance
from mtls_gateway.errors import UsageError
from mtls_gateway.issuance.letter_layout import Layout
from mtls_gateway.issuance.typeface import Typeface
from mtls_gateway.issuance.validity import JST

#: Of a name or of a line of an address.
TEXT_CHARACTERS: Final = 128
ADDRESS_LINES: Final = 5
_END_OF_DATES: Final = 253_370_000_000.0
#: Of the layout's values, those that differ from letter to letter.
VARYING: Final = frozenset({"company_name", "user_name", "user_id", "code", "deadline", "issued", "recipient"})


class UnprintableLetter(UsageError):
    """A value of the letter cannot be printed whole, so that nothing is printed; names the user and the value."""

    def __init__(self, user_id: str, cause: str) -> None:
        self.user_id = user_id
        super().__init__(f"the letter of user {user_id[:64]!a} cannot be printed: {cause}")


@dataclass(frozen=True, slots=True)
class Letter:
    """What one user's letter says."""

    company_name: str
    user_name: str
    user_id: str
    #: As :func:`code.new_code` gives it.
    code: str = field(repr=False)
    #: POSIX seconds: the code's last moment, and the letter's date.
    expires: float
    issued: float
    #: Where it is posted to; left out, the window shows the names alone.
    postal_code: str = ""
    address: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LetterSettings:
    """What every letter of a bank says."""

    bank_name: str
    service_name: str
    #: The sign-in host as a browser is told it, ``https://ib.example.jp/``: printed, never a link.
    sign_in: str
    help_desk: str
    systems: tuple[str, ...]
    browsers: tuple[str, ...]
    tries: int
    notice_days: int
    department: str = ""
    postal_code: str = ""
    address: tuple[str, ...] = ()
    telephone: str = ""
    hours: str = ""
    extra_fonts: tuple[Path, ...] = ()
    letters_per_file: int = 10_000

    @classmethod
    def of(cls, configuration: Configuration, issuance: Issuance) -> LetterSettings:
        """The slice of ``configuration``; ``issuance`` is its table of that name, which may be left out."""
        letter, pages = configuration.letter, configuration.pages
        return cls(
            bank_name=pages.bank_name_ja,
            service_name=pages.service_name_ja,
            sign_in=f"{configuration.public.origin}/",
            help_desk=pages.help_desk_ja,
            systems=tuple(system.name for system in configuration.browsers.systems),
            browsers=tuple(browser.name for browser in configuration.browsers.browsers),
            tries=issuance.codes.tries,
            notice_days=pages.notice_days,
            department=letter.department,
            postal_code=letter.postal_code,
            address=letter.address,
            telephone=letter.telephone,
            hours=letter.hours,
            extra_fonts=letter.extra_fonts,
            letters_per_file=letter.letters_per_file,
        )


def common_values(settings: LetterSettings, layout: Layout) -> dict[str, str]:
    """What all letters have in common, by the names that the layout uses."""
    return {
        "bank_name": settings.bank_name,
        "service_name": settings.service_name,
        "sign_in": settings.sign_in,
        "help_desk": settings.help_desk,
        "systems": layout.separator.join(settings.systems),
        "browsers": layout.separator.join(settings.browsers),
        "tries": str(settings.tries),
        "notice_days": str(settings.notice_days),
        "department": settings.department,
        "sender": _address(settings.postal_code, settings.address, layout),
        "telephone": layout.telephone % {"telephone": settings.telephone} if settings.telephone else "",
        "hours": layout.hours % {"hours": settings.hours} if settings.hours else "",
    }


def own_values(letter: Letter, printed_code: str, layout: Layout) -> dict[str, str]:
    """What differs from letter to letter: the values of ``VARYING``."""
    return {
        "company_name": letter.company_name.strip(),
        "user_name": letter.user_name.strip(),
        "user_id": letter.user_id.strip(),
        "code": printed_code,
        "issued": layout.date % _date_parts(letter.issued, layout),
        "deadline": layout.deadline % _date_parts(letter.expires, layout),
        "recipient": _address(letter.postal_code, letter.address, layout),
    }


def problem_of_values(letter: Letter, typeface: Typeface) -> str | None:
    """Why a value of ``letter`` could not be printed as it is, in one line; None: each can."""
    for what, value in (("user ID", letter.user_id), ("company name", letter.company_name),
                        ("user name", letter.user_name)):  # fmt: skip
        if not value.strip():
            return f"the {what} is empty"
        cause = problem_of_text(value, typeface)
        if cause:
            return f"the {what} {cause}"
    if len(letter.address) > ADDRESS_LINES:
        return f"the address has {len(letter.address)} lines, more than {ADDRESS_LINES}"
    for line in (letter.postal_code, *letter.address):
        cause = problem_of_text(line, typeface)
        if cause:
            return f"the address {cause}"
    if not 0 <= letter.issued < letter.expires < _END_OF_DATES:
        return "the code expires before the letter is written, or one of the two is no time"
    return None


def problem_of_text(text: str, typeface: Typeface) -> str | None:
    """Why ``text`` could not be printed as it is, as the rest of a sentence; None: it can."""
    if len(text) > TEXT_CHARACTERS:
        return f"has {len(text)} characters, more than {TEXT_CHARACTERS}"
    for character in text:
        point = f"U+{ord(character):04X}"
        category = unicodedata.category(character)
        if category in {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}:
            return f"has a control character, {point}"
        if category.startswith("M"):
            return f"has a combining character or variation selector, {point}; write it as one plain character"
        if not typeface.has(character):
            return f"has a character that no font has, {point}; name a font that has it in letter.extra_fonts"
    return None


def _address(postal_code: str, lines: tuple[str, ...], layout: Layout) -> str:
    return "\n".join([*([layout.postal_mark + postal_code] if postal_code else []), *lines])


def _date_parts(moment: float, layout: Layout) -> dict[str, int | str]:
    there = datetime.fromtimestamp(moment, JST)
    return {
        "year": there.year, "month": there.month, "day": there.day, "hour": there.hour, "minute": there.minute,
        "weekday": layout.weekdays[there.weekday()],
    }  # fmt: skip
