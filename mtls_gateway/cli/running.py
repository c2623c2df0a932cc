"""``mtls-gateway serve``, ``upgrade``, ``check-config``, ``demo``, ``demo-check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtls_gateway.cli.output import counted, done
from mtls_gateway.cli.settings import settings_of


def serve(context: typer.Context) -> None:
    """Run the gateway.

    Until told to stop by SIGTERM; SIGHUP reloads the configuration, SIGUSR2 takes the program that is installed now.
    """
    from mtls_gateway.app.serve import serve as serve_until_stopped

    serve_until_stopped(settings_of(context).config)


def upgrade(context: typer.Context) -> None:
    """Have the installed version take over.

    From the running one, without a stop, when all of it serves. Otherwise everything stays as it was; why is said, and
    the exit status is 1.
    """
    from mtls_gateway.app.upgrade_outcome import ask_for_upgrade
    from mtls_gateway.errors import StateError

    settings = settings_of(context)
    found = ask_for_upgrade(settings.configuration())
    if found.outcome != "taken":
        raise StateError(f"upgrade refused, everything stays as it was: {found.said}")
    done(
        settings,
        f"version {found.version} serves (pid {found.master}); the one before drains",
        version=found.version,
        master=found.master,
    )


def clerk(context: typer.Context) -> None:
    """Run one more clerk.

    It waits, and takes over when the active one goes: mails, notices, CRLs. Until told to stop by SIGTERM.
    """
    from mtls_gateway.app.clerk import run_clerk

    settings = settings_of(context)
    settings.configuration()
    run_clerk(settings.config)


def check_config(context: typer.Context) -> None:
    """Check the configuration and what it names.

    No socket is opened. Each problem is one line that names the file, the key and the cause; the exit status is 2 then.
    """
    import json
    import sys

    from mtls_gateway.cli.check_config import find_problems
    from mtls_gateway.clock import SystemClock

    settings = settings_of(context)
    problems = find_problems(settings.config, SystemClock())
    if settings.as_json:
        print(json.dumps({"file": str(settings.config), "problems": [str(problem) for problem in problems]}, indent=2))
    else:
        for problem in problems:
            print(f"mtls-gateway: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(2)
    if not settings.as_json:
        print(f"{settings.config}: good")


def doctor(context: typer.Context) -> None:
    """Look at everything that an operator would look at first.

    Clock, process, what expires, CRLs, backends, database, disk, file modes. Nothing is changed; the exit status is 1
    when something is bad.
    """
    from mtls_gateway.cli.doctor import Health, examine
    from mtls_gateway.cli.output import show_rows
    from mtls_gateway.clock import SystemClock

    settings = settings_of(context)
    found = examine(settings.config, SystemClock())
    show_rows(settings, [{"check": one.check, "health": one.health.value, "found": one.said} for one in found], "")
    if any(one.health is Health.BAD for one in found):
        raise typer.Exit(1)


def demo(
    context: typer.Context,
    directory: Annotated[Path, typer.Option(help="Where everything is made.")] = Path("build/demo"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of 127.0.0.1, for both hosts.")] = 8443,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make everything anew.")] = False,
) -> None:
    """Run a demo bank behind the gateway.

    With users and certificates for every case, until Ctrl-C.
    """
    from mtls_gateway.demo.run import run_demo

    run_demo(directory, port, fresh=fresh)


def demo_check(context: typer.Context) -> None:
    """Walk through every case of the demo.

    On free ports, as a client would; leaves nothing running.
    """
    from mtls_gateway.demo.run import check_demo

    failed = check_demo()
    if failed:
        raise typer.Exit(1)


def config_reference(
    context: typer.Context,
    check: Annotated[Path | None, typer.Option(help="Only say whether this file is what would be printed.")] = None,
) -> None:
    """Print docs/configuration.md, made from the model."""
    from mtls_gateway.cli.configuration_reference import reference
    from mtls_gateway.errors import StateError

    written = reference()
    if check is None:
        print(written, end="")
    elif check.read_text(encoding="utf-8") != written:
        raise StateError(f"{check} is not what the model says; write it with: mtls-gateway config-reference > {check}")
    else:
        done(settings_of(context), f"{check} is {counted(len(written.splitlines()), 'line')}, as the model says")
