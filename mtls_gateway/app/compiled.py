"""Whether this program's path of a request is compiled to C, see ``docs/compiled.md``."""

from __future__ import annotations

from mtls_gateway.wire import exchange


def is_compiled() -> bool:
    """All of the path is, or nothing: the modules are compiled in one piece."""
    return not str(exchange.__file__).endswith(".py")
