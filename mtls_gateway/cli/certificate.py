"""``mtls-gateway certificate …``: which certificate is whose."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from mtls_gateway.cli.csv_rows import Row, RowsRefused, read_each, read_rows
from mtls_gateway.cli.output import Value, counted, done, show_rows
from mtls_gateway.cli.settings import Settings, operator, settings_of, with_store
from mtls_gateway.cli.times import print_time, read_time
from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.issuance.orders import Reason
from mtls_gateway.model import MAXIMUM_SERIAL, CertificateId, print_serial, read_serial

if TYPE_CHECKING:
    from mtls_gateway.store.certificates import ListedCertificate, NewCertificate
    from mtls_gateway.store.opening import Store

app = typer.Typer(help="Registered certificates: which is whose.", no_args_is_help=True)


@app.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8 with a header row.")],
    any_issuer: Annotated[
        bool, typer.Option("--any-issuer", help="Also take issuers that are not in the configuration's trust.")
    ] = False,
) -> None:
    """Register certificates from a CSV file.

    All are registered, or none and every bad row is named. Columns: issuer (as in RFC 4514,
    e.g. "CN=Issuing CA,O=Bank,C=JP", or the authority's name in the configuration), serial_hex or serial_decimal,
    user_id, and optionally not_after.
    """
    from mtls_gateway.store.refusal import Refused

    settings = settings_of(context)
    rows = read_rows(file, ["issuer", "user_id"], ["serial_hex", "serial_decimal", "not_after"])
    issuers = _Issuers(settings, any_issuer)
    added = read_each(file, rows, lambda row: _new_certificate(row, issuers))
    try:
        with_store(settings, lambda store: store.certificates.register(added, actor=operator()))
    except Refused as refused:
        problems = [(rows[problem.place].line, problem.cause) for problem in refused.problems]
        raise RowsRefused(file, problems) from refused
    done(settings, f"{counted(len(added), 'certificate')} imported", imported=len(added))


@app.command("list")
def list_all(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(help="Only those of this user.")] = None,
    usable: Annotated[bool, typer.Option("--usable", help="Only those that may sign in.")] = False,
) -> None:
    """List registered certificates."""
    settings = settings_of(context)
    found = with_store(settings, lambda store: store.certificates.all(user_id=user, usable_only=usable))
    show_rows(settings, [_properties(one) for one in found], "there are no such certificates")


@app.command("revoke")
def revoke(
    context: typer.Context,
    serial: Annotated[str | None, typer.Argument(metavar="[SERIAL]", help="Its serial in hexadecimal.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Its issuer, where several have issued that serial.")] = None,
    user: Annotated[str | None, typer.Option(help="Instead of a serial: whatever this user can sign in with.")] = None,
    reason: Annotated[str, typer.Option(help="As in RFC 5280, e.g. keyCompromise; the CRL says it.")] = "unspecified",
) -> None:
    """Refuse a certificate for good.

    Its sessions, and what they have open, end within a second.
    """
    settings = settings_of(context)
    if (serial is None) == (user is None):
        raise UsageError("give either a SERIAL or --user")
    if reason not in get_args(Reason):
        raise UsageError(f"{reason!r} is no reason of RFC 5280 that a CRL may give: {', '.join(get_args(Reason))}")
    number = None if serial is None else _serial(serial)

    async def work(store: Store) -> tuple[list[CertificateId], int]:
        found = await store.certificates.all(user_id=user, issuer=issuer, serial=number, usable_only=number is None)
        chosen = [one.certificate for one in found]
        if not chosen:
            whose = "no certificate has this serial" if user is None else f"user {user} has no certificate to revoke"
            raise StateError(f"{whose}; see: mtls-gateway certificate list")
        if number is not None and len(chosen) > 1:
            names = " or ".join(repr(one.issuer) for one in chosen)
            raise StateError(f"several issuers have issued this serial; say which with --issuer {names}")
        revoke_one = store.certificates.revoke
        return chosen, sum([await revoke_one(one, actor=operator(), reason=reason) for one in chosen])

    revoked, ended = with_store(settings, work)
    what = ", ".join(str(one) for one in revoked)
    sentence = f"revoked: certificate {what}; {counted(ended, 'session')} ended"
    done(settings, sentence, revoked=len(revoked), sessions_ended=ended)


class _Issuers:
    """The names that a row may give as issuer."""

    def __init__(self, settings: Settings, any_issuer: bool) -> None:
        from mtls_gateway.trust.bundle import load_bundle

        self._any = any_issuer
        bundle = load_bundle(settings.configuration().trust)
        self._by_name = {authority.name: authority.issuer_name for authority in bundle}

    def read(self, written: str) -> str:
        """The one printed form of the issuer's name.

        Raises:
            UsageError: it is no distinguished name, or none of the configuration.
        """
        if written in self._by_name:
            return self._by_name[written]
        name = _distinguished_name(written)
        if not self._any and name not in self._by_name.values():
            raise UsageError(f"issuer {written!r} is none of the configuration's: {_listed(self._by_name.values())}")
        return name


def _distinguished_name(written: str) -> str:
    from cryptography import x509

    for spelling in (written, ",".join(part.strip() for part in written.split(","))):
        try:
            return x509.Name.from_rfc4514_string(spelling).rfc4514_string()
        except ValueError:
            continue
    raise UsageError(f"issuer {written!r} is not a distinguished name as in RFC 4514, e.g. CN=Issuing CA,O=Bank,C=JP")


def _listed(names: Collection[str]) -> str:
    return "; ".join(repr(name) for name in names)


def _new_certificate(row: Row, issuers: _Issuers) -> NewCertificate:
    from mtls_gateway.store.certificates import NewCertificate

    not_after = row.cells.get("not_after")
    if not_after is not None and "T" not in not_after and " " not in not_after:
        raise UsageError(f"not_after {not_after!r} has no time of day; write 2027-11-24T23:59:59+09:00")
    return NewCertificate(
        CertificateId(issuers.read(row.need("issuer")), _serial_of(row)),
        row.need("user_id"),
        None if not_after is None else read_time(not_after),
    )


def _serial_of(row: Row) -> int:
    hexadecimal, decimal = row.cells.get("serial_hex"), row.cells.get("serial_decimal")
    if (hexadecimal is None) == (decimal is None):
        raise UsageError("give the serial in one of the columns serial_hex and serial_decimal")
    if decimal is None:
        return _serial(row.need("serial_hex"))
    if not (decimal.isascii() and decimal.isdigit()) or len(decimal) > 50 or int(decimal) > MAXIMUM_SERIAL:
        raise UsageError(f"{decimal!r} is not a serial number in decimal of at most 20 octets")
    return int(decimal)


def _serial(written: str) -> int:
    try:
        return read_serial(written)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _properties(listed: ListedCertificate) -> dict[str, Value]:
    return {
        "user": listed.user_id,
        "serial": print_serial(listed.certificate.serial),
        "issuer": listed.certificate.issuer,
        "state": listed.state.value,
        "not_after": print_time(listed.not_after),
        "registered": print_time(listed.registered),
        "signed_in": listed.signed_in,
    }
