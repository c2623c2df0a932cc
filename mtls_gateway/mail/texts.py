"""What each mail says: plain text, Japanese first, English below; the subject in Japanese.

No link of any kind, no code, no password: whoever gets used to links in the bank's mails will follow a thief's.
A text that holds one all the same, e.g. in a company's name, does not go out.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from mtls_gateway.clerical import Mail
from mtls_gateway.config import Pages
from mtls_gateway.errors import StateError

_JAPAN = timezone(timedelta(hours=9), "JST")
_LINK = re.compile(r"://|\bwww\.|\bmailto:", re.IGNORECASE)
_WEEKDAYS = "月火水木金土日"
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_EXPIRY = "expiry-"


class Text(NamedTuple):
    """A mail before it is a message."""

    subject: str
    body: str


class Texts:
    """Renders; one for a process."""

    def __init__(self, pages: Pages, *, renewable: bool, replies: bool) -> None:
        """Say whom the mails come from.

        Args:
            pages: the bank's names and whom to ask.
            renewable: certificates are renewed here; else the branch is named.
            replies: somebody reads what is answered.
        """
        # Plain text: nothing is escaped, and nothing of it is ever HTML.
        self._environment = Environment(
            loader=PackageLoader("mtls_gateway.mail"),
            autoescape=False,  # noqa: S701 - see above
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._same = {
            "pages": pages,
            "renewable": renewable,
            "replies": replies,
            "ja": _japanese,
            "en": _english,
            "masked": _masked,
        }

    def of(self, mail: Mail, now: float) -> Text:
        """What a mail says that goes out now (POSIX seconds): days left are counted from today, however late it is.

        Raises:
            StateError: its kind is not known, its facts do not suffice, or it would hold a link.
        """
        facts = mail.facts
        name = "expiry" if mail.kind.startswith(_EXPIRY) else mail.kind
        values = {
            **self._same,
            **facts,
            "user_id": mail.user_id,
            "own": mail.recipient_id == mail.user_id,
            "recipient": facts.get("recipient_name") or mail.recipient_id,
            "user": facts.get("user_name") or mail.user_id,
            "company_en": facts.get("company_en") or facts.get("company_ja"),
        }
        not_after = facts.get("not_after")
        if isinstance(not_after, (int, float)):
            values["days"] = (_day(not_after) - _day(now)).days
            values["ended"] = now >= not_after + 1.0
        try:
            template = self._environment.get_template(f"{name}.txt")
            subject = "".join(template.blocks["subject"](template.new_context(values)))
            body = template.render(values)
        except Exception as error:  # whatever a template raises is about this one mail
            raise StateError(f"a mail of the kind {mail.kind} has no text: {error!r}") from error
        text = Text(" ".join(subject.split()), body.strip() + "\n")
        if has_link(text.subject) or has_link(text.body):
            raise StateError("the mail would hold a link; look at the names in it and at pages.help_desk_*")
        return text


def _day(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, _JAPAN).replace(hour=0, minute=0, second=0, microsecond=0)


def has_link(text: str) -> bool:
    """Whether a mail program could make a link of something in it."""
    return _LINK.search(text) is not None


def _masked(address: str) -> str:
    """``t***@example.co.jp``: enough for whoever knows it."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"


def _japanese(moment: float) -> str:
    """``2027年4月1日（木）23時59分``."""
    there = datetime.fromtimestamp(moment, _JAPAN)
    day = f"{there.year}年{there.month}月{there.day}日（{_WEEKDAYS[there.weekday()]}）"
    return f"{day}{there.hour}時{there.minute:02d}分"


def _english(moment: float) -> str:
    """``1 April 2027, 23:59 (Japan time)``; not by strftime, which asks the machine's locale."""
    there = datetime.fromtimestamp(moment, _JAPAN)
    return f"{there.day} {_MONTHS[there.month - 1]} {there.year}, {there.hour:02d}:{there.minute:02d} (Japan time)"
