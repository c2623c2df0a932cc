"""Root and issuing CAs are made by people, on a machine that is not connected; the root's key stays there.

What a ceremony leaves in its directory::

    root.key.pem                 encrypted; never needed by a running gateway: to be kept apart, offline
    root.cert.pem  root.crl.*    for `trust.authorities` and the issuers' chains
    NAME.key.pem                 encrypted, for the signer; not there when the key was made in an HSM
    NAME.cert.pem  NAME.crl.*    the issuing CA's, with an empty CRL to begin with, of the number 0
    minutes-….txt                what was done, to be printed and signed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, get_args

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mtls_gateway.clock import Clock
from mtls_gateway.config import PemKey, Pkcs11Key
from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.issuance.key_files import PRIVATE, PUBLIC, replace_file
from mtls_gateway.issuance.orders import Reason, RevokedEntry
from mtls_gateway.issuance.signer.crl import CrlDraft, CrlHead, CrlLimits
from mtls_gateway.issuance.signer.issuing import IssuingCa
from mtls_gateway.issuance.signer.key import CaPublicKey, IssuerKey, algorithm_of, fits
from mtls_gateway.issuance.signer.key_file import CaPrivateKey, FileKey, encrypted_pem, open_file_key
from mtls_gateway.issuance.signer.key_pkcs11 import KeyKind, TokenKey, generate
from mtls_gateway.issuance.signer.profile import Superior, assemble, ca_extensions, encoded, superior_of, to_be_signed
from mtls_gateway.issuance.signer.secret import Secrets
from mtls_gateway.issuance.validity import JST

_SHORTEST_PASSPHRASE = 12
_ROOT = "root"
_REASONS: dict[str, Reason] = {reason: reason for reason in get_args(Reason)}


@dataclass(frozen=True, slots=True)
class RootPlan:
    """The root to be made."""

    organisation: str
    common_name: str
    key: KeyKind
    years: int


@dataclass(frozen=True, slots=True)
class IssuingPlan:
    """The issuing CA to be made."""

    #: Its name in the configuration and of its files.
    name: str
    common_name: str
    key: KeyKind
    years: int
    #: Where the root's CRL is published.
    root_crl_url: str
    #: The passphrase of its key's file; or the token that makes and keeps the key, and its PIN.
    secret: bytes
    token: Pkcs11Key | None = None
    #: How long its first CRL is good for: until the signer's own has been published.
    first_crl_days: float = 30.0


@dataclass(frozen=True, slots=True)
class Made:
    """What a ceremony has made."""

    root: x509.Certificate
    issuing: x509.Certificate
    root_crl_number: int
    #: In the order of making.
    files: tuple[Path, ...]


class _File(NamedTuple):
    name: str
    content: bytes
    mode: int


class Ceremony:
    """The directory of a root. For one person at a time, at the keyboard."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    def begin(self, root: RootPlan, issuing: IssuingPlan, root_passphrase: bytes, crl_days: float) -> Made:
        """Make a root, an issuing CA below it, and the root's first CRL, good for ``crl_days``.

        Raises:
            StateError: there is a root in the directory, or it cannot be written.
            UsageError: a passphrase is too short or given twice, or a name cannot stand in a certificate.
            KeyUnavailable: the token makes no key.
        """
        _require_good(root_passphrase, "root key")
        if issuing.token is None and issuing.secret == root_passphrase:
            raise UsageError("root and issuing key have the same passphrase; give each its own")
        self._require_new(_ROOT, issuing.name)
        key = _new_key(root.key)
        public_key = encoded(key.public_key())
        subject = _name(root.organisation, root.common_name)
        superior = Superior(subject, key.public_key(), _identifier(key.public_key()), algorithm_of(key.public_key()))
        signed = _sign(FileKey(key), superior, subject, self._period(root.years), public_key, path_length=1)
        held = self._held(signed, FileKey(key))
        # Written only when all of it is there: a token that makes no key leaves nothing behind.
        made, issuing_files = self._make_issuing(held, issuing)
        crl_files = self._make_crl(held, 1, [], crl_days)
        root_files = [
            _File(f"{_ROOT}.key.pem", encrypted_pem(key, root_passphrase), PRIVATE),
            _File(f"{_ROOT}.cert.pem", signed.public_bytes(Encoding.PEM), PUBLIC),
        ]
        return Made(signed, made, 1, self._write(*root_files, *issuing_files, *crl_files))

    def roll_over(self, issuing: IssuingPlan, root_passphrase: bytes, crl_days: float) -> Made:
        """Make another issuing CA below the same root, and the root's next CRL.

        Raises:
            StateError: there is no root, an issuing CA of that name, or the directory cannot be written.
            UsageError: as :meth:`begin`.
            KeyUnavailable: the root's passphrase is wrong, or the token makes no key.
        """
        root = self._open_root(root_passphrase)
        self._require_new(issuing.name)
        made, issuing_files = self._make_issuing(root, issuing)
        number, entries = self._last_crl(root)
        crl_files = self._make_crl(root, number + 1, entries, crl_days)
        return Made(root.certificate, made, number + 1, self._write(*issuing_files, *crl_files))

    def renew_crl(
        self, root_passphrase: bytes, crl_days: float, revoke: Sequence[tuple[Path, Reason]] = ()
    ) -> tuple[int, tuple[Path, ...]]:
        """The root's next CRL; ``revoke`` are certificates of issuing CAs that are to be on it. Its number and files.

        Raises:
            StateError: there is no root, a certificate is not the root's, or the directory cannot be written.
            KeyUnavailable: the root's passphrase is wrong.
        """
        root = self._open_root(root_passphrase)
        number, entries = self._last_crl(root)
        for path, reason in revoke:
            certificate = _read(path)
            try:
                certificate.verify_directly_issued_by(root.certificate)
            except Exception as error:  # the library raises several kinds
                raise StateError(f"{path} is not a certificate of this root") from error
            if certificate.serial_number in {entry.serial for entry in entries}:
                raise StateError(f"{path} was revoked before")
            entries.append(RevokedEntry(certificate.serial_number, int(self._clock.now()), reason))
        return number + 1, self._write(*self._make_crl(root, number + 1, entries, crl_days))

    def write_minutes(self, text: str) -> Path:
        """The sheet that is signed, beside what it speaks of."""
        moment = datetime.fromtimestamp(self._clock.now(), JST)
        (path,) = self._write(_File(f"minutes-{moment:%Y%m%d-%H%M%S}.txt", text.encode(), PUBLIC))
        return path

    # --- making ---------------------------------------------------------------------------------

    def _make_issuing(self, root: IssuingCa, plan: IssuingPlan) -> tuple[x509.Certificate, list[_File]]:
        if plan.token is None:
            _require_good(plan.secret, "issuing key")
        organisation = root.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
        subject = _name(str(organisation), plan.common_name)
        if subject == root.certificate.subject:
            raise UsageError("root and issuing CA have the same name; give each its own")
        period = self._period(plan.years)
        if period[1] > root.ends:
            raise UsageError(f"an issuing CA of {plan.years} years would outlive its root")
        files: list[_File] = []
        key: IssuerKey
        if plan.token is None:
            made = _new_key(plan.key)
            key = FileKey(made)
            files.append(_File(f"{plan.name}.key.pem", encrypted_pem(made, plan.secret), PRIVATE))
        else:
            generate(plan.token, plan.secret, plan.key)
            key = TokenKey(plan.token, plan.secret)
        certificate = _sign(
            root.key,
            root.superior,
            subject,
            period,
            encoded(key.public_key),
            path_length=0,
            below=root.superior,
            crl_url=plan.root_crl_url,
        )
        certificate.verify_directly_issued_by(root.certificate)
        if not fits(key, key.public_key):
            raise StateError("the new key does not sign what it should; nothing may be issued with it")
        files.append(_File(f"{plan.name}.cert.pem", certificate.public_bytes(Encoding.PEM), PUBLIC))
        # The gateway does not start without a CRL. The signer begins with 1.
        files += self._make_crl(self._held(certificate, key, plan.name), 0, [], plan.first_crl_days)
        key.close()
        return certificate, files

    def _make_crl(self, issuer: IssuingCa, number: int, entries: list[RevokedEntry], days: float) -> list[_File]:
        if not 0 < days <= 3652:
            raise UsageError("a CRL is good for more than 0 and at most 3652 days")
        now = int(self._clock.now())
        head = CrlHead(issuer.name, number, now, now + int(days * 86_400))
        draft = CrlDraft(head, issuer, CrlLimits(backdating=0, longest=days * 86_400, entries=1_000), self._directory)
        try:
            draft.add(sorted(entries))
            octets = b"".join(draft.finished(issuer.key.sign(draft.digest())))
        finally:
            draft.close()
        crl = x509.load_der_x509_crl(octets)
        return [
            _File(f"{issuer.name}.crl.der", octets, PUBLIC),
            _File(f"{issuer.name}.crl.pem", crl.public_bytes(Encoding.PEM), PUBLIC),
        ]

    # --- the directory --------------------------------------------------------------------------

    def _open_root(self, passphrase: bytes) -> IssuingCa:
        path = self._directory / f"{_ROOT}.key.pem"
        if not path.exists():
            raise StateError(f"there is no root in {self._directory}; make one with: mtls-gateway ca ceremony")
        source = "prompt"
        key = open_file_key(PemKey(kind="pem", file=path, passphrase=source), Secrets.known({source: passphrase}))
        certificate = _read(self._directory / f"{_ROOT}.cert.pem")
        if key.public_key != certificate.public_key():
            raise StateError(f"{path} is not the key of {_ROOT}.cert.pem")
        return self._held(certificate, key)

    def _held(self, certificate: x509.Certificate, key: IssuerKey, name: str = _ROOT) -> IssuingCa:
        superior = superior_of(certificate, algorithm_of(certificate.public_key()))
        return IssuingCa(name, False, certificate, (), "", superior, key)

    def _last_crl(self, root: IssuingCa) -> tuple[int, list[RevokedEntry]]:
        """The number and the entries of the root's last CRL: the next one has them too."""
        path = self._directory / f"{_ROOT}.crl.der"
        try:
            crl = x509.load_der_x509_crl(path.read_bytes())
            number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            if not crl.is_signature_valid(root.superior.public_key):
                raise ValueError("another key has signed it")
            entries = [
                RevokedEntry(entry.serial_number, int(entry.revocation_date_utc.timestamp()), _reason(entry))
                for entry in crl
            ]
        except (OSError, ValueError, TypeError, x509.ExtensionNotFound) as error:
            raise StateError(
                f"{path} is not the root's last CRL, without which the next cannot be made: {error}"
            ) from error
        return number, entries

    def _require_new(self, *names: str) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"{self._directory} cannot be made: {error.strerror}") from error
        for name in names:
            for ending in ("key.pem", "cert.pem"):
                if (self._directory / f"{name}.{ending}").exists():
                    raise StateError(
                        f"{self._directory / name}.{ending} is there already; give another name or directory"
                    )

    def _write(self, *files: _File) -> tuple[Path, ...]:
        for file in files:
            replace_file(self._directory / file.name, file.content, file.mode)
        return tuple(self._directory / file.name for file in files)

    def _period(self, years: int) -> tuple[int, int]:
        """From now to the last second of the same day, so many years later, in Japan."""
        first = datetime.fromtimestamp(int(self._clock.now()), JST)
        day = first.replace(day=28) if (first.month, first.day) == (2, 29) else first
        last = day.replace(year=first.year + years, hour=23, minute=59, second=59)
        return int(first.timestamp()), int(last.timestamp())


