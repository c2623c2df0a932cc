"""What setup.py names is compiled, all of it: nothing is interpreted unseen (``make test-compiled``)."""

from __future__ import annotations

import ast
import inspect
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

from mtls_gateway.app.compiled import is_compiled

_SETUP = Path(__file__).parents[2] / "setup.py"
#: What ``dataclass`` makes of its own, from what is declared; no part of a request's way.
_OF_DATACLASS = frozenset(
    {"__delattr__", "__eq__", "__getstate__", "__hash__", "__init__", "__repr__", "__setattr__", "__setstate__"}
)


def named() -> list[str]:
    """The modules that setup.py names."""
    for node in ast.parse(_SETUP.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMPILED":
            return [f"mtls_gateway.{name}" for name in ast.literal_eval(node.value)]
    raise AssertionError("setup.py names nothing")


def test_what_is_named_is_there() -> None:
    modules = named()
    assert len(modules) > 40
    assert sorted(modules) == sorted(set(modules))
    assert [import_module(name).__name__ for name in modules] == modules


def interpreted(name: str) -> list[str]:
    """The functions and methods of a module that are none of C."""
    module = import_module(name)
    assert str(module.__file__).endswith(".so")
    found = [each for each, it in vars(module).items() if isinstance(it, FunctionType) and it.__module__ == name]
    for word, it in vars(module).items():
        if (
            not inspect.isclass(it)
            or it.__module__ != name
            or issubclass(it, Enum)
            or getattr(it, "_is_protocol", False)
        ):
            continue
        methods = [each for each, method in vars(it).items() if isinstance(method, FunctionType)]
        found += [f"{word}.{each}" for each in methods if each not in _OF_DATACLASS]
    return found


@pytest.mark.skipif(not is_compiled(), reason="of what is compiled: make test-compiled")
def test_no_function_and_no_method_of_it_is_interpreted() -> None:
    assert {name: interpreted(name) for name in named() if interpreted(name)} == {}
