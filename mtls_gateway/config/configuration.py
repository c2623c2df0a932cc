"""The whole file, and what must fit together across its tables."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from mtls_gateway.config.bounds import Limits, Timeouts
from mtls_gateway.config.cooling_off import BusinessDays, CoolingOff
from mtls_gateway.config.hosts import Host, Tls
from mtls_gateway.config.issuance import Issuance
from mtls_gateway.config.legacy import Legacy
from mtls_gateway.config.notices import Mail, Notices
from mtls_gateway.config.operations import Operations, Store
from mtls_gateway.config.pages import Letter, Pages
from mtls_gateway.config.signer import Signer
from mtls_gateway.config.signing_in import Browsers, Lockout, Sessions
from mtls_gateway.config.trust import Trust
from mtls_gateway.config.values import File, Section


class Configuration(Section):
    """Everything, validated."""

    state: File
    public: Host
    certificate: Host
    tls: Tls = Tls()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    trust: Trust
    sessions: Sessions = Sessions()
    lockout: Lockout = Lockout()
    browsers: Browsers = Browsers()
    legacy: Legacy
    issuance: Issuance | None = None
    notices: Notices = Notices()
    mail: Mail | None = None
    store: Store = Store()
    operations: Operations = Operations()
    pages: Pages = Pages()
    letter: Letter = Letter()
    business_days: BusinessDays = BusinessDays()
    signer: Signer | None = None
    cooling_off: CoolingOff = CoolingOff()

    @model_validator(mode="after")
    def _hosts_can_be_told_apart(self) -> Configuration:
        if self.public.authority == self.certificate.authority:
            raise ValueError("public and certificate have the same name and port; give the certificate host its own")
        shared = set(self.public.listen) & set(self.certificate.listen)
        if shared and set(self.public.listen) != set(self.certificate.listen):
            raise ValueError("public.listen and certificate.listen must be the same endpoints or have none in common")
        if shared and self.public.name == self.certificate.name:
            raise ValueError("one name on one port: SNI cannot tell the hosts apart; give the certificate host a port")
        if shared and set(self.public.proxy_protocol) != set(self.certificate.proxy_protocol):
            raise ValueError(
                "public.proxy_protocol and certificate.proxy_protocol must be the same where the hosts share endpoints"
            )
        if self.operations.listen in (*self.public.listen, *self.certificate.listen):
            raise ValueError(
                "operations.listen is an endpoint of a host; give it a port of its own, and not to the world"
            )
        return self

    @model_validator(mode="after")
    def _issuance_has_its_signer(self) -> Configuration:
        if self.issuance is None:
            return self
        if self.signer is None:
            raise ValueError("issuance needs the signer; configure [signer], or leave [issuance] out")
        for kind in self.issuance.keys:
            if kind not in self.signer.key_types:
                raise ValueError(f"issuance.keys has {kind}, which signer.key_types has not")
        return self

    @property
    def portal_socket(self) -> Path:
        """The private unix socket that workers reach the portal by."""
        return self.state / "run" / "portal.sock"

    @property
    def signer_socket(self) -> Path:
        """The unix socket that portal and clerk reach the signer by."""
        named = None if self.signer is None else self.signer.socket
        return named or self.state / "run" / "signer.sock"

    @property
    def signer_directory(self) -> Path:
        """Where the signer's journal lies."""
        named = None if self.signer is None else self.signer.directory
        return named or self.state / "signer"

    @property
    def published_directory(self) -> Path:
        """Where the CRLs of the signer's issuers are written and published from."""
        named = None if self.issuance is None else self.issuance.crl.directory
        return named or self.state / "published"

    @property
    def database_url(self) -> str:
        """The store's address as SQLAlchemy writes it, without a driver."""
        return self.store.url or f"sqlite:///{self.state / 'gateway.sqlite3'}"

    @property
    def instance_secret(self) -> Path:
        """The file of the instance secret, see ``signin.instance_secret``."""
        return self.state / "instance.secret"

    @property
    def revocation_directory(self) -> Path:
        """Where compiled revocation indexes lie."""
        return self.state / "revocation"
