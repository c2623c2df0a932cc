"""The settings of the ``cryptography`` wheel's OpenSSL that only a file can give it: it reads one when it is loaded.

OpenSSL sends two tickets after a full handshake in TLS 1.3, and each costs a tenth of it; one resumes as well. Neither
pyOpenSSL nor the wheel has a call for that, but OpenSSL's own configuration file does (config(5), ``NumTickets``).

The file is for the wheel's OpenSSL alone. The system's, behind the standard library's ``ssl``, has been loaded before
and keeps the system's settings, and programs that are started from here see the environment as it was.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

_FILE = Path(__file__).with_name("openssl.cnf")
_VARIABLE = "OPENSSL_CONF"
_WHEEL = "cryptography.hazmat.bindings.openssl.binding"


def load_openssl() -> bool:
    """Load the wheel's OpenSSL with our settings; False: it was loaded already, or the operator names a file.

    Nothing but speed depends on it.
    """
    if _VARIABLE in os.environ or _WHEEL in sys.modules:
        return False
    importlib.import_module("ssl")
    os.environ[_VARIABLE] = str(_FILE)
    try:
        importlib.import_module(_WHEEL)
    finally:
        del os.environ[_VARIABLE]
    return True
