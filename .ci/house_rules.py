"""The house's rules that no linter knows; one line for each breach, exit status 1 when there is any.

Looks at the files that git knows or would add, so that what is ignored (``build``, ``.venv``) may hold keys.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

LONGEST_MODULE = 400
#: Modules that are longer with a reason, which stands beside them.
LONGER_WITH_REASON: dict[str, str] = {}

PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE" + rb" KEY-----")
KEY_FILE = re.compile(r"\.(?:p12|pfx|key|jks)$")
# Written in pieces, so that this file does not break its own rule.
REGISTRY = re.compile(
    b"|".join(
        host.replace(b".", rb"\.")
        for host in (
            b"py" + b"pi.org",
            b"pythonhosted" + b".org",
            b"registry.npm" + b"js.org",
            b"deb.debian" + b".org",
            b"proxy.golang" + b".org",
        )
    )
)
DRAWERS = re.compile(r"(?:^|/)(?:utils?|helpers?|common|core|misc)(?:\.py|/)")


def tracked(root: Path) -> list[str]:
    """Files known to git or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        check=True,
        capture_output=True,
    )
    return sorted({name for name in listed.stdout.decode().split("\0") if name and (root / name).is_file()})


def unpinned(root: Path) -> Iterator[str]:
    """Packages that pyproject.toml asks for and constraints.txt does not pin."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for more in project["optional-dependencies"].values() for one in more)]
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (root / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
    for requirement in wanted:
        name = re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()
        if name not in pinned:
            yield f"constraints.txt: does not pin {name}, which pyproject.toml asks for; its head says how it is made"


def breaches(root: Path) -> Iterator[str]:
    """Each breach as ``file: what is wrong``."""
    yield from unpinned(root)
    for name in tracked(root):
        content = (root / name).read_bytes()
        if PRIVATE_KEY.search(content) or KEY_FILE.search(name):
            yield f"{name}: a private key; tests and the demo make their own"
        if REGISTRY.search(content):
            yield f"{name}: names a package registry's host; leave that to each machine's own settings"
        if not name.endswith(".py"):
            continue
        if DRAWERS.search(name):
            yield f"{name}: a drawer for everything; name the one thing that it holds"
        lines = content.count(b"\n")
        if name.startswith("mtls_gateway/") and lines > LONGEST_MODULE and name not in LONGER_WITH_REASON:
            yield f"{name}: {lines} lines, more than {LONGEST_MODULE}; divide it, or list it in {Path(__file__).name}"


def main() -> int:
    """Print the breaches."""
    found = list(breaches(Path(__file__).resolve().parent.parent))
    for line in found:
        print(line)
    print(f"house rules: {len(found)} breaches" if found else "house rules: kept")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
