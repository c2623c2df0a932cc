"""Certificates that are issued here: codes, own CRLs, renewal (clauses D.1 to D.7)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mtls_gateway.config.values import Count, File, Octets, Seconds, Section


class EnrolmentCodes(Section):
    """One-time enrolment codes, as they stand in procedure letters (clause D.1)."""

    tries: Count = 5
    days: Count = 80


class OwnCrls(Section):
    """The CRLs of the signer's issuers, one file each (clause C.2)."""

    #: Where ``ISSUER.crl`` is written; ``trust.authorities`` names these files. Left out: ``published`` in the state
    #: directory. They are published below ``pages.prefix``, as ``crl/ISSUER.crl``.
    directory: File | None = None
    #: From thisUpdate to nextUpdate.
    lifetime: Seconds = 604_800.0
    #: Signed anew so long before nextUpdate, if no revocation asks for it sooner.
    renew_before: Seconds = 518_400.0
    #: After a revocation those that follow at once are waited for …
    gather: Seconds = 0.2
    #: … and after a CRL the next one comes no sooner.
    shortest: Seconds = 5.0
    #: A revoked certificate is listed for so long after its own end.
    listed_after_end: Seconds = 604_800.0
    #: Caches on the way may keep a CRL for so long.
    cache: Seconds = 300.0

    @model_validator(mode="after")
    def _is_renewed_in_time(self) -> OwnCrls:
        if self.renew_before >= self.lifetime:
            raise ValueError("renew_before must be shorter than lifetime: else each CRL is renewed at once")
        return self


class Issuance(Section):
    """The bank issues its users' certificates here (clauses D.1 to D.7). Left out: they come from elsewhere."""

    #: O of the users' certificates: the bank's name in ASCII.
    organisation: Annotated[str, Field(min_length=1, max_length=64)]
    #: What a user's key may be; the customer's PC makes P-256 unless told otherwise.
    keys: tuple[Literal["P-256", "P-384", "RSA-2048", "RSA-3072", "RSA-4096"], ...] = Field(
        default=("P-256",), min_length=1
    )
    codes: EnrolmentCodes = EnrolmentCodes()
    #: A certificate can be renewed from so many days before it ends (clause D.4).
    renewal_days: Annotated[int, Field(ge=1, le=180)] = 40
    #: A request with a PKCS#10 may have so many octets.
    csr_octets: Octets = 16_384
    #: The issuing app that customers download after the enrolment sign-in page; left out: the letter says where it is.
    issuing_app: File | None = None
    #: How often a certificate that was written down and not signed yet is taken to the signer again.
    finish_every: Seconds = 30.0
    crl: OwnCrls = OwnCrls()
