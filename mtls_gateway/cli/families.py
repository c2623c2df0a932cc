"""The families of commands by their first word, each imported when it is called.

Together they take longer to import than any of them needs, and an operator who revokes waits for that as long as the
intruder does. Help, and a word that is none, still know them all: for those every family is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup
from typer.main import get_group

if TYPE_CHECKING:
    from typer._click import Command, Context

#: Module of ``cli`` and what in it: a family, or a command of one word. In the order of the help.
FAMILIES = {
    "serve": "running:serve",
    "upgrade": "running:upgrade",
    "clerk": "running:clerk",
    "check-config": "running:check_config",
    "doctor": "running:doctor",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "demo": "running:demo",
    "demo-check": "running:demo_check",
    "enrol": "enrol:enrol",
    "config-reference": "running:config_reference",
    "company": "company:app",
    "user": "user:app",
    "application": "applications:app",
    "code": "enrolment_codes:app",
    "letter": "letters:app",
    "certificate": "certificate:app",
    "session": "session:app",
    "notice": "notice:app",
    "mail": "mail:app",
    "crl": "crl:app",
    "audit": "audit:app",
    "emergency": "closures:emergency",
    "maintenance": "closures:maintenance",
    "ca": "ca:app",
    "signer": "signer:app",
    "store": "store:app",
}
#: For those who maintain the gateway itself.
_HIDDEN = frozenset({"config-reference"})


def add_family(application: typer.Typer, word: str) -> None:
    """Import the family of this word, and add it."""
    module, _, name = FAMILIES[word].partition(":")
    found = getattr(import_module(f"mtls_gateway.cli.{module}"), name)
    if isinstance(found, typer.Typer):
        application.add_typer(found, name=word)
    else:
        application.command(word, hidden=word in _HIDDEN)(found)


class Families(TyperGroup):
    """The whole command; imports what it is asked for."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Every word, for the help."""
        return list(FAMILIES)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The family of this word; None: there is none."""
        if cmd_name in FAMILIES and cmd_name not in self.commands:
            alone = typer.Typer(rich_markup_mode=self.rich_markup_mode)
            add_family(alone, cmd_name)
            self.add_command(get_group(alone).commands[cmd_name])
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """The family that the words begin with, or a refusal that says which it may have been."""
        if args[0] not in FAMILIES:
            for word in FAMILIES:
                self.get_command(ctx, word)
        return super().resolve_command(ctx, args)