def _sign(
    key: IssuerKey,
    superior: Superior,
    subject: x509.Name,
    period: tuple[int, int],
    public_key: bytes,
    *,
    path_length: int,
    below: Superior | None = None,
    crl_url: str | None = None,
) -> x509.Certificate:
    body = to_be_signed(
        serial=x509.random_serial_number(),
        issuer=superior,
        subject=subject,
        period=period,
        public_key=public_key,
        extensions=ca_extensions(public_key, below, path_length=path_length, crl_url=crl_url),
    )
    signature = key.sign(superior.algorithm.digest_of(body))
    return x509.load_der_x509_certificate(assemble(body, superior.algorithm, signature))


def _new_key(kind: KeyKind) -> CaPrivateKey:
    if kind == "P-256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "P-384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(65_537, int(kind[4:]))


def _identifier(key: CaPublicKey) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(key).digest


def _name(organisation: str, common_name: str) -> x509.Name:
    try:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )
    except ValueError as error:
        raise UsageError(f"{organisation!r} or {common_name!r} cannot stand in a certificate: {error}") from error


def _require_good(passphrase: bytes, what: str) -> None:
    if len(passphrase) < _SHORTEST_PASSPHRASE:
        raise UsageError(f"the passphrase of the {what} has less than {_SHORTEST_PASSPHRASE} octets")


def _read(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StateError(f"{path} is no certificate in PEM: {error}") from error


def _reason(entry: x509.RevokedCertificate) -> Reason:
    try:
        found = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return "unspecified"
    return _REASONS[found]
