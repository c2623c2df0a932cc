"""``mtls-gateway crl …``: what a CRL would do, before it does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtls_gateway.cli.output import Value, counted, show_rows
from mtls_gateway.cli.settings import settings_of, with_store
from mtls_gateway.cli.times import print_time
from mtls_gateway.clock import SystemClock
from mtls_gateway.errors import UsageError
from mtls_gateway.model import print_serial

if TYPE_CHECKING:
    from mtls_gateway.store.opening import Store
    from mtls_gateway.trust.dry_run import Forecast, Holder

app = typer.Typer(help="What a revocation list would do.", no_args_is_help=True)


@app.callback()
def family() -> None:
    """What a revocation list would do."""


@app.command("dry-run")
def dry_run(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The full CRL, PEM or DER.")],
    authority: Annotated[str, typer.Option(help="The name in the configuration of the CA whose CRL it is.")],
) -> None:
    """Say whom a CRL would cut.

    It is checked as the gateway would check it, also against those in force; nothing is changed. What would not be
    taken is refused with its cause.
    """
    from mtls_gateway.trust.bundle import load_bundle
    from mtls_gateway.trust.dry_run import Holder, forecast
    from mtls_gateway.trust.revocation import load_revocation

    settings = settings_of(context)
    configuration = settings.configuration()
    bundle = load_bundle(configuration.trust)
    chosen = bundle.get(authority)
    if chosen is None:
        names = ", ".join(one.name for one in bundle)
        raise UsageError(f"there is no authority {authority!r}; the configuration has {names}")
    try:
        octets = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    # Empty as long as the gateway was never started: then there is nothing that the CRL could fall behind.
    in_force = load_revocation(configuration.revocation_directory).of(authority)

    async def holders(store: Store) -> list[Holder]:
        found = await store.certificates.all(usable_only=True)
        return [Holder(one.certificate, one.user_id, one.signed_in) for one in found]

    found = with_store(settings, holders)
    foreseen = forecast(octets, str(file), chosen, in_force, found, SystemClock().now())
    if settings.as_json:
        print(json.dumps({**_summary(foreseen), "certificates": _rows(foreseen)}, ensure_ascii=False, indent=2))
        return
    until = print_time(foreseen.next_update) + ("; it is stale from the start" if foreseen.stale else "")
    entries = counted(foreseen.entries, "entry", "entries")
    print(f"CRL {foreseen.number} of {authority}, {entries}, next update {until}")
    refused = counted(len(foreseen.revoked), "registered certificate")
    print(f"would refuse {refused}, would cut {counted(len(foreseen.cut), 'signed-in user')}")
    if foreseen.revoked:
        show_rows(settings, _rows(foreseen), "")


@app.command("sign")
def sign(
    context: typer.Context,
    missing: Annotated[bool, typer.Option("--missing", help="Only of issuers that have none yet.")] = False,
) -> None:
    """Sign and publish the CRLs of the signer's issuers now.

    The clerk does so by itself after each revocation and in time; this is for a first start, and for the impatient. The
    signer must be running.
    """
    import asyncio

    from mtls_gateway.app.first_crls import make_signer, publish
    from mtls_gateway.errors import ConfigurationError
    from mtls_gateway.issuance.own_crl import Published
    from mtls_gateway.store.migration import migrate

    settings = settings_of(context)
    configuration = settings.configuration()

    async def work() -> list[Published]:
        signer = make_signer(configuration)
        if signer is None:
            raise ConfigurationError(str(settings.config), "signer", "is not there; this gateway has no signer")
        await migrate(configuration.database_url, SystemClock(), busy_timeout=configuration.store.busy_timeout)
        try:
            return await publish(configuration, signer, SystemClock(), only_missing=missing)
        finally:
            await signer.close()

    rows: list[dict[str, Value]] = [
        {"issuer": one.issuer, "number": one.number, "file": str(one.file), "until": print_time(one.next_update)}
        for one in asyncio.run(work())
    ]
    show_rows(settings, rows, "every issuer has a CRL")


def _summary(foreseen: Forecast) -> dict[str, Value]:
    return {
        "number": foreseen.number,
        "entries": foreseen.entries,
        "this_update": print_time(foreseen.this_update),
        "next_update": print_time(foreseen.next_update),
        "stale": foreseen.stale,
        "would_refuse": len(foreseen.revoked),
        "would_cut": len(foreseen.cut),
    }


def _rows(foreseen: Forecast) -> list[dict[str, Value]]:
    return [
        {"user": one.user_id, "serial": print_serial(one.certificate.serial), "signed_in": one.signed_in}
        for one in foreseen.revoked
    ]
