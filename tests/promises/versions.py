"""Versions of the program, as an installer leaves them: folders beside each other and a link to the one in use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

import mtls_gateway

ORIGIN = Path(mtls_gateway.__file__).parent


class Versions:
    """Below ``folder``; Python processes that are started from now on are of the version in use."""

    def __init__(self, folder: Path) -> None:
        self.current = folder / "current"
        self._folder = folder

    def use(self, version: str) -> None:
        """From now on the link leads to ``version``, as ``deploy/install.sh`` has it do."""
        new = self.current.with_name("new")
        new.symlink_to(self._folder / version)
        new.replace(self.current)

    def install(self, version: str, replaced: Mapping[str, tuple[str, str]] | None = None, init: str = "") -> None:
        """A version that calls itself so; ``replaced`` says what stands differently in which file, ``init`` what
        is done besides when it is imported."""
        package = self._folder / version / "mtls_gateway"
        package.mkdir(parents=True)
        differing = replaced or {}
        for entry in ORIGIN.iterdir():
            if entry.name == "__init__.py":
                (package / entry.name).write_text(f'{init}\n__version__ = "{version}"\n', encoding="utf-8")
            elif any(name.startswith(f"{entry.name}/") for name in differing):
                (package / entry.name).mkdir()
                for file in entry.iterdir():
                    self._put(file, package / entry.name / file.name, differing.get(f"{entry.name}/{file.name}"))
            elif entry.name != "__pycache__":
                (package / entry.name).symlink_to(entry)

    def _put(self, file: Path, place: Path, change: tuple[str, str] | None) -> None:
        if change is not None:
            text = file.read_text(encoding="utf-8")
            assert change[0] in text
            place.write_text(text.replace(*change), encoding="utf-8")
        elif file.name != "__pycache__":
            place.symlink_to(file)


@contextmanager
def versions(folder: Path) -> Iterator[Versions]:
    """Nothing is installed yet."""
    folder.mkdir()
    made = Versions(folder)
    path = os.pathsep.join(filter(None, (str(made.current), os.environ.get("PYTHONPATH"))))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", path)
        # Otherwise the folder that a process is started in comes first.
        environment.setenv("PYTHONSAFEPATH", "1")
        yield made
