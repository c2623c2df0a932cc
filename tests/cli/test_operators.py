"""Who is typing is what the system knows, not what the environment says."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from mtls_gateway.cli.operators import login_of, operator_of, present_operator

NOBODY = pwd.getpwnam("nobody").pw_uid
DAEMON = pwd.getpwnam("daemon").pw_uid


def test_the_environment_does_not_make_another_person(monkeypatch: pytest.MonkeyPatch) -> None:
    me = present_operator()
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(variable, "bob")
    assert present_operator() == me


def test_a_login_is_who_logged_in_whatever_they_have_become_since() -> None:
    said = {"SUDO_UID": str(DAEMON), "SUDO_USER": "daemon"}
    for account in (0, DAEMON, NOBODY):
        assert operator_of(NOBODY, account, said) == ("nobody", NOBODY)


def test_without_a_login_it_is_the_account_and_for_root_whoever_called_sudo() -> None:
    said = {"SUDO_UID": str(DAEMON), "SUDO_USER": "somebody else"}
    assert operator_of(None, NOBODY, said) == ("nobody", NOBODY)
    assert operator_of(None, 0, said) == ("daemon", DAEMON)
    for nonsense in ({}, {"SUDO_UID": ""}, {"SUDO_UID": "-1"}, {"SUDO_UID": "٣"}):
        assert operator_of(None, 0, nonsense) == ("root", 0)


def test_an_account_without_a_name_is_its_number() -> None:
    assert operator_of(None, 123_456_789, {}) == ("uid 123456789", 123_456_789)
    assert operator_of(10**30, 0, {}) == (f"uid {10**30}", 10**30)


def test_the_kernels_word_for_nobody_is_no_account(tmp_path: Path) -> None:
    file = tmp_path / "loginuid"
    for content, wanted in (("4294967295", None), ("1001\n", 1001), ("0", 0), ("", None), ("x", None)):
        file.write_text(content)
        assert login_of(file) == wanted
    assert login_of(tmp_path / "nowhere") is None
    assert present_operator().account == (login_of(Path("/proc/self/loginuid")) or os.getuid()) or os.getuid() == 0
