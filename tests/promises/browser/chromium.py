"""Headless Chromium with client certificates: its NSS database, its policies, its pages.

* :func:`add_authority` and :func:`add_client` put certificates where Chromium looks for them;
* :class:`Policy` owns one managed-policy file that says which client certificate is chosen without a dialogue;
* :func:`launched` runs the browser with that home;
* :func:`reload_policies` makes a running browser read the policy file again, and waits until it has.

Only Playwright's asynchronous interface is used: the synchronous one refuses to work where a loop runs.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from playwright.async_api import BrowserContext, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
POLICY_DIRECTORY = Path("/etc/chromium/policies/managed")
AUTO_SELECT = "AutoSelectCertificateForUrls"
#: Seconds to wait for another run's module to end.
_TURN = 100.0
_POLICY_NAME = re.compile(r"mtls-gateway-test-(\d+)-[0-9a-f]+\.json")

_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")


def _database(home: Path) -> str:
    """The NSS database below ``home``, made without a password when it is not there."""
    folder = home / ".pki" / "nssdb"
    if not (folder / "cert9.db").exists():
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        _run("certutil", "-N", "-d", f"sql:{folder}", "--empty-password")
    return f"sql:{folder}"


def add_authority(home: Path, certificate: Path) -> None:
    """Trust a CA for servers (``C,,``)."""
    _run("certutil", "-A", "-d", _database(home), "-n", certificate.stem, "-t", "C,,", "-i", certificate)


def pkcs12(pem: Path, out: Path, password: str) -> Path:
    """Certificate and key of a PEM file as PKCS#12."""
    octets = pem.read_bytes()
    key = load_pem_private_key(octets, None)
    certificate = x509.load_pem_x509_certificate(octets)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    encryption = BestAvailableEncryption(password.encode())
    out.write_bytes(serialize_key_and_certificates(b"x", key, certificate, None, encryption))
    return out


def add_client(home: Path, pkcs12: Path, password: str) -> None:
    """Import a client certificate with its key; also while the browser runs."""
    _run("pk12util", "-i", pkcs12, "-d", _database(home), "-W", password, "-K", "")


class Policy:
    """One managed-policy file under a name nobody else uses.

    The directory belongs to the machine, and every Chromium on it reads the file: use :func:`policy`, which lets
    one run of the tests in at a time and removes the file whatever happens.
    """

    def __init__(self) -> None:
        self.path = POLICY_DIRECTORY / f"mtls-gateway-test-{os.getpid()}-{secrets.token_hex(4)}.json"
        self._selected: dict[str, str] = {}

    def select(self, origin: str, common_name: str) -> None:
        """From now on the certificate of this subject CN is chosen at ``origin``.

        Without a rule headless Chromium waits in a dialogue that nobody sees, unless no certificate of its suits
        the server's request.
        """
        self._selected[origin] = common_name
        self.write()

    def forget(self) -> None:
        """No rule any more."""
        self._selected.clear()
        self.write()

    @property
    def rules(self) -> list[str]:
        """The policy's value as written, each rule a JSON text of its own."""
        return [
            json.dumps({"pattern": pattern, "filter": {"SUBJECT": {"CN": name}}}, separators=(",", ":"))
            for pattern, name in sorted(self._selected.items())
        ]

    def write(self) -> None:
        """In one step, so that the browser never reads half of it."""
        POLICY_DIRECTORY.mkdir(parents=True, exist_ok=True)
        # Outside the directory, lest Chromium takes the draft for another policy file.
        draft = POLICY_DIRECTORY.parent / f".{self.path.name}.draft"
        draft.write_text(json.dumps({AUTO_SELECT: self.rules}, indent=1))
        draft.chmod(0o644)
        draft.replace(self.path)


@contextmanager
def policy() -> Iterator[Policy]:
    """A policy file for as long as the block lasts; what a killed run has left is removed too."""
    POLICY_DIRECTORY.mkdir(parents=True, exist_ok=True)
    with _the_only_one():
        for left in POLICY_DIRECTORY.iterdir():
            found = _POLICY_NAME.fullmatch(left.name)
            if found and not Path("/proc", found[1]).exists():
                left.unlink(missing_ok=True)
        ours = Policy()
        try:
            ours.write()
            yield ours
        finally:
            ours.path.unlink(missing_ok=True)


@contextmanager
def _the_only_one() -> Iterator[None]:
    """Wait until no other run of these tests has a policy file.

    Raises:
        TimeoutError: another run does not come to an end.
    """
    folder = os.open(POLICY_DIRECTORY, os.O_RDONLY)
    try:
        until = time.monotonic() + _TURN
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(f"another run of these tests has had {POLICY_DIRECTORY} for {_TURN} s") from None
                time.sleep(0.1)
        yield
    finally:
        os.close(folder)


@asynccontextmanager
async def launched(
    home: Path, *, arguments: Sequence[str] = (), user_agent: str | None = None, patience: float = 20.0
) -> AsyncIterator[BrowserContext]:
    """Headless Chromium with ``home`` as its HOME (NSS database, profile)."""
    environment: dict[str, str | float | bool] = {
        name: value for name, value in os.environ.items() if not name.startswith("XDG_")
    }
    environment["HOME"] = str(home)
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            home / "profile",
            executable_path=CHROMIUM,
            headless=True,
            args=[*_ARGUMENTS, *arguments],
            env=environment,
            chromium_sandbox=False,
            locale="ja-JP",
            user_agent=user_agent,
            timezone_id="Asia/Tokyo",
            viewport={"width": 1100, "height": 800},
            timeout=patience * 1000,
        )
        context.set_default_timeout(patience * 1000)
        try:
            yield context
        finally:
            await context.close()


# The policy page keeps everything in nested shadow roots, which innerText does not enter.
_DEEP_TEXT = """() => {
    const text = node => node.nodeType === Node.TEXT_NODE ? node.data
        : [...(node.shadowRoot ? node.shadowRoot.childNodes : []), ...node.childNodes].map(text).join('');
    return text(document.body);
}"""


async def reload_policies(context: BrowserContext, rules: Policy, *, patience: float = 15.0) -> None:
    """Make a running browser read the policy files again; it has once this returns.

    This presses the button of ``chrome://policy``: Chromium's own watcher of the files may take a long time.
    """
    wanted = json.dumps(rules.rules, separators=(",", ":"))
    until = time.monotonic() + patience
    page = await context.new_page()
    try:
        await page.goto("chrome://policy")
        button = page.locator("#reload-policies")
        while time.monotonic() < until:
            await button.click()
            for _ in range(10):
                if wanted in str(await page.evaluate(_DEEP_TEXT)):
                    return
                await asyncio.sleep(0.05)
        raise TimeoutError(f"Chromium did not take up {wanted} within {patience} s")
    finally:
        await page.close()
