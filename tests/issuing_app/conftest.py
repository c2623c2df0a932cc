"""The app, built once; a Windows to run it in; a bank for each test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import WINE32
from tests.issuing_app.bank import Bank
from tests.issuing_app.windows import Screen, Windows

ROOT = Path(__file__).resolve().parents[2]
APP_FOLDER = ROOT / "deploy" / "issuing-app"
HERE = ROOT / "tests" / "issuing_app"
#: What the Wine that is here runs; what is delivered is the first.
CPU = "i686" if (WINE32 / "wine").exists() else "x86_64"


def make(*arguments: str) -> str:
    """The app's own Makefile, from the project's root."""
    command = ["make", "--no-print-directory", "--jobs=2", "-f", "deploy/issuing-app/Makefile", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("issuing-app")


@pytest.fixture(scope="session")
def app(out: Path) -> Path:
    """The app as delivered; for 64-bit Windows where the Wine that is here runs nothing else."""
    built = out / CPU / "issuing-app.exe"
    make(f"OUT={out}", f"CPU={CPU}", str(built))
    return built


@pytest.fixture(scope="session")
def test_app(out: Path, app: Path) -> Path:
    """The same with keys of the legacy provider, which Wine keeps, and the one kind of proxy that Wine asks for."""
    sources = " ".join(f"tests/issuing_app/wine/{name}_test.c" for name in ("key_makers", "proxy_settings"))
    make(f"OUT={out}", f"CPU={CPU}", f"TEST_SOURCES={sources}", "test-app")
    return app.with_name("test-app.exe")


@pytest.fixture(scope="session")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with Screen(tmp_path_factory.mktemp("screen")) as shown:
        yield shown


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory, screen: Screen) -> Iterator[Windows]:
    folder = tmp_path_factory.mktemp("windows")
    tool, preload = folder / "tool.exe", folder / "preload.so"
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    sources = HERE / "wine"
    libraries = ["-lcrypt32", "-lgdi32"]
    # Without anything of a 32-bit C library, which is not installed.
    native = ["-m32" if CPU == "i686" else "-m64", "-ffreestanding", "-nostdlib"]
    commands = (
        [f"{CPU}-w64-mingw32-gcc", *strict, "-static", "-o", str(tool), str(sources / "tool.c"), *libraries],
        ["gcc", *strict, *native, "-shared", "-fPIC", "-o", str(preload), str(sources / "preload.c")],
    )
    for command in commands:
        subprocess.run(command, check=True, timeout=60)
    with Windows(folder, tool, preload, screen.display) as running:
        yield running


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    with Bank(tmp_path) as open_bank:
        yield open_bank


@pytest.fixture
def windows(prefix: Windows, bank: Bank) -> Iterator[Windows]:
    """With nothing in its stores but trust in the bank's web server."""
    prefix.forget_everything()
    prefix.log.unlink(missing_ok=True)
    prefix.trust(bank.web_root)
    yield prefix
    prefix.end_all()
