"""The command's words: global options and the families."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtls_gateway import __version__
from mtls_gateway.cli import (
    applications,
    audit,
    backup,
    ca,
    certificate,
    closures,
    company,
    crl,
    enrol,
    enrolment_codes,
    letters,
    mail,
    notice,
    running,
    session,
    signer,
    store,
    user,
)
from mtls_gateway.cli.settings import Settings

app = typer.Typer(
    help="Client certificate and password in front of an unchanged internet bank.",
    epilog="Every listing and showing command prints JSON with --json. Times without an offset are Japan's.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mtls-gateway {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", envvar="MTLS_GATEWAY_CONFIG", metavar="FILE", help="The configuration.")
    ] = Path("conf/gateway.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Remember the options that every command shares."""
    context.obj = Settings(config, as_json)


# Its words are the help text's, not a docstring for users.
options.__doc__ = app.info.help

app.command("serve")(running.serve)
app.command("upgrade")(running.upgrade)
app.command("clerk")(running.clerk)
app.command("check-config")(running.check_config)
app.command("doctor")(running.doctor)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("demo")(running.demo)
app.command("demo-check")(running.demo_check)
app.command("enrol")(enrol.enrol)
app.command("config-reference", hidden=True)(running.config_reference)
app.add_typer(company.app, name="company")
app.add_typer(user.app, name="user")
app.add_typer(applications.app, name="application")
app.add_typer(enrolment_codes.app, name="code")
app.add_typer(letters.app, name="letter")
app.add_typer(certificate.app, name="certificate")
app.add_typer(session.app, name="session")
app.add_typer(notice.app, name="notice")
app.add_typer(mail.app, name="mail")
app.add_typer(crl.app, name="crl")
app.add_typer(audit.app, name="audit")
app.add_typer(closures.emergency, name="emergency")
app.add_typer(closures.maintenance, name="maintenance")
app.add_typer(ca.app, name="ca")
app.add_typer(signer.app, name="signer")
app.add_typer(store.app, name="store")
