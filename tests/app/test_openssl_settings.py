"""Our settings reach the wheel's OpenSSL and nobody else's; whoever has settings of their own keeps them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Prints whether it was loaded with our settings, whether the variable is gone, and what the system's OpenSSL knows.
PROGRAM = """
import os, ssl, sys
{before}
from mtls_gateway.app.openssl_settings import load_openssl
print(load_openssl(), os.environ.get("OPENSSL_CONF", "gone"), "OpenSSL" in ssl.OPENSSL_VERSION)
"""


def run(before: str = "", **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "OPENSSL_CONF"}
    command = [sys.executable, "-c", PROGRAM.format(before=before)]
    done = subprocess.run(
        command, env={**environment, **variables}, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_they_are_loaded_once_and_the_environment_is_as_before() -> None:
    assert run() == "True gone True"


@pytest.mark.parametrize("module", ["cryptography.x509", "OpenSSL.SSL"])
def test_an_openssl_that_is_there_already_stays_as_it_is(module: str) -> None:
    assert run(f"import {module}, OpenSSL.SSL") == "False gone True"


def test_an_operators_own_file_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "openssl.cnf"
    own.write_text("")
    assert run(OPENSSL_CONF=str(own)) == f"False {own} True"
