"""From a file to a :class:`Configuration`, or an error that names file, key and cause."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mtls_gateway.config.configuration import Configuration
from mtls_gateway.errors import ConfigurationError

#: Words of pydantic's in the place of an error, which are no keys of the file.
_TAGS = ("form", "argon2id", "pem", "pkcs11", "_pattern", "_table")


def read_configuration(path: Path) -> Configuration:
    """Read and validate ``path``.

    Raises:
        ConfigurationError: names the file, the key and the cause; the first of several.
    """
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(str(path), "", f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), "", f"is not TOML: {error}") from error
    return validate_configuration(raw, path)


def validate_configuration(raw: dict[str, Any], path: Path) -> Configuration:
    """Make a :class:`Configuration` of what ``path`` held.

    Raises:
        ConfigurationError: names the file, the key and the cause; the first of several.
    """
    try:
        return Configuration.model_validate(raw, context={"base": path.resolve().parent})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part not in _TAGS)
        cause = first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigurationError(str(path), key, cause + more) from error
