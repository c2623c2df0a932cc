"""Who is typing: a person of the bank, by what the system knows rather than by what the environment says.

Two people must have seen an application (clause D.1), so who they are must not be a matter of ``LOGNAME=bob``:

1. the login's own number, which Linux keeps through ``su`` and ``sudo`` (``/proc/self/loginuid``);
2. where nobody has logged in (a container, a service), the account that the command runs under;
3. and only if that is root, the account that sudo says it was called by. Root can say there what it likes.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

#: What the kernel says for "nobody has logged in".
_UNSET = 4_294_967_295
_LOGIN = Path("/proc/self/loginuid")


class OperatorAccount(NamedTuple):
    """A person of the bank, as far as the system can tell."""

    name: str
    account: int


def present_operator() -> OperatorAccount:
    """Whoever is typing this command."""
    return operator_of(login_of(_LOGIN), os.getuid(), os.environ)


def operator_of(login: int | None, account: int, environment: Mapping[str, str]) -> OperatorAccount:
    """The person behind a login's number (None: not known), the account that runs, and an environment."""
    if login is not None:
        account = login
    elif account == 0:
        called_by = environment.get("SUDO_UID", "")
        account = int(called_by) if called_by.isascii() and called_by.isdigit() else 0
    try:
        return OperatorAccount(pwd.getpwuid(account).pw_name, account)
    except (KeyError, OverflowError):
        return OperatorAccount(f"uid {account}", account)


def login_of(file: Path) -> int | None:
    """The number of the account that logged in; None: nobody has, or the kernel does not say."""
    try:
        number = int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if number == _UNSET else number
