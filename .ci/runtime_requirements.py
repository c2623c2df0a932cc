"""What a machine needs that runs the gateway, and what it is compiled with: parts of constraints.txt.

    .venv/bin/python .ci/runtime_requirements.py > deploy/requirements.txt
    .venv/bin/python .ci/runtime_requirements.py --compile > deploy/compile-requirements.txt
    .venv/bin/python .ci/runtime_requirements.py --check

Read from what is installed: run it in the environment that ``make setup`` makes. setuptools is among it because the
gateway itself is installed from its source.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# What a machine needs that runs the gateway: the part of constraints.txt that the package itself asks for.
# Made by .ci/runtime_requirements.py; never changed by hand.
#   pip install --require-hashes -r deploy/requirements.txt
#   pip install --no-index --no-deps --no-build-isolation .
"""
COMPILING = """\
# What compiles the path of a request when the gateway is installed (docs/compiled.md): a part of constraints.txt. It is
# not needed any more when it has.
# Made by .ci/runtime_requirements.py; never changed by hand.
"""
FILES = {"requirements.txt": "--run", "compile-requirements.txt": "--compile"}


def canonical(name: str) -> str:
    """As indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(requirements: list[str]) -> set[str]:
    """The names of all packages that ``requirements`` lead to."""
    found: set[str] = set()
    waiting = [Requirement(one) for one in requirements]
    while waiting:
        requirement = waiting.pop()
        extras = requirement.extras or {""}
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonical(requirement.name)
        known = name in found
        found.add(name)
        for line in distribution(name).requires or ():
            further = Requirement(line)
            wanted = further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras | {""})
            if wanted and not (known and canonical(further.name) in found):
                further.marker = None
                waiting.append(further)
    return found


def pinned() -> Iterator[tuple[str, str]]:
    """Each package of constraints.txt with its lines."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for block in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE):
        if found := re.match(r"([A-Za-z0-9._-]+)==", block):
            yield canonical(found[1]), re.sub(r"^#.*\n", "", block, flags=re.MULTILINE)


def requirements(what: str) -> str:
    """The whole file."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = whole["project"]
    if what == "--compile":
        head, wanted = COMPILING, closure(project["optional-dependencies"]["compile"])
    else:
        head, wanted = HEAD, closure([*project["dependencies"], *whole["build-system"]["requires"]])
    return head + "".join(block for name, block in pinned() if name in wanted)


def main() -> int:
    """Print one, or say whether the files are what would be printed."""
    what = (sys.argv[1:2] or ["--run"])[0]
    if what != "--check":
        print(requirements(what), end="")
        return 0
    stale = [name for name in FILES if (ROOT / "deploy" / name).read_text("utf-8") != requirements(FILES[name])]
    for name in stale:
        print(f"deploy/{name} is not what constraints.txt leads to; {__file__} {FILES[name]} > deploy/{name} writes it")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
