"""A Windows of the tests' own: a Wine prefix, a screen in memory, the app in it, and eyes on stores and windows."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from tests.conftest import WINE32
from tests.issuing_app.bank import PUBLIC_HOST

PENDING = r"Software\mtls-gateway"
#: Where Wine keeps the keys of the legacy provider.
CONTAINERS = r"Software\Wine\Crypto\RSA"
SCREEN = (800, 600)
_PATIENCE = 30.0
#: Fonts that are there, and a desktop of Wine's own, which gives windows frames and the keyboard.
_REGISTRY = """REGEDIT4

[HKEY_CURRENT_USER\\Software\\Wine\\Fonts\\Replacements]
"Meiryo UI"="IPAPGothic"
"Segoe UI"="IPAPGothic"
"Tahoma"="IPAPGothic"

[HKEY_LOCAL_MACHINE\\Software\\Microsoft\\Windows NT\\CurrentVersion\\FontSubstitutes]
"MS Shell Dlg"="IPAPGothic"
"MS Shell Dlg 2"="IPAPGothic"

[HKEY_CURRENT_USER\\Software\\Wine\\WineDbg]
"ShowCrashDialog"=dword:00000000

[HKEY_CURRENT_USER\\Software\\Wine\\WineBrowser]
"Browsers"="{browser}"

[HKEY_CURRENT_USER\\Software\\Wine\\Explorer]
"Desktop"="Default"

[HKEY_CURRENT_USER\\Software\\Wine\\Explorer\\Desktops]
"Default"="{wide}x{high}"
"""


@dataclass(frozen=True)
class Certificate:
    """One of a store."""

    thumbprint: str
    subject: str
    der: bytes
    #: It names a key, and that key signs.
    has_key: bool
    signs: bool


@dataclass(frozen=True)
class Control:
    """One that can be seen; ``number`` 0 is a top-level window. Coordinates are the screen's."""

    number: int
    kind: str
    text: str
    left: int
    top: int
    right: int
    bottom: int
    #: Where the wizard's page is that it stands on; None for what stands on none.
    page: tuple[int, int, int, int] | None
    wants: tuple[int, int]
    enabled: bool


