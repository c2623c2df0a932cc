"""``mtls-gateway enrol``: a key, a request, a certificate, for those who have no Windows PC and for tests.

The key is written to a file before anything is asked, and lies there until the certificate is safe: whatever breaks on
the way, the same command again goes on with the same key and gets the same certificate.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtls_gateway.cli.output import show_one
from mtls_gateway.cli.settings import settings_of
from mtls_gateway.cli.times import print_time
from mtls_gateway.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from mtls_gateway.cli.est_client import EstClient, Granted

_LONGEST_SECRET = 4_096
_SOURCE = "prompt, env:NAME or fd:NUMBER."


def enrol(
    context: typer.Context,
    server: Annotated[str, typer.Option(metavar="URL", help="https://NAME[:PORT]; to renew, the certificate host's.")],
    user: Annotated[str | None, typer.Option(help="The user ID; not needed to renew.")] = None,
    pem: Annotated[
        Path | None, typer.Option(help="Certificate, its issuers and key, PEM; left out: USER.pem, unless --pkcs12.")
    ] = None,
    pkcs12: Annotated[Path | None, typer.Option(help="The same as PKCS#12, for browsers.")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="With the present certificate instead of a code.")] = False,
    certificate: Annotated[
        Path | None, typer.Option(help="The present certificate, PEM, with its key unless --certificate-key.")
    ] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="The present certificate's key, PEM.")] = None,
    ca: Annotated[Path | None, typer.Option("--ca", help="CAs of the server, PEM; left out: the system's.")] = None,
    code: Annotated[
        str, typer.Option("--code-from", metavar="SOURCE", help=f"The letter's code: {_SOURCE}")
    ] = "prompt",
    password: Annotated[
        str, typer.Option("--password-from", metavar="SOURCE", help=f"The internet-banking password: {_SOURCE}")
    ] = "prompt",
    pkcs12_password: Annotated[
        str, typer.Option("--pkcs12-password-from", metavar="SOURCE", help=f"Of the PKCS#12 file: {_SOURCE}")
    ] = "prompt",
    connect: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Connect there; the name still counts.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1.0, max=600.0, help="Seconds to wait for an answer.")] = 90.0,
) -> None:
    """Obtain a certificate, or renew it.

    If it fails on the way, give the same command again: the key is kept, and no code is lost. Passwords and codes are
    never words of the command.
    """
    from mtls_gateway.cli.est_client import ClientCertificate, EstClient, read_server
    from mtls_gateway.issuance.code import read_code
    from mtls_gateway.issuance.est_bodies import Credentials

    settings = settings_of(context)
    if renew == (certificate is None):
        raise UsageError("--renew needs the present certificate: --certificate FILE; without --renew there is none")
    if user is None and not renew:
        raise UsageError("whose certificate? Give --user USER, as printed in the letter")
    name = user or (certificate.stem if certificate is not None else "renewed")
    if pem is None and pkcs12 is None:
        pem = Path(f"{name}-new.pem" if renew else f"{name}.pem")
    present = None if certificate is None else ClientCertificate(certificate, certificate_key or certificate)
    waiting = _beside(pem or pkcs12)
    if not waiting.exists():
        # Else what is there was written by an earlier try, for the same key.
        _refuse_to_overwrite(pem, pkcs12)
    client = EstClient(read_server(server, authorities=ca, timeout=timeout, address=connect), present)
    # Before anybody is asked for secrets: is the server there, and is it the right one?
    authorities = client.authorities()
    key = _key(waiting)
    printed = None if renew else read_code(_secret(code, "enrolment code", hidden=False)).printed
    secret = _secret(password, "internet-banking password")
    pkcs12_secret = None if pkcs12 is None else _new_secret(pkcs12_password, f"new password for {pkcs12}")
    credentials = Credentials(user or "", secret if printed is None else f"{printed}:{secret}")
    granted = _ask(client, credentials, key, renew=renew, authorities=authorities)
    _store(granted, key, pem, pkcs12, pkcs12_secret)
    waiting.unlink()
    show_one(
        settings,
        {
            "subject": granted.certificate.subject.rfc4514_string(),
            "serial": f"{granted.certificate.serial_number:x}",
            "issuer": granted.certificate.issuer.rfc4514_string(),
            "not_after": print_time(granted.certificate.not_valid_after_utc.timestamp()),
            "pem": None if pem is None else str(pem),
            "pkcs12": None if pkcs12 is None else str(pkcs12),
        },
    )


def _ask(
    client: EstClient, credentials: Any, key: EllipticCurvePrivateKey, *, renew: bool, authorities: Any
) -> Granted:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    # The subject is the server's affair, but PKCS#10 must have one.
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, credentials.user_id or "renewal")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    request = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    ask = client.renew if renew else client.enrol
    return ask(credentials, request, authorities)


# --- files ----------------------------------------------------------------------------------------------


def _beside(out: Path | None) -> Path:
    """Where the key waits for its certificate."""
    if out is None:
        raise RuntimeError("there is always a file to write")
    return out.with_name(f".{out.name}.key-without-certificate")


def _refuse_to_overwrite(pem: Path | None, pkcs12: Path | None) -> None:
    for out in (pem, pkcs12):
        if out is not None and out.exists():
            raise UsageError(f"{out} is there already; name another file, or move that one away")
        if out is not None and not out.parent.is_dir():
            raise UsageError(f"{out}: its directory is not there; create it")
    if pem is not None and pem == pkcs12:
        raise UsageError("--pem and --pkcs12 are the same file")


def _key(waiting: Path) -> EllipticCurvePrivateKey:
    """The key that waits from an earlier try, or a new one: in its file before anything is asked."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    from mtls_gateway.issuance.key_files import PRIVATE, replace_file

    if waiting.exists():
        try:
            if waiting.stat().st_mode & 0o077:
                raise UsageError(f"{waiting} can be read by others; remove it, a new key will be made")
            key = load_pem_private_key(waiting.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"{waiting} holds no key; remove it, a new one will be made") from error
        if isinstance(key, ec.EllipticCurvePrivateKey):
            print(f"going on with the key of {waiting}", file=sys.stderr)
            return key
        raise UsageError(f"{waiting} holds a key of another kind; remove it, a new one will be made")
    made = ec.generate_private_key(ec.SECP256R1())
    replace_file(waiting, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), PRIVATE)
    return made


