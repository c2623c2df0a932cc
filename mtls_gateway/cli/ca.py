"""``mtls-gateway ca …``: the bank's own CAs, and one for development and demonstrations."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.cli import ca_ceremony
from mtls_gateway.cli.output import done, show_one
from mtls_gateway.cli.settings import operator, settings_of, with_store
from mtls_gateway.cli.times import print_time
from mtls_gateway.clock import SystemClock
from mtls_gateway.errors import UsageError
from mtls_gateway.model import print_serial, read_serial

if TYPE_CHECKING:
    from mtls_gateway.issuance.development_ca import DevelopmentAuthority

app = typer.Typer(
    help="The bank's own CAs, and one for development.",
    epilog="ceremony, roll-over and root-crl are for the bank's own; the others for development: keys in plain files.",
    no_args_is_help=True,
)
app.command("ceremony")(ca_ceremony.ceremony)
app.command("roll-over")(ca_ceremony.roll_over)
app.command("root-crl")(ca_ceremony.root_crl)

Directory = Annotated[Path, typer.Option("--directory", help="Where the CA's keys, certificates and CRLs are.")]
Days = Annotated[float, typer.Option("--days", help="How long the CRL is good for.")]
_DIRECTORY = Path("certs/ca")


def _authority(directory: Path) -> DevelopmentAuthority:
    from mtls_gateway.issuance.development_ca import DevelopmentAuthority

    return DevelopmentAuthority(directory, SystemClock())


@app.command("init")
def initialise(
    context: typer.Context,
    directory: Directory = _DIRECTORY,
    organisation: Annotated[str, typer.Option(help="The bank's name in the certificates.")] = "Demo Shinkumi",
    crl_url: Annotated[str | None, typer.Option(help="Where the CRL will be published, if anywhere.")] = None,
    days: Days = 7.0,
) -> None:
    """Make the CA.

    A root and an issuing CA for users, a server CA for hosts, and the first CRLs.
    """
    settings = settings_of(context)
    authority = _authority(directory)
    authority.initialise(organisation, crl_url=crl_url, days=days)
    done(settings, f"made a CA in {directory}: {authority.issuer}", directory=str(directory), issuer=authority.issuer)


@app.command("issue")
def issue(
    context: typer.Context,
    user_id: Annotated[str, typer.Option(help="The user that the certificate is for.")],
    out: Annotated[Path, typer.Option(help="The directory that the files are written to.")],
    cn: Annotated[str | None, typer.Option(help="The name that browsers show; left out: the user ID.")] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="MTLS_GATEWAY_P12_PASSWORD", help="Of the PKCS#12 file; left out: made and printed."),
    ] = None,
    register: Annotated[bool, typer.Option("--register", help="Also register it for the user in the store.")] = False,
    directory: Directory = _DIRECTORY,
) -> None:
    """Make a key and a certificate for a user.

    Written as USER.cert.pem, USER.key.pem and USER.p12.
    """
    settings = settings_of(context)
    chosen = password if password is not None else secrets.token_urlsafe(12)
    issued = _authority(directory).issue(user_id, cn or user_id, out, password=chosen)
    if register:
        from mtls_gateway.store.certificates import NewCertificate

        new = NewCertificate(issued.certificate, user_id, issued.not_after)
        with_store(settings, lambda store: store.certificates.register([new], actor=operator()))
    show_one(
        settings,
        {
            "user": user_id,
            "serial": print_serial(issued.certificate.serial),
            "issuer": issued.certificate.issuer,
            "not_after": print_time(issued.not_after),
            "certificate": str(issued.certificate_file),
            "key": str(issued.key_file),
            "pkcs12": str(issued.pkcs12_file),
            "pkcs12_password": "as given" if password is not None else chosen,
            "registered": register,
        },
    )


@app.command("revoke")
def revoke(
    context: typer.Context,
    serial: Annotated[str, typer.Argument(metavar="SERIAL", help="In hexadecimal.")],
    reason: Annotated[str, typer.Option(help="As in RFC 5280, e.g. keyCompromise.")] = "unspecified",
    directory: Directory = _DIRECTORY,
    days: Days = 7.0,
) -> None:
    """Revoke a certificate and write the next CRL."""
    settings = settings_of(context)
    try:
        number = _authority(directory).revoke(read_serial(serial), reason, days=days)
    except ValueError as error:
        raise UsageError(str(error)) from error
    done(settings, f"revoked {serial}; CRL {number} written", serial=serial, crl_number=number)


@app.command("crl")
def write_crl(context: typer.Context, directory: Directory = _DIRECTORY, days: Days = 7.0) -> None:
    """Write the next CRLs, PEM and DER."""
    settings = settings_of(context)
    number = _authority(directory).write_crl(days=days)
    done(settings, f"CRL {number} written", crl_number=number)


@app.command("server")
def issue_server(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Host names and addresses.")],
    out: Annotated[Path, typer.Option(help="The directory that the files are written to.")],
    directory: Directory = _DIRECTORY,
) -> None:
    """Make a key and a certificate for a host."""
    settings = settings_of(context)
    issued = _authority(directory).issue_server(names, out)
    show_one(
        settings,
        {
            "certificate": str(issued.certificate_file),
            "key": str(issued.key_file),
            "not_after": print_time(issued.not_after),
        },
    )
