"""The mail as it goes over the wire (RFC 5322, RFC 2045 to 2047)."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from mtls_gateway.clerical import Mail
from mtls_gateway.config import Mail as MailSettings
from mtls_gateway.errors import StateError
from mtls_gateway.mail.texts import Text

_JAPAN = timezone(timedelta(hours=9))


def message_id(key: str, sender: str) -> str:
    """Of the outbox's key alone: the same mail, however often it is sent, is the same to every mail program."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"


def compose(mail: Mail, text: Text, settings: MailSettings, sender_name: str, now: float) -> bytes:
    """The whole message, with CRLF.

    Args:
        mail: to whom.
        text: what it says.
        settings: from whom.
        sender_name: as mail programs show the sender.
        now: its Date, POSIX seconds.

    Raises:
        StateError: the address cannot stand in a header.
    """
    message = EmailMessage(policy=policy.SMTP)
    try:
        message["Date"] = format_datetime(datetime.fromtimestamp(int(now), _JAPAN))
        message["From"] = Address(sender_name, addr_spec=settings.sender)
        if settings.reply_to is not None:
            message["Reply-To"] = Address(addr_spec=settings.reply_to)
        message["To"] = Address(addr_spec=mail.address)
        message["Subject"] = text.subject
        message["Message-ID"] = message_id(mail.key, settings.sender)
        # RFC 3834, section 5: no out-of-office answers to this.
        message["Auto-Submitted"] = "auto-generated"
        # UTF-8 as base64: seven bits, no long lines, and no program turns it into anything else on the way.
        message.set_content(text.body, charset="utf-8", cte="base64")
        message["Content-Language"] = "ja, en"
        octets = message.as_bytes()
    except (ValueError, UnicodeError, LookupError, IndexError) as error:
        raise StateError(f"the mail cannot be written: {error}") from error
    if not mail.address.isascii():
        raise StateError("the address is not ASCII; mail servers do not have to take it")
    return octets