def _store(
    granted: Granted, key: EllipticCurvePrivateKey, pem: Path | None, pkcs12_file: Path | None, secret: str | None
) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
        pkcs12,
    )
    from cryptography.x509.oid import NameOID

    from mtls_gateway.issuance.key_files import PRIVATE, replace_file

    if pem is not None:
        certificates = b"".join(one.public_bytes(Encoding.PEM) for one in (granted.certificate, *granted.chain))
        octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        replace_file(pem, certificates + octets, PRIVATE)
    if pkcs12_file is not None and secret is not None:
        names = granted.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(names[0].value).encode() if names else None
        encryption = BestAvailableEncryption(secret.encode())
        whole = pkcs12.serialize_key_and_certificates(name, key, granted.certificate, granted.chain, encryption)
        replace_file(pkcs12_file, whole, PRIVATE)


# --- secrets ----------------------------------------------------------------------------------------------


def _new_secret(source: str, what: str) -> str:
    secret = _secret(source, what)
    if source == "prompt" and _secret(source, f"{what}, once more") != secret:
        raise UsageError("the two passwords are not the same")
    return secret


def _secret(source: str, what: str, *, hidden: bool = True) -> str:
    """Read a secret from where the option says.

    Raises:
        UsageError: it is not there, or not to be had from there.
    """
    kind, _, rest = source.partition(":")
    if source == "prompt":
        secret = _prompt(what, hidden=hidden)
    elif kind == "env" and rest:
        secret = os.environ.get(rest, "")
    elif kind == "fd" and rest.isdecimal():
        secret = _read_descriptor(int(rest), what)
    else:
        raise UsageError(f"{source!r} is none of prompt, env:NAME and fd:NUMBER")
    if not secret:
        raise UsageError(f"{source} has no {what}")
    return secret


def _prompt(what: str, *, hidden: bool) -> str:
    if not sys.stdin.isatty():
        raise UsageError(f"nobody is there to type the {what}; use env:NAME or fd:NUMBER")
    if hidden:
        return getpass.getpass(f"{what}: ")
    print(f"{what}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _read_descriptor(number: int, what: str) -> str:
    try:
        with os.fdopen(number, "rb", closefd=number > 2) as file:
            octets = file.read(_LONGEST_SECRET + 1)
        if len(octets) > _LONGEST_SECRET:
            raise UsageError(f"fd:{number}: the {what} is longer than {_LONGEST_SECRET} octets")
        return octets.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"fd:{number}: the {what} cannot be read: {error}") from error
