"""What the worker says of a request, in its one header ``Gateway-Context``: read strictly.

Only workers can reach the portal's socket, and they strip the header from clients in every spelling. It
is believed, but nothing is guessed: missing, twice or malformed is an error of the gateway's own.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from mtls_gateway.model import CertificateId, Code, Site, read_serial

HEADER = "Gateway-Context"
#: The portal's answer may carry it; the worker strips it and closes the client's connection after the answer.
CLOSE = ("Gateway-Connection", "close")


class ContextError(Exception):
    """The worker and the portal do not speak the same language; no request of a client can cause it."""


def _fingerprint(text: str) -> str:
    if len(bytes.fromhex(text)) != 32:
        raise ValueError("a fingerprint has 32 octets")
    return text


def _serial(text: str) -> str:
    read_serial(text)
    return text


class ShownCertificate(BaseModel):
    """The certificate of the connection, good or not: the verdict says."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    issuer: str
    serial: Annotated[str, AfterValidator(_serial)]
    fingerprint: Annotated[str, AfterValidator(_fingerprint)]
    subject: str = ""

    @property
    def identity(self) -> CertificateId:
        """What identifies it."""
        return CertificateId(self.issuer, read_serial(self.serial))


class ToldClosure(BaseModel):
    """What is said of a closure of the whole service; ``ends`` in POSIX seconds, None: nobody knows yet."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    ends: float | None
    note_ja: str | None
    note_en: str | None


class Context(BaseModel):
    """One request as the worker judged it. ``not_after`` in POSIX seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    site: Site
    address: str
    verdict: Literal["admitted"] | Code
    certificate: ShownCertificate | None
    user: str | None
    not_after: float | None
    session: Literal["live", "pending", "session_ended", "session_other_certificate"] | None = None
    browser: Literal["unsupported"] | None = None
    lang: str | None = None
    closure: ToldClosure | None = None
    #: Where a legacy session may be opened, the best first; empty: every backend is out. None: anywhere.
    backends: tuple[str, ...] | None = None

    @property
    def accepted(self) -> CertificateId | None:
        """The certificate, when it is one that may sign in."""
        if self.site is not Site.CERTIFICATE or self.verdict != "admitted" or self.certificate is None:
            return None
        return self.certificate.identity


def read_context(values: list[str]) -> Context:
    """The context of a request that has these ``Gateway-Context`` headers.

    Raises:
        ContextError: there is not exactly one, or it is malformed.
    """
    if len(values) != 1:
        raise ContextError(f"{len(values)} {HEADER} headers instead of one; is the portal's socket used by others?")
    try:
        return Context.model_validate_json(values[0])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ContextError(f"{HEADER}: {where}: {first['msg']}") from error
