"""cli: what operators type.

One file per family of commands. They parse, call and print. Who revokes a certificate waits for the start of the
command too, so a family is imported when it is called (``families``), a library that takes long to import by the
command that needs it; ``--help`` and mistakes are answered at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mtls_gateway.cli.importing import importing


def main() -> None:
    """The command ``mtls-gateway``; ends the process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 refused, 2 mistaken words or configuration."""
    # Nothing of ours is a plugin of pydantic's, and to look for some it would read what every package says of itself.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    with importing():
        import typer

        from mtls_gateway.cli.application import app
        from mtls_gateway.errors import GatewayError

    try:
        # Otherwise the library would print a usage text of several lines and end the process itself.
        status = app(args=_with_json_first(arguments), prog_name="mtls-gateway", standalone_mode=False)
    except GatewayError as error:
        for line in getattr(error, "lines", None) or [str(error)]:
            _say(line)
        return error.exit_status
    except typer.TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):
            # The library's way of saying that only half a command was given.
            print(message)
            return error.exit_code
        _say(f"{_one_line(message)}; see mtls-gateway --help")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough, e.g. ``head``. Nothing may be written to it at exit either.
        sys.stdout = None
        return 0
    return status if isinstance(status, int) else 0


def _with_json_first(arguments: Sequence[str]) -> list[str]:
    """``--json`` is understood wherever it stands, though it belongs to no command in particular."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    if "--json" in words[:end]:
        words = ["--json", *(word for word in words[:end] if word != "--json"), *words[end:]]
    return words


def _say(line: str) -> None:
    print(f"mtls-gateway: {line}", file=sys.stderr)


def _one_line(message: str) -> str:
    return " ".join(message.split()).rstrip(".")