class Windows:
    """A prefix with its helper running; ``close`` ends every process of it."""

    def __init__(self, folder: Path, tool: Path, preload: Path, display: str) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self.environment = {
            "HOME": str(folder),
            "PATH": f"{WINE32}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "WINEPREFIX": str(folder / "prefix"),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=",
            "LD_PRELOAD": str(preload),
            "DISPLAY": display,
        }
        self._run("wine", "wineboot", "--init", timeout=120)
        registry = folder / "registry.reg"
        registry.write_text(_REGISTRY.format(browser=self._browser(), wide=SCREEN[0], high=SCREEN[1]))
        self._run("wine", "regedit", "/S", str(registry))
        # The desktop is made by the first program after the last one has gone.
        self._run("wineserver", "--wait")
        self._tool = subprocess.Popen(
            ["wine", str(tool)], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._tool.stdin is not None
        assert self._tool.stdout is not None
        self._tool.stdin.close()
        self._tool.wait(20)
        self._tool.stdout.close()
        self._run("wineserver", "--kill")
        self._run("wineserver", "--wait")
        # Two thirds of a gigabyte.
        shutil.rmtree(self.folder / "prefix", ignore_errors=True)

    def _run(self, *command: str, timeout: float = 60) -> None:
        subprocess.run(
            command, env=self.environment, cwd=self.folder, timeout=timeout, capture_output=True, check=False
        )

    def _browser(self) -> Path:
        """A browser that writes down what it was to open."""
        script = self.folder / "browser"
        script.write_text(f'#!/bin/sh\necho "$1" > "{self.opened}"\n')
        script.chmod(0o755)
        return script

    @property
    def opened(self) -> Path:
        """Holds the address that the browser was to open."""
        return self.folder / "opened.txt"

    def opened_address(self) -> str:
        """Waits for the browser."""
        end = time.monotonic() + _PATIENCE
        while not (self.opened.exists() and self.opened.read_text()):
            assert time.monotonic() < end, "no browser was started"
        return self.opened.read_text().strip()

    def ask(self, command: str) -> Any:
        """One command of the tool and its answer."""
        assert self._tool.stdin is not None
        assert self._tool.stdout is not None
        self._tool.stdin.write(f"{command}\n".encode())
        self._tool.stdin.flush()
        return json.loads(self._tool.stdout.readline())

    # --- stores ------------------------------------------------------------------------------------------------

    def trust(self, root: Path) -> None:
        self.add("Root", root)

    def add(self, store: str, certificate: Path) -> None:
        """A DER file; what has the same issuer and serial number gives way to it, and leaves it its key."""
        assert self.ask(f"add {store} {certificate}")

    def certificates(self, store: str = "MY") -> list[Certificate]:
        return [
            Certificate(one["thumbprint"], one["subject"], bytes.fromhex(one["der"]), one["key"], one["signs"])
            for one in self.ask(f"list {store}")
        ]

    @property
    def keys(self) -> list[str]:
        """Names of the app's keys."""
        return [
            name for name in cast("list[str]", self.ask(f"subkeys {CONTAINERS}")) if name.startswith("issuing-app-")
        ]

    @property
    def pending(self) -> list[str]:
        """Enrolments under way, of every server."""
        found = []
        root = rf"{PENDING}\issuing-app"
        for server in cast("list[str]", self.ask(f"subkeys {root}")):
            found += cast("list[str]", self.ask(rf"subkeys {root}\{server}\pending"))
        return found

    def forget_everything(self) -> None:
        stores = [rf"Software\Microsoft\SystemCertificates\{store}" for store in ("MY", "CA", "Root")]
        for path in (*stores, PENDING, CONTAINERS):
            assert self.ask(f"forget {path}"), path

    # --- the app -----------------------------------------------------------------------------------------------

    def place(self, app: Path, port: int, name: str = "issuing-app({host}_{port}) (1).exe") -> Path:
        """The app under the name that a browser gave it."""
        placed = self.folder / name.format(host=PUBLIC_HOST, port=port)
        shutil.copy(app, placed)
        return placed

    def start(
        self, app: Path, *arguments: str, secrets: str | None = None, fault: str = "", proxy: int = 0
    ) -> subprocess.Popen[bytes]:
        """``fault``: see key_makers_test.c; ``proxy``: the port of one on this machine."""
        environment = self.environment | ({"ISSUING_APP_TEST_FAULT": fault} if fault else {})
        environment |= {"http_proxy": f"http://127.0.0.1:{proxy}"} if proxy else {}
        process = subprocess.Popen(
            ["wine", str(app), *arguments], env=environment, cwd=self.folder, stdin=subprocess.PIPE
        )
        assert process.stdin is not None
        if secrets is not None:
            process.stdin.write(secrets.encode())
        process.stdin.close()
        self._started.append(process)
        return process

    def end_all(self) -> None:
        """Whatever a test has left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait(20)
        self._started.clear()

    def run(self, app: Path, *arguments: str, secrets: str | None = None, fault: str = "", proxy: int = 0) -> int:
        """Unattended, with what is secret on standard input; returns the exit code."""
        more = ("/secrets", "-") if secrets is not None else ()
        words = ("/quiet", "/log", str(self.log), *more, *arguments)
        process = self.start(app, *words, secrets=secrets, fault=fault, proxy=proxy)
        code = process.wait(_PATIENCE)
        # Shown by pytest when what is expected of it does not hold.
        print(f"exit code {code}", self.log.read_text() if self.log.exists() else "and no log", sep="\n")
        return code

    @property
    def log(self) -> Path:
        return self.folder / "app.log"

    # --- the screen --------------------------------------------------------------------------------------------

    def controls(self) -> list[Control]:
        found = []
        for one in self.ask("windows"):
            left, top, right, bottom = one["area"]
            page = tuple(one["page"]) if "page" in one else None
            wide, high = one["wants"]
            found.append(
                Control(
                    one["id"], one["class"], one["text"], left, top, right, bottom, page, (wide, high), one["enabled"]
                )
            )
        return found

    def wait_for(self, text: str, *, gone: bool = False) -> list[Control]:
        """Until a control that can be seen has it in its text, or none has any more."""
        end = time.monotonic() + _PATIENCE
        while True:
            found = self.controls()
            if any(text in control.text for control in found) is not gone:
                return found
            if time.monotonic() > end:
                raise AssertionError(f"waited for {text!r}, gone: {gone}; seen: {[control.text for control in found]}")

    def type(self, text: str) -> None:
        self._xdotool("type", "--delay", "5", text)

    def press(self, *keys: str) -> None:
        self._xdotool("key", "--delay", "20", *keys)

    def _xdotool(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], env=self.environment, check=True, capture_output=True, timeout=20)


class Screen:
    """Xvfb with its frame buffer in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        reading, writing = os.pipe()
        size = f"{SCREEN[0]}x{SCREEN[1]}x24"
        self._process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-fbdir", str(folder), "-nolisten", "tcp"],
            pass_fds=(writing,),
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        with os.fdopen(reading) as told:
            self.display = f":{int(told.readline())}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(20)

    def picture(self, path: Path) -> None:
        """What is on the screen, as PNG, out of the XWD file that Xvfb keeps."""
        content = (self._folder / "Xvfb_screen0").read_bytes()
        head = struct.unpack(">25I", content[:100])
        start, wide, high, stride, colours = head[0], head[4], head[5], head[12], head[19]
        start += 12 * colours
        rows = []
        for row in range(high):
            line = content[start + row * stride : start + row * stride + 4 * wide]
            shown = bytearray(3 * wide)
            shown[0::3], shown[1::3], shown[2::3] = line[2::4], line[1::4], line[0::4]
            rows.append(b"\0" + bytes(shown))

        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        header = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
