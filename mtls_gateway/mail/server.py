"""The mail server, over SMTP (RFC 5321, 3207, 4954): four answers, and what each means for the mail.

==================  ====================================================================
accepted            it has the mail now
refused (5xx)       this mail, or this recipient, for good; others are not touched
not now (4xx)       this mail later, e.g. because of greylisting
away                no connection, no TLS that can be trusted, no sign-in, the sender refused, silence:
                    nothing is wrong with the mail
==================  ====================================================================
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

import aiosmtplib

from mtls_gateway.config import Mail
from mtls_gateway.errors import ConfigurationError, MailServerAway

_CLOSING = 421


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server has the mail."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never take this one."""

    cause: str


@dataclass(frozen=True, slots=True)
class NotNow:
    """It may take it later."""

    cause: str


Answer = Accepted | Refused | NotNow


def read_password(settings: Mail) -> str | None:
    """What the password file holds, without the line's end.

    Raises:
        ConfigurationError: it cannot be read, is empty, or may be read by others.
    """
    if settings.password_file is None:
        return None
    file, key = settings.password_file, "mail.password_file"
    try:
        if file.stat().st_mode & 0o077:
            raise ConfigurationError(str(file), key, f"may be read by others; run: chmod 0600 {file}")
        password = file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(str(file), key, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(str(file), key, "is not UTF-8") from error
    if not password or not password.isprintable():
        raise ConfigurationError(str(file), key, "is empty, or holds more than one line")
    return password


def tls_context(settings: Mail) -> ssl.SSLContext | None:
    """What the server's certificate is checked with; None: there is no TLS.

    Raises:
        ConfigurationError: the CA file cannot be used.
    """
    if settings.security == "none":
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        cause = f"holds no CA certificate that can be read: {error.strerror or error}"
        raise ConfigurationError(str(settings.ca_file), "mail.ca_file", cause) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class MailServer:
    """One connection at a time, opened when it is needed."""

    def __init__(self, settings: Mail) -> None:
        """Read the password and the CAs.

        Raises:
            ConfigurationError: one of them cannot be used.
        """
        self._settings = settings
        self._password = read_password(settings)
        self._context = tls_context(settings)
        self._client: aiosmtplib.SMTP | None = None

    async def connect(self) -> None:
        """Open the connection if there is none.

        Raises:
            MailServerAway: it cannot be opened, trusted or signed in to.
        """
        if self._client is not None and self._client.is_connected:
            return
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.user,
            password=self._password,
            # Its own look-up of this machine's name may take long and asks the network.
            local_hostname=settings.sender.rpartition("@")[2],
            timeout=settings.timeout,
            use_tls=settings.security == "tls",
            # Demanded, not only taken where it is offered: else whoever stands between could take it away.
            start_tls=settings.security == "starttls",
            tls_context=self._context,
        )
        self._client = client
        try:
            async with asyncio.timeout(settings.timeout):
                await client.connect()
        except aiosmtplib.SMTPAuthenticationError as error:
            raise self._away("authentication", error) from error
        except (aiosmtplib.SMTPException, ssl.SSLError, OSError, TimeoutError, ValueError) as error:
            raise self._away(_why(error), error) from error

    async def send(self, message: bytes, recipient: str) -> Answer:
        """Give it one mail; :meth:`connect` comes first.

        Raises:
            MailServerAway: what became of the mail is not known when it was lost on the way (``may_have_it``).
        """
        if self._client is None:
            raise MailServerAway("closed", "the connection is closed", may_have_it=False)
        try:
            async with asyncio.timeout(self._settings.timeout):
                await self._client.sendmail(self._settings.sender, [recipient], message)
        except aiosmtplib.SMTPRecipientsRefused as error:
            return await self._judge(error.recipients[0].code, error.recipients[0].message)
        except aiosmtplib.SMTPSenderRefused as error:
            raise self._away("sender_refused", error) from error
        except aiosmtplib.SMTPResponseException as error:
            return await self._judge(error.code, error.message)
        except (aiosmtplib.SMTPException, ssl.SSLError, OSError, TimeoutError) as error:
            raise self._away(_why(error), error, may_have_it=True) from error
        return Accepted()

    async def close(self) -> None:
        """Say goodbye, if there is time."""
        client, self._client = self._client, None
        if client is not None and client.is_connected:
            try:
                async with asyncio.timeout(1.0):
                    await client.quit()
            except (aiosmtplib.SMTPException, OSError, TimeoutError):
                client.close()

    async def _judge(self, code: int, message: str) -> Answer:
        cause = _one_line(f"{code} {message}")
        if code == _CLOSING:
            raise self._away("closing", cause)
        return NotNow(cause) if 400 <= code < 500 else Refused(cause)

    def _away(self, reason: str, error: object, *, may_have_it: bool = False) -> MailServerAway:
        client, self._client = self._client, None
        if client is not None:
            client.close()
        cause = _one_line(str(error) or type(error).__name__)
        server = f"{self._settings.host}:{self._settings.port}"
        return MailServerAway(reason, f"mail server {server}: {cause} ({reason})", may_have_it=may_have_it)


def _why(error: BaseException) -> str:
    """A stable word for the metric."""
    if isinstance(error, aiosmtplib.SMTPServerDisconnected):
        return "disconnected"
    if isinstance(error, TimeoutError):
        return "slow"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "tls"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, (aiosmtplib.SMTPConnectError, OSError)):
        return "unreachable"
    # What it says of a server without STARTTLS has no class of its own.
    return "refused" if isinstance(error, aiosmtplib.SMTPResponseException) else "not_supported"


def _one_line(message: str) -> str:
    return " ".join(message.split())[:500]
