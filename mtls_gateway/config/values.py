"""What single values of the file may be: numbers with a unit, paths, names, addresses, patterns.

Relative paths are relative to the configuration file, wherever the process was started.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Octets = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


def _against_the_file(path: Path, info: ValidationInfo) -> Path:
    """A relative path is relative to the configuration file, wherever the process was started."""
    base: Path = (info.context or {}).get("base", Path())
    return path if path.is_absolute() else base / path


def _crl_source(source: str, info: ValidationInfo) -> str:
    if not source:
        raise ValueError("is empty; give a file or an http:// or https:// address")
    if "://" not in source:
        return str(_against_the_file(Path(source), info))
    if not source.startswith(("http://", "https://")):
        raise ValueError(f"{source!r} is neither a file nor an http:// or https:// address")
    return source


def _log_file(file: str, info: ValidationInfo) -> str:
    if not file:
        raise ValueError("is empty; give a file, or - for standard output")
    return file if file == "-" else str(_against_the_file(Path(file), info))


def _host_name(name: str) -> str:
    lowered = name.lower()
    labels = lowered.split(".")
    if len(lowered) > 253 or not all(
        0 < len(label) <= 63 and label.replace("-", "").isalnum() and label.isascii() for label in labels
    ):
        raise ValueError(f"{name!r} is not a host name; give it as a browser sends it, without port and trailing dot")
    return lowered


def _endpoint(address: str) -> str:
    host, separator, port = address.rpartition(":")
    try:
        numeric = ipaddress.ip_address(host.strip("[]"))
        if not separator or not port.isdecimal() or not 0 <= int(port) <= 65535:
            raise ValueError
    except ValueError:
        raise ValueError(f"{address!r} is not ADDRESS:PORT with a numeric address, as in 0.0.0.0:443") from None
    # As the system says it: a socket is recognised by what it listens on.
    return f"[{numeric}]:{int(port)}" if numeric.version == 6 else f"{numeric}:{int(port)}"


def _network(network: str) -> str:
    try:
        known = ipaddress.ip_network(network)
    except ValueError as error:
        raise ValueError(f"{network!r} is no network: {error}; give it as in 192.0.2.16/29") from None
    if known.prefixlen == 0:
        raise ValueError(f"{network!r} is everybody; name the networks that the balancers connect from")
    return str(known)


def _secret_source(source: str, info: ValidationInfo) -> str:
    kind, _, rest = source.partition(":")
    if source == "prompt" or (kind == "fd" and rest.isdecimal() and int(rest) > 2):
        return source
    if kind == "credential" and re.fullmatch(r"[A-Za-z0-9._-]{1,255}", rest) and rest.strip("."):
        return source
    if kind == "file" and rest:
        return f"file:{_against_the_file(Path(rest), info)}"
    raise ValueError(f"{source!r} is none of credential:NAME, file:PATH, fd:NUMBER (3 or more) and prompt")


def _http_address(address: str) -> str:
    if not re.fullmatch(r"https?://[!-~]+", address):
        raise ValueError(f"{address!r} is not an http:// or https:// address")
    return address


def _mail_address(address: str) -> str:
    local, _, domain = address.rpartition("@")
    if not re.fullmatch(r"[!#-'*+\-/-9=?A-Z^-~.]{1,64}", local) or _host_name(domain) != domain.lower():
        raise ValueError(f"{address!r} is not a mail address; give it without a name, as in ib@example.co.jp")
    return address


def _path_pattern(pattern: str) -> str:
    if not pattern.startswith(("/", "**/")):
        raise ValueError(f"{pattern!r} is not a path pattern; start it with / or **/")
    return pattern


def _parameter(parameter: str) -> str:
    name, given, value = parameter.partition("=")
    plain = re.compile(r"[A-Za-z0-9_.:$-]+")
    if not plain.fullmatch(name) or (given and not plain.fullmatch(value)):
        raise ValueError(
            f"{parameter!r} is not NAME or NAME=VALUE; write both plainly, in letters, digits and any of _ . : $ -"
        )
    return parameter


def _expression(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"{expression!r} is not a regular expression: {error}") from None
    return expression


File = Annotated[Path, AfterValidator(_against_the_file)]
LogFile = Annotated[str, AfterValidator(_log_file)]
"""A file, or ``-`` for standard output."""
CrlSource = Annotated[str, AfterValidator(_crl_source)]
"""A file, or an http:// or https:// address."""
HostName = Annotated[str, AfterValidator(_host_name)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Network = Annotated[str, AfterValidator(_network)]
"""One network, IPv4 or IPv6, or one address; never all."""
Expression = Annotated[str, AfterValidator(_expression)]
SecretSource = Annotated[str, AfterValidator(_secret_source)]
HttpAddress = Annotated[str, AfterValidator(_http_address)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
PathPattern = Annotated[str, AfterValidator(_path_pattern)]
"""A path of the legacy backend: ``*`` stands for anything within a segment, ``**`` for anything."""
Parameter = Annotated[str, AfterValidator(_parameter)]
"""A parameter of a query or form: ``NAME``, or ``NAME=VALUE`` where only one value of it is meant."""


class Section(BaseModel):
    """A table of the file: frozen, and an unknown key is an error rather than ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, hide_input_in_errors=True)
