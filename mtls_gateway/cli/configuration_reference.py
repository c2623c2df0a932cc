"""``docs/configuration.md``: every key of the configuration with its unit and default, made from the model."""

from __future__ import annotations

import inspect
import re
import typing
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union

from annotated_types import MinLen
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mtls_gateway.config import Configuration, Section

_HEAD = """\
# Configuration

One TOML file, given with `--config` or `MTLS_GATEWAY_CONFIG`; `conf/gateway.toml` is a complete example.
`mtls-gateway check-config` checks it and everything that it names. An unknown key is an error. Relative paths are
relative to the file. A running gateway takes a changed file on SIGHUP, as a whole or not at all.

This page is made by `mtls-gateway config-reference`; a test holds it against the model.

Times are seconds, sizes octets. A key without a default must be given.
"""

#: How the named types of the model read in the table.
_NAMES = {
    "Seconds": "seconds > 0",
    "Octets": "octets > 0",
    "Count": "number > 0",
    "File": "path",
    "HostName": "host name",
    "Endpoint": "address:port",
    "Network": "network or address",
    "Expression": "regular expression",
    "PathPattern": "path pattern",
    "SecretSource": "secret's source",
    "HttpAddress": "http:// or https:// address",
    "Parameter": "`NAME` or `NAME=VALUE`",
    "Guarded": "path pattern or table `GuardedRequest`",
}
_PLAIN = {
    "dict[": "table of text",
    "bool": "`true` or `false`",
    "int": "number",
    "float": "seconds",
    "datetime.date": "date",
}


def reference() -> str:
    """The page as it should be."""
    parts = [_HEAD]
    for section, tables in _tables().items():
        parts += _describe(section, tables)
    return "\n".join(parts).rstrip() + "\n"


def _tables() -> dict[type[Section], list[str]]:
    """Every section with the tables of the file that hold one, in the order of the model."""
    found: dict[type[Section], list[str]] = {}
    below: list[tuple[type[Section], str, bool]] = [(Configuration, "", False)]
    while below:
        section, table, in_list = below.pop(0)
        found.setdefault(section, []).append(f"[[{table}]]" if in_list else f"[{table}]")
        inner: list[tuple[type[Section], str, bool]] = []
        for name, field in section.model_fields.items():
            sections, repeated = _sections_of(field.annotation)
            path = f"{table}.{name}" if table else name
            inner += [(one, path, repeated) for one in sections]
        below = inner + below
    return found


def _describe(section: type[Section], tables: list[str]) -> list[str]:
    names = list(dict.fromkeys(f"`{table}`" for table in tables if table != "[]"))
    parts = [f"## {', '.join(names)}\n"] if names else []
    text = inspect.getdoc(section)
    if text and names:
        parts.append(_markdown(text) + "\n")
    remarks = _remarks(section)
    parts += ["| key | what | default | |", "|---|---|---|---|"]
    for name, field in section.model_fields.items():
        sections, _ = _sections_of(field.annotation)
        kind = _kind(section, name, field)
        parts.append(f"| `{name}` | {kind} | {_default(field, sections)} | {_cell(remarks.get(name, ''))} |")
    return [*parts, ""]


def _kind(section: type[Section], name: str, field: FieldInfo) -> str:
    sections, repeated = _sections_of(field.annotation)
    written = str(inspect.get_annotations(section).get(name, ""))
    if sections and not any(re.search(rf"\b{known}\b", written) for known in _NAMES):
        what = " or ".join(dict.fromkeys(f"`{one.__name__}`" for one in sections))
        return f"tables of {what}" if repeated else f"table {what}"
    literal = re.findall(r"Literal\[([^\]]*)\]", written)
    if literal:
        return " ".join(f"`{word}`" for word in re.findall(r"[\"']([^\"']*)[\"']", literal[0]))
    for known, reads in _NAMES.items():
        if re.search(rf"\b{known}\b", written):
            return f"list: {reads}" if "tuple[" in written else reads
    bounds = _bounds(field)
    for python, reads in _PLAIN.items():
        if python in written:
            return f"list: {reads}{bounds}" if "tuple[" in written else reads + bounds
    return ("list: text" if "tuple[" in written else "text") + bounds


def _bounds(field: FieldInfo) -> str:
    words: list[str] = []
    for constraint in field.metadata:
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
            bound = getattr(constraint, name, None)
            if bound is not None:
                words.append(f"{sign} {bound}")
        pattern = getattr(constraint, "pattern", None)
        if pattern:
            words.append(f"as `{_escaped(str(pattern))}`")
    return f" {' and '.join(words)}" if words else ""


def _default(field: FieldInfo, sections: list[type[Section]]) -> str:
    if field.is_required():
        least = next((one.min_length for one in field.metadata if isinstance(one, MinLen)), 0)
        return "must be given, not empty" if least else "must be given"
    value = field.default
    if sections or value is PydanticUndefined:
        return _default_table(value)
    return _value(value)


def _default_table(value: Any) -> str:
    if isinstance(value, tuple) and value:
        return "; ".join(f"`{_escaped(str(getattr(one, 'name', one)))}`" for one in value)
    return "none" if value in (None, ()) else "see there"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, float) and value.is_integer():
        return f"`{int(value)}`"
    if isinstance(value, tuple | dict):
        return "`" + ", ".join(str(one) for one in value) + "`" if value else "empty"
    if isinstance(value, str | Path):
        return f"`{_escaped(str(value))}`" if str(value) else "empty"
    return f"`{value}`"


def _sections_of(annotation: Any) -> tuple[list[type[Section]], bool]:
    """The tables that a field holds, and whether it is a list of them."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _sections_of(typing.get_args(annotation)[0])
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        return [annotation], False
    if origin in (Union, UnionType):
        found = [_sections_of(one)[0] for one in typing.get_args(annotation) if one is not NoneType]
        return [one for sections in found for one in sections], False
    if origin is tuple:
        return _sections_of(typing.get_args(annotation)[0])[0], True
    if origin is Literal:
        return [], False
    return [], False


def _remarks(section: type[Section]) -> dict[str, str]:
    """The ``#:`` remarks above the fields in the source."""
    found: dict[str, str] = {}
    remark: list[str] = []
    for line in inspect.getsource(section).splitlines():
        stripped = line.strip()
        if stripped.startswith("#:"):
            remark.append(stripped[2:].strip())
            continue
        named = re.match(r"    ([a-z_]+): ", line)
        if named:
            found[named.group(1)] = " ".join(remark)
        remark = []
    return found


def _markdown(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _cell(text: str) -> str:
    return _escaped(_markdown(text))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
