"""Notices of certificates that end, and the mail server (clause D.5)."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mtls_gateway.config.values import File, MailAddress, Seconds, Section


class Notices(Section):
    """Notices of certificates that end (clause D.5): to the user and to the administrators of its company."""

    #: Days of the calendar in Japan before the last day; 0: when it has expired.
    days: tuple[Annotated[int, Field(ge=0, le=180)], ...] = Field(default=(40, 10, 3, 0), max_length=10)
    #: Their mails go out from this hour on, in Japan.
    hour: Annotated[int, Field(ge=0, le=23)] = 9
    #: How often the clerk looks for notices that are due and certificates that have expired.
    every: Seconds = 60.0
    #: Certificates in one transaction.
    portion: Annotated[int, Field(ge=1, le=1_000)] = 100
    #: When the clock jumps ahead by more, no notice is given for ``clock_hold``, in which it can be set right.
    clock_jump: Seconds = 86_400.0
    clock_hold: Seconds = 3_600.0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Mail(Section):
    """The mail server (clause D.5). Left out: no mail is sent, and those due are listed as failed."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    #: ``none`` only for a server on this machine.
    security: Literal["starttls", "tls", "none"] = "starttls"
    #: The CAs that may have issued the server's certificate; left out: the system's.
    ca_file: File | None = None
    user: str | None = None
    password_file: File | None = None
    sender: MailAddress
    reply_to: MailAddress | None = None
    #: How long connecting, and sending one mail, may take.
    timeout: Seconds = 30.0
    #: Mails taken from the outbox at a time, sent one after the other over one connection.
    batch: Annotated[int, Field(ge=1, le=200)] = 20
    #: How often the outbox is looked at.
    poll: Seconds = 1.0
    #: A mail that the server would not take now is tried again after so long, then after twice as long, …
    retry_first: Seconds = 60.0
    retry_longest: Seconds = 14_400.0
    #: … and when it has waited for so long altogether, it has failed. While the server is away nothing fails.
    give_up: Seconds = 432_000.0
    #: A server that is away is tried again after a second, then two, … at most so long.
    pause_longest: Seconds = 300.0
    #: Mails that have gone out, or failed, are kept for so many days.
    kept_days: Annotated[int, Field(ge=60)] = 400

    @model_validator(mode="after")
    def _keeps_its_secrets(self) -> Mail:
        if self.security == "none" and not _is_loopback(self.host):
            raise ValueError('security = "none" is for a server on this machine only; use starttls or tls')
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together")
        return self
