"""The process that alone holds the CA keys (clause D.7)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mtls_gateway.config.values import Count, Endpoint, File, HttpAddress, Seconds, SecretSource, Section


class PemKey(Section):
    """An issuing CA's key in a file: PKCS#8, PEM, encrypted; mode 0600."""

    kind: Literal["pem"]
    file: File
    #: Where its passphrase comes from: ``credential:NAME`` (systemd's), ``file:PATH``; where the signer is started
    #: alone also ``fd:NUMBER`` and ``prompt``.
    passphrase: SecretSource | None = None
    #: For development only: the file is not encrypted.
    unencrypted: bool = False

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> PemKey:
        if (self.passphrase is None) != self.unencrypted:
            raise ValueError("needs passphrase; for development only, unencrypted = true instead")
        return self


class Pkcs11Key(Section):
    """An issuing CA's key in a hardware security module, reached by PKCS#11."""

    kind: Literal["pkcs11"]
    #: The maker's library, e.g. ``/usr/lib/softhsm/libsofthsm2.so``.
    module: File
    #: Labels of the token and of the private key in it.
    token: Annotated[str, Field(min_length=1, max_length=32)]
    label: Annotated[str, Field(min_length=1)]
    #: Where the user PIN comes from, as for a passphrase.
    pin: SecretSource


class SignerIssuer(Section):
    """One issuing CA whose key the signer holds. During a roll-over there are two, one of them active."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    #: Signs new certificates; the others go on signing their CRLs.
    active: bool = False
    certificate: File
    #: Its superiors, up to and with the root.
    chain: tuple[File, ...] = Field(min_length=1)
    key: Annotated[PemKey | Pkcs11Key, Field(discriminator="kind")]
    #: Where its CRL is published: written into every certificate.
    crl_url: HttpAddress


class Signer(Section):
    """The process that alone holds the CA keys (clause D.7). Left out: this gateway issues nothing."""

    #: ``serve`` runs it too. False: it is started alone, as a user of its own, with ``mtls-gateway signer``.
    role: bool = True
    #: The unix socket; left out: ``run/signer.sock`` in the state directory.
    socket: File | None = None
    #: The group that may connect besides the signer's user; left out: none.
    group: str | None = None
    #: The users whose processes may give orders; left out: only the signer's own.
    users: tuple[str, ...] = ()
    #: Where its journal lies, nobody else's (mode 0700); left out: ``signer`` in the state directory.
    directory: File | None = None
    issuers: tuple[SignerIssuer, ...] = Field(min_length=1)
    #: The keys that users may have.
    key_types: tuple[Literal["P-256", "P-384", "RSA-2048", "RSA-3072", "RSA-4096"], ...] = Field(
        default=("P-256",), min_length=1
    )
    #: How long before now a new certificate or CRL may begin.
    backdating: Seconds = 300.0
    #: More is answered with "wait", so that a portal that was taken over cannot mint at will.
    certificates_per_minute: Count = 600
    crls_per_minute: Count = 20
    #: The longest time from a CRL's thisUpdate to its nextUpdate.
    crl_longest: Seconds = 2_592_000.0
    crl_entries: Count = 2_000_000
    connections: Count = 64
    #: How long portal and clerk wait for a certificate, and the signer for the rest of a message.
    timeout: Seconds = 10.0
    #: How long the clerk waits for a CRL.
    crl_timeout: Seconds = 120.0
    #: A connection on which nothing was asked for so long is closed.
    idle: Seconds = 600.0
    #: Metrics of a signer that is started alone; left out: not served.
    metrics: Endpoint | None = None

    @model_validator(mode="after")
    def _one_is_active(self) -> Signer:
        names = [issuer.name for issuer in self.issuers]
        if len(set(names)) < len(names):
            raise ValueError("two issuers have the same name")
        active = sum(issuer.active for issuer in self.issuers)
        if active != 1:
            raise ValueError(f"{active} issuers are active; set active = true on the one that signs new certificates")
        sources = [one.key.passphrase if one.key.kind == "pem" else one.key.pin for one in self.issuers]
        if self.role and any(source is not None and source.startswith(("fd:", "prompt")) for source in sources):
            raise ValueError(
                "serve can neither prompt nor keep a descriptor: use credential: or file:, or role = false"
            )
        return self
