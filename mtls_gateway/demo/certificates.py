"""The demo's certificates, from the development CA: good ones, and one with each defect."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from mtls_gateway.clock import Clock, ManualClock
from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import Defect, DemoCertificate
from mtls_gateway.errors import StateError
from mtls_gateway.issuance import development_profiles as profiles
from mtls_gateway.issuance.development_ca import DevelopmentAuthority
from mtls_gateway.issuance.key_files import PRIVATE, replace_file
from mtls_gateway.model import CertificateId

DAY: Final = 86_400.0
#: Days: a CRL of the demo is good for so long.
_CRL_DAYS: Final = 30.0


class DemoCertificates:
    """Folders of CAs, of the hosts' certificates and of the users'."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._clock = clock
        self.authority = directory / "ca"
        self.stranger = directory / "other-ca"
        self.hosts = directory / "hosts"
        self.users = directory / "certificates"

    @property
    def server_ca(self) -> Path:
        """The CA of the hosts' certificates: what a browser must trust."""
        return self.authority / "server-ca.cert.pem"

    def user(self, name: str) -> Path:
        """Certificate and key of a user, PEM."""
        return self.users / f"{name}.pem"

    def identity(self, name: str) -> tuple[CertificateId, float]:
        """(issuer, serial) of a user's certificate, and the end of its life in POSIX seconds."""
        certificate = x509.load_pem_x509_certificate(self.user(name).read_bytes())
        identity = CertificateId(certificate.issuer.rfc4514_string(), certificate.serial_number)
        return identity, certificate.not_valid_after_utc.timestamp()

    def make(self) -> None:
        """Everything, in folders that are not there yet."""
        now = self._clock.now()
        # Two years old, so that there can be a certificate that has expired.
        DevelopmentAuthority(self.authority, ManualClock(now - 730 * DAY)).initialise("Demo Credit Cooperative")
        DevelopmentAuthority(self.stranger, self._clock).initialise("Another Bank")
        authority = DevelopmentAuthority(self.authority, self._clock)
        for host in (cast.PUBLIC_HOST, cast.CERTIFICATE_HOST):
            authority.issue_server((host, "127.0.0.1"), self.hosts)
        self.users.mkdir(mode=0o700)
        for wanted in cast.CERTIFICATES:
            self._make_user(wanted, now)
        authority.write_crl(days=_CRL_DAYS)
        for wanted in cast.CERTIFICATES:
            if wanted.defect is Defect.REVOKED:
                self.revoke(wanted.name)

    def revoke(self, name: str) -> None:
        """Put a certificate on the CRL, as the bank's CA would: nothing but the file changes."""
        identity, _ = self.identity(name)
        DevelopmentAuthority(self.authority, self._clock).revoke(identity.serial, days=_CRL_DAYS)

    def _make_user(self, wanted: DemoCertificate, now: float) -> None:
        if wanted.defect is Defect.WRONG_USAGE:
            key, certificate = self._for_servers(wanted, now)
            self._write(wanted, key, certificate)
            return
        acquired = now - 60
        if wanted.defect is Defect.ENDING:
            acquired -= 340 * DAY
        if wanted.defect in (Defect.EXPIRED, Defect.NOT_YET_VALID):
            acquired += (-368 if wanted.defect is Defect.EXPIRED else 30) * DAY
        folder = self.stranger if wanted.defect is Defect.UNKNOWN_ISSUER else self.authority
        issued = DevelopmentAuthority(folder, ManualClock(acquired)).issue(
            wanted.user_id, f"{wanted.user_id} {wanted.name}", self.users, password=cast.PKCS12_PASSWORD
        )
        issued.pkcs12_file.replace(self.users / f"{wanted.name}.p12")
        both = issued.certificate_file.read_bytes() + issued.key_file.read_bytes()
        replace_file(self.user(wanted.name), both, PRIVATE)
        issued.certificate_file.unlink()
        issued.key_file.unlink()

    def _for_servers(self, wanted: DemoCertificate, now: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """A host's certificate from the CA of the users: no CA made for use would issue it."""
        key = load_pem_private_key((self.authority / "issuing.key.pem").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise StateError(f"{self.authority}: not the demo's CA; make it anew with --fresh")
        superior = x509.load_pem_x509_certificate((self.authority / "issuing.cert.pem").read_bytes())
        own = profiles.new_key()
        host = f"{wanted.user_id}.example"
        return own, profiles.server(profiles.Signer(superior, key), own.public_key(), [host], now - 60)

    def _write(self, wanted: DemoCertificate, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        replace_file(self.user(wanted.name), certificate.public_bytes(Encoding.PEM) + pem, PRIVATE)
        packed = pkcs12.serialize_key_and_certificates(
            wanted.name.encode(), key, certificate, None, BestAvailableEncryption(cast.PKCS12_PASSWORD.encode())
        )
        replace_file(self.users / f"{wanted.name}.p12", packed, PRIVATE)
