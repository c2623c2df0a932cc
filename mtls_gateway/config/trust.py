"""Which certificates are good: authorities and their CRLs (clauses C.1 to C.4)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mtls_gateway.config.values import CrlSource, File, Octets, Seconds, Section


class Crl(Section):
    """Where one CRL comes from. A certificate's own distribution point is never fetched (SSRF)."""

    #: A file, or an http:// or https:// address.
    source: CrlSource
    delta: bool = False
    refresh: Seconds = 5.0
    timeout: Seconds = 20.0
    maximum_octets: Octets = 128 * 1024**2

    @property
    def is_http(self) -> bool:
        """Fetched over HTTP rather than read from a file."""
        return self.source.startswith(("http://", "https://"))


class Authority(Section):
    """One CA certificate of the bank, issuing or superior (clause C.1)."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    certificate: File
    #: Trusted in its own right. Left out: true for a self-signed certificate only.
    anchor: bool | None = None
    #: Named to browsers in the certificate request, so that their picker shows this CA's certificates.
    named_to_browsers: bool = True
    revocation: Literal["crl", "none"] = "crl"
    crls: tuple[Crl, ...] = ()
    #: What to do when a CRL is past its ``nextUpdate`` (clause C.2).
    stale: Literal["refuse", "grace", "accept"] = "refuse"
    grace: Seconds = 86_400.0

    @model_validator(mode="after")
    def _has_a_crl(self) -> Authority:
        if self.revocation == "crl" and not self.crls:
            raise ValueError('needs at least one entry in crls, or revocation = "none"')
        return self


class Trust(Section):
    """Which certificates are good (clauses C.1 to C.4)."""

    authorities: tuple[Authority, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Trust:
        names = [authority.name for authority in self.authorities]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two authorities are named {name!r}")
        return self
