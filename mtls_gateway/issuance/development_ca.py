"""A certification authority in a directory: good for development and demonstrations, not for a bank's customers.

Its keys are plain files (mode 0600), whoever reads them can issue. It has two hierarchies: root → issuing for the
users' certificates, and one server CA, which stands for those that browsers trust, for the hosts'.

::

    root.cert.pem  root.key.pem  root.crl.pem  root.crl.der
    issuing.cert.pem  issuing.key.pem  issuing.crl.pem  issuing.crl.der
    server-ca.cert.pem  server-ca.key.pem
    state.json         CRL numbers, what was revoked, what was issued; the truth, written before what follows from it
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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

from mtls_gateway.clock import Clock
from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.issuance import development_profiles as profiles
from mtls_gateway.issuance.key_files import PRIVATE, PUBLIC, replace_file
from mtls_gateway.model import CertificateId, print_serial, read_serial

#: The reasons of RFC 5280, section 5.3.1, that an operator may give. ``certificateHold`` and ``removeFromCRL`` are
#: not among them: a revocation is final here.
REASONS = {
    reason.value: reason
    for reason in (
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.privilege_withdrawn,
    )
}


@dataclass(slots=True)
class _State:
    crl_url: str | None
    crl_number: int = 0
    root_crl_number: int = 0
    issued: dict[str, str] = field(default_factory=dict)
    revoked: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Issued:
    """A user's new certificate; ``not_after`` is POSIX seconds."""

    certificate: CertificateId
    not_after: float
    certificate_file: Path
    key_file: Path
    pkcs12_file: Path


@dataclass(frozen=True, slots=True)
class IssuedServer:
    """A host's new certificate."""

    certificate_file: Path
    key_file: Path
    not_after: float


