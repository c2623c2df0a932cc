"""What every test may lean on: system components that must be there, and ports that are free.

A test that needs a program which is no Python package says so::

    @pytest.mark.needs("chromium", "certutil")

Without it the test is skipped, and the end of the run says what was not tested for want of what. With ``CI`` set
it fails instead: there everything has been installed, and a test that silently never runs promises nothing.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.workermanage import WorkerController

from mtls_gateway.demo.free_ports import free_ports
from tests.postgres_server import PostgresServer, postgres_server
from tests.schedule import Schedule

#: Where ``.ci/run`` has a 32-bit Wine made: the app for Windows that is delivered is 32-bit, the system's Wine 64-bit.
WINE32 = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtls-gateway" / "wine32" / "bin"


@dataclass(frozen=True)
class Component:
    """A program or a directory of the system, and Debian's package of it, or what else must be done."""

    look_for: str
    package: str = ""
    #: For a folder that the tests must be able to write to.
    otherwise: str = ""

    @property
    def remedy(self) -> str:
        return self.otherwise or f"apt-get install {self.package}"

    @property
    def present(self) -> bool:
        if self.otherwise:
            there = next(path for path in (Path(self.look_for), *Path(self.look_for).parents) if path.exists())
            return os.access(there, os.W_OK)
        if self.look_for.startswith("/"):
            return Path(self.look_for).exists()
        return shutil.which(self.look_for, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:{WINE32}") is not None


COMPONENTS = {
    "chromium": Component("chromium", "chromium"),
    "chromium-policies": Component(
        "/etc/chromium/policies/managed", otherwise="run the tests as root: they write a policy file there"
    ),
    "certutil": Component("certutil", "libnss3-tools"),
    "curl": Component("curl", "curl"),
    "haproxy": Component("haproxy", "haproxy"),
    "namespaces": Component(
        "/run/netns", otherwise="run the tests as root with iproute2: they make network namespaces"
    ),
    "nft": Component("nft", "nftables"),
    "nginx": Component("nginx", "nginx"),
    "pdffonts": Component("pdffonts", "poppler-utils"),
    "pdfinfo": Component("pdfinfo", "poppler-utils"),
    "pdftotext": Component("pdftotext", "poppler-utils"),
    "prometheus": Component("prometheus", "prometheus"),
    "promtool": Component("promtool", "prometheus"),
    "qpdf": Component("qpdf", "qpdf"),
    "nss-wrapper": Component("/usr/lib/x86_64-linux-gnu/libnss_wrapper.so", "libnss-wrapper"),
    "openssl": Component("openssl", "openssl"),
    "postgres": Component("/usr/lib/postgresql", "postgresql"),
    "certtool": Component("certtool", "gnutls-bin"),
    "softhsm2": Component("/usr/lib/softhsm/libsofthsm2.so", "softhsm2"),
    "slowhttptest": Component("slowhttptest", "slowhttptest"),
    "strongswan-pki": Component("pki", "strongswan-pki"),
    "strongswan-plugins": Component(
        "/usr/lib/ipsec/plugins/libstrongswan-curl.so", "libstrongswan-standard-plugins libstrongswan-extra-plugins"
    ),
    "disks": Component(
        "/dev/loop-control", otherwise="run the tests as root where there are loop devices: they make small disks"
    ),
    "gcc": Component("gcc", "gcc"),
    "python-headers": Component("/usr/include/python3.11/Python.h", "python3-dev"),
    "fonts-ipafont": Component("/usr/share/fonts/opentype/ipafont-gothic/ipagp.ttf", "fonts-ipafont-gothic"),
    "libfuzzer": Component(
        "/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.fuzzer-x86_64.a", "clang libclang-rt-14-dev"
    ),
    "mingw-i686": Component("i686-w64-mingw32-gcc", "gcc-mingw-w64-i686-win32"),
    "mingw-x86_64": Component("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64-win32"),
    "osslsigncode": Component("osslsigncode", "osslsigncode"),
    "wine": Component("wine", f"patchelf && .ci/wine32 {WINE32.parent}"),
    "xdotool": Component("xdotool", "xdotool"),
    "Xvfb": Component("Xvfb", "xvfb"),
    "shellcheck": Component("shellcheck", "shellcheck"),
    "systemd-analyze": Component("systemd-analyze", "systemd"),
    "tomcat10": Component("/usr/share/tomcat10/bin/catalina.sh", "tomcat10"),
    "tomcat10-examples": Component("/usr/share/tomcat10-examples/examples", "tomcat10-examples"),
}

_UNTESTED = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*components): programs of the system, see COMPONENTS in conftest.py")
    config.addinivalue_line("markers", "interpreted: of what is written, not of what it is compiled to")
    config.stash[_UNTESTED] = Counter()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if name not in COMPONENTS:
                pytest.fail(f"no component is called {name!r}; add it to COMPONENTS in tests/conftest.py", False)
            if not COMPONENTS[name].present:
                item.config.stash[_UNTESTED][name] += 1
                absent = f"{name} is missing: {COMPONENTS[name].remedy}"
                if os.environ.get("CI"):
                    pytest.fail(absent, False)
                pytest.skip(absent)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Schedule:
    return Schedule(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    # One of two processes: what it could not test is told by the one that writes the summary.
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        untested = session.config.stash[_UNTESTED]
        output["untested"] = dict(untested)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    told: Counter[str] = node.config.stash[_UNTESTED]
    told.update(getattr(node, "workeroutput", {}).get("untested", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    untested = config.stash[_UNTESTED]
    if untested:
        terminalreporter.section("NOT TESTED, for want of a system component", yellow=True)
        for name, count in sorted(untested.items()):
            terminalreporter.line(f"{name}: {count} tests ({COMPONENTS[name].remedy})")


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    [port] = free_ports(1)
    return port


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests; each makes a database of its own in it."""
    with postgres_server() as server:
        yield server
