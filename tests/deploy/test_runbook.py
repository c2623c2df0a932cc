"""What the pages for operators quote can be typed: every command parses, every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from mtls_gateway.cli.application import app
from tests.deploy.alerts import ROOT

PAGES = [ROOT / "docs" / "runbook.md", ROOT / "docs" / "deployment.md", ROOT / "deploy" / "README.md"]
#: In place of what a reader fills in.
NUMBERS = {"CLOSURE": "1", "LINE:CHAIN": "1:" + "0" * 64}


def commands(page: Path) -> Iterator[str]:
    """Words after ``mtls-gateway`` in code, in a line or in a block."""
    text = page.read_text(encoding="utf-8")
    code = [*re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL), *re.findall(r"`([^`\n]+)`", text)]
    for piece in code:
        for line in piece.splitlines():
            found = re.search(r"(?:^|/|\s)mtls-gateway ((?:--)?[a-z][^|;&#>]*)", line)
            # Not the units and folders of that name, nor what stands for any command.
            if found and not re.search(r"systemctl|journalctl|…|COMMAND|install |chown|useradd", line):
                yield found[1].strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_quoted_is_one(page: Path) -> None:
    quoted = sorted(set(commands(page)))
    assert quoted
    for words in quoted:
        _parse(shlex.split(words))


def _parse(words: list[str]) -> None:
    """Read a command with all its options, and do not run it."""
    command = typer.main.get_command(app)
    arguments = [NUMBERS.get(word, word) for word in words]
    context = command.make_context("mtls-gateway", arguments, resilient_parsing=False)
    while hasattr(command, "resolve_command") and (rest := [*context._protected_args, *context.args]):
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None, words
        context = command.make_context(name, rest, parent=context)


def test_a_command_that_is_none_would_be_found() -> None:
    with pytest.raises(Exception, match=r"No such command|no such command"):
        _parse(["sessions", "list"])
    with pytest.raises(Exception, match=r"[Nn]o such option"):
        _parse(["session", "list", "--everything"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


def anchors(page: Path) -> set[str]:
    """Of the headings, as they are made by those who show Markdown."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