class DevelopmentAuthority:
    """The CA of one directory. One command at a time: the directory is locked while something is written."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    @property
    def issuer(self) -> str:
        """The issuing CA's name, as registrations have it."""
        return self._signer("issuing").certificate.subject.rfc4514_string()

    def initialise(self, organisation: str, *, crl_url: str | None = None, days: float = 7.0) -> None:
        """Make the keys, the certificates and the first CRLs, good for ``days``.

        Raises:
            StateError: there is a CA in the directory, or it cannot be written.
            UsageError: ``organisation`` cannot stand in a certificate.
        """
        now = self._clock.now()
        root = profiles.root(organisation, f"{organisation} Root CA", now)
        issuing = profiles.issuing(root, organisation, f"{organisation} Issuing CA", now, None)
        server = profiles.root(organisation, f"{organisation} Server CA", now)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"{self._directory} cannot be made: {error.strerror}") from error
        with self._locked():
            if self._path("state.json").exists():
                raise StateError(f"there is a CA in {self._directory} already; give another directory")
            for name, signer in (("root", root), ("issuing", issuing), ("server-ca", server)):
                replace_file(self._path(f"{name}.key.pem"), _key_pem(signer.key), PRIVATE)
                replace_file(self._path(f"{name}.cert.pem"), signer.certificate.public_bytes(Encoding.PEM), PUBLIC)
            # Last: only a directory with a state is a CA, so a beginning that was cut short can be repeated.
            self._write_lists(_State(crl_url), days)

    def issue(self, user_id: str, common_name: str, directory: Path, *, password: str) -> Issued:
        """Make a key and a certificate for the user and write them, as PEM and PKCS#12, into ``directory``.

        Raises:
            StateError: there is no CA, or something cannot be written.
            UsageError: a name cannot stand in a certificate, or the password is empty.
        """
        if not user_id or "/" in user_id or user_id.startswith("."):
            raise UsageError(f"{user_id!r} is not a user ID")
        if not password:
            raise UsageError("the PKCS#12 file needs a password; browsers refuse to import one without")
        issuing = self._signer("issuing")
        key = profiles.new_key()
        with self._locked():
            state = self._read_state()
            certificate = profiles.client(
                issuing,
                key.public_key(),
                user_id=user_id,
                common_name=common_name,
                now=self._clock.now(),
                crl_url=state.crl_url,
            )
            state.issued[print_serial(certificate.serial_number)] = user_id
            self._write_state(state)
        _make_directory(directory)
        files = [directory / f"{user_id}.{ending}" for ending in ("cert.pem", "key.pem", "p12")]
        bundle = pkcs12.serialize_key_and_certificates(
            common_name.encode(), key, certificate, [issuing.certificate], BestAvailableEncryption(password.encode())
        )
        replace_file(files[0], certificate.public_bytes(Encoding.PEM), PUBLIC)
        replace_file(files[1], _key_pem(key), PRIVATE)
        replace_file(files[2], bundle, PRIVATE)
        return Issued(
            CertificateId(certificate.issuer.rfc4514_string(), certificate.serial_number),
            certificate.not_valid_after_utc.timestamp(),
            *files,
        )

    def issue_server(self, names: Sequence[str], directory: Path) -> IssuedServer:
        """Make a key and a certificate for a host of these names and addresses, from the server CA.

        Raises:
            StateError: there is no CA, or something cannot be written.
            UsageError: no name, or one that is neither a host name nor an address.
        """
        if not names:
            raise UsageError("a host's certificate needs at least one name")
        signer = self._signer("server-ca")
        key = profiles.new_key()
        certificate = profiles.server(signer, key.public_key(), names, self._clock.now())
        _make_directory(directory)
        stem = names[0].replace(":", "_")
        certificate_file, key_file = directory / f"{stem}.cert.pem", directory / f"{stem}.key.pem"
        replace_file(key_file, _key_pem(key), PRIVATE)
        replace_file(certificate_file, certificate.public_bytes(Encoding.PEM), PUBLIC)
        return IssuedServer(certificate_file, key_file, certificate.not_valid_after_utc.timestamp())

    def revoke(self, serial: int, reason: str = "unspecified", *, days: float = 7.0) -> int:
        """Revoke a certificate that this CA issued and write the next CRL; returns its number.

        Raises:
            StateError: it was not issued here, or was revoked before.
            UsageError: the reason is none of ``REASONS``.
        """
        if reason not in REASONS:
            raise UsageError(f"{reason!r} is not a reason; give one of {', '.join(REASONS)}")
        with self._locked():
            state = self._read_state()
            printed = print_serial(serial)
            if printed not in state.issued:
                raise StateError(f"this CA has not issued a certificate with the serial {printed}")
            if any(entry["serial"] == printed for entry in state.revoked):
                raise StateError(f"the certificate with the serial {printed} was revoked before")
            state.revoked.append({"serial": printed, "at": self._clock.now(), "reason": reason})
            return self._write_lists(state, days)

    def write_crl(self, *, days: float = 7.0) -> int:
        """Write the next CRLs, PEM and DER, good for ``days``; returns the issuing CA's number.

        Raises:
            StateError: there is no CA, or something cannot be written.
        """
        if not 0 < days <= 3652:
            raise UsageError("a CRL is good for more than 0 and at most 3652 days")
        with self._locked():
            return self._write_lists(self._read_state(), days)

    def _write_lists(self, state: _State, days: float) -> int:
        now = self._clock.now()
        state.crl_number += 1
        state.root_crl_number += 1
        # The number is written down first: it may be skipped, but never be given to two CRLs.
        self._write_state(state)
        entries = [
            profiles.Revoked(read_serial(one["serial"]), one["at"], REASONS[one["reason"]]) for one in state.revoked
        ]
        lists: tuple[tuple[str, int, list[profiles.Revoked]], ...] = (
            ("root", state.root_crl_number, []),
            ("issuing", state.crl_number, entries),
        )
        for name, number, revoked in lists:
            crl = profiles.revocation_list(self._signer(name), number, revoked, now, days)
            replace_file(self._path(f"{name}.crl.der"), crl.public_bytes(Encoding.DER), PUBLIC)
            replace_file(self._path(f"{name}.crl.pem"), crl.public_bytes(Encoding.PEM), PUBLIC)
        return state.crl_number

    def _unusable(self, error: OSError) -> StateError:
        if isinstance(error, FileNotFoundError):
            how = f"mtls-gateway ca init --directory {self._directory}"
            return StateError(f"there is no CA in {self._directory}; make one with: {how}")
        return StateError(f"{error.filename}: {error.strerror}")

    def _path(self, name: str) -> Path:
        return self._directory / name

    def _signer(self, name: str) -> profiles.Signer:
        try:
            certificate = x509.load_pem_x509_certificate(self._path(f"{name}.cert.pem").read_bytes())
            key = load_pem_private_key(self._path(f"{name}.key.pem").read_bytes(), None)
        except OSError as error:
            raise self._unusable(error) from error
        except (ValueError, TypeError) as error:
            raise StateError(f"{self._path(name)}: the key or the certificate cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise StateError(f"{self._path(f'{name}.key.pem')} is not the key of {name}.cert.pem")
        return profiles.Signer(certificate, key)

    def _read_state(self) -> _State:
        path = self._path("state.json")
        try:
            return _State(**json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise self._unusable(error) from error
        except (ValueError, TypeError) as error:
            raise StateError(f"{path} cannot be read: {error}") from error

    def _write_state(self, state: _State) -> None:
        content = json.dumps(asdict(state), indent=1, ensure_ascii=False).encode()
        replace_file(self._path("state.json"), content, PRIVATE)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = self._path(".lock").open("a")
        except OSError as error:
            raise self._unusable(error) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"{directory} cannot be made: {error.strerror}") from error
