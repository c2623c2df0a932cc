"""Every mistake in the configuration is refused in one line that names the file, the key and the cause (clause C.4)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from mtls_gateway.cli import run
from mtls_gateway.config import read_configuration
from tests.promises.authority import Authority, now
from tests.promises.whole_gateway import authorities, configure, mtls_gateway, prepared

FILE = "gateway.toml"
HOST = "hosts/cert.bank.localhost"
ISSUING = "trust.authorities.1"


@dataclass(frozen=True)
class Mistake:
    """What is done to a good folder, and what must be said of it."""

    make: Callable[[Path], object]
    #: The file as it is named, below the folder.
    file: str
    key: str
    cause: str
    #: Asked of ``serve`` too. It reads with the same loaders, and a process takes a second to start: one of each kind.
    at_start: bool = False


def setting(key: str, value: Any) -> Callable[[Path], None]:
    """Give a key of the file another value; None takes it away."""
    table: dict[str, Any] = {}
    inner = table
    *path, last = key.split(".")
    for name in path:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return lambda folder: configure(folder / FILE, table)


def issuing(change: Mapping[str, Any]) -> Callable[[Path], None]:
    """Change the second authority's entry."""

    def make(folder: Path) -> None:
        entries = [dict(entry) for entry in authorities(folder / FILE)]
        entries[1].update(change)
        configure(folder / FILE, {"trust": {"authorities": entries}})

    return make


def content(name: str, octets: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(octets)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def copy(source: str, target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / target).write_bytes((folder / source).read_bytes())


def both(name: str) -> Callable[[Path], object]:
    """Two certificates in one file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() * 2)


def stale(folder: Path) -> None:
    authority = Authority.loaded(folder / "ca", "issuing")
    authority.publish(authority.crl(1_000, age=timedelta(days=2), ends=timedelta(seconds=-60)))


def without_private_key_rights(folder: Path) -> None:
    (folder / f"{HOST}.key.pem").chmod(0o644)


def unusable_state(folder: Path) -> None:
    shutil.rmtree(folder / "state")
    (folder / "state").write_text("a file")


def expired_host(folder: Path) -> None:
    authority = Authority.loaded(folder / "ca", "issuing")
    _, pem = authority.leaf(folder, ends=now() - timedelta(minutes=1))
    (folder / f"{HOST}.cert.pem").write_bytes(pem.read_bytes())
    (folder / f"{HOST}.key.pem").write_bytes(pem.read_bytes())


MISTAKES: dict[str, Mistake] = {
    "no such file": Mistake(remove(FILE), FILE, "", "cannot be read", at_start=True),
    "not TOML": Mistake(content(FILE, b"state = "), FILE, "", "is not TOML", at_start=True),
    "not UTF-8": Mistake(content(FILE, b"state = '\xff'"), FILE, "", "is not TOML"),
    "an empty file": Mistake(content(FILE, b""), FILE, "state", "required"),
    "an unknown key": Mistake(setting("tls.minimun", "1.3"), FILE, "tls.minimun", "not permitted", at_start=True),
    "an unknown table": Mistake(setting("tsl.minimum", "1.3"), FILE, "tsl", "not permitted"),
    "a word for a number": Mistake(setting("sessions.idle", "long"), FILE, "sessions.idle", "number"),
    "a time of zero": Mistake(setting("timeouts.head", 0), FILE, "timeouts.head", "greater than 0"),
    "a time without end": Mistake(
        lambda folder: (folder / FILE).write_text(
            (folder / FILE).read_text().replace("legacy =", "timeouts = { head = inf }\nlegacy =")
        ),
        FILE,
        "timeouts.head",
        "finite",
    ),
    "a host's port for the operations": Mistake(
        lambda folder: configure(
            folder / FILE, {"operations": {"listen": read_configuration(folder / FILE).public.listen[0]}}
        ),
        FILE,
        "operations.listen",
        "endpoint of a host",
    ),
    "no workers": Mistake(setting("operations.workers", 0), FILE, "operations.workers", "greater than 0"),
    "an old TLS": Mistake(setting("tls.minimum", "1.0"), FILE, "tls.minimum", "1.2"),
    "no known cipher": Mistake(setting("tls.ciphers", "NONSENSE"), "", "tls.ciphers", "no cipher", at_start=True),
    "a name with a port": Mistake(setting("public.name", "bank:443"), FILE, "public.name", "not a host name"),
    "a name with a dot behind": Mistake(setting("public.name", "bank."), FILE, "public.name", "not a host name"),
    "a name for an address": Mistake(
        setting("public.listen", ["localhost:8443"]), FILE, "public.listen.0", "not ADDRESS:PORT"
    ),
    "nothing to listen on": Mistake(setting("public.listen", []), FILE, "public.listen", "at least 1"),
    "a balancer that is everybody": Mistake(
        setting("public.proxy_protocol", ["0.0.0.0/0"]), FILE, "public.proxy_protocol.0", "is everybody"
    ),
    "a balancer that is a name": Mistake(
        setting("public.proxy_protocol", ["balancer"]), FILE, "public.proxy_protocol.0", "is no network"
    ),
    "a balancer in front of one of two hosts on one port": Mistake(
        setting("public.proxy_protocol", ["192.0.2.16/29"]), FILE, "", "must be the same", at_start=True
    ),
    "one name for both hosts": Mistake(setting("public.name", "cert.bank.localhost"), FILE, "", "same name and port"),
    "a poll too slow for a second": Mistake(setting("store.poll", 2), FILE, "store.poll", "0.5"),
    "a cookie that is not bound to its host": Mistake(
        setting("sessions.cookie", "session"), FILE, "sessions.cookie", "pattern"
    ),
    "no guarded login": Mistake(setting("legacy.guarded", []), FILE, "legacy.guarded", "at least 1", at_start=True),
    "a pattern that is no path": Mistake(
        setting("legacy.guarded", ["login"]), FILE, "legacy.guarded.0", "not a path pattern"
    ),
    "a guarded request that is no path": Mistake(
        setting("legacy.guarded", [{"path": "ib", "query": "login"}]),
        FILE,
        "legacy.guarded.0.path",
        "not a path pattern",
    ),
    "a guarded request that says nothing": Mistake(
        setting("legacy.guarded", ["/login", {"path": "/ib"}]), FILE, "legacy.guarded.1", "needs query or field"
    ),
    "a guarded request that says both": Mistake(
        setting("legacy.guarded", [{"path": "/ib", "query": "a=b", "field": "c"}]), FILE, "legacy.guarded.0", "not both"
    ),
    "a parameter that is written encoded": Mistake(
        setting("legacy.guarded", [{"path": "/ib", "field": "user%20id"}]), FILE, "legacy.guarded.0.field", "plainly"
    ),
    "a guarded request with an unknown key": Mistake(
        setting("legacy.guarded", [{"path": "/ib", "feild": "userid"}]), FILE, "legacy.guarded.0.feild", "not permitted"
    ),
    "a backend that is no address": Mistake(
        setting("legacy.backends", ["bank:80"]), FILE, "legacy", "not http://HOST:PORT"
    ),
    "a login of no kind": Mistake(setting("legacy.login.kind", "magic"), FILE, "legacy.login", "magic"),
    "a login whose success cannot be told": Mistake(
        setting("legacy.login.success", None), FILE, "legacy.login", "needs success or proof_page"
    ),
    "an expression that is none": Mistake(
        setting("legacy.login.success.location", "("), FILE, "legacy.login.success.location", "regular expression"
    ),
    "the login form opened to everybody": Mistake(
        lambda folder: configure(folder / FILE, {"legacy": {"public_paths": ["/**"], "guarded": ["/signin"]}}),
        "",
        "legacy.public_paths",
        "login form",
    ),
    "a host's certificate that is missing": Mistake(
        remove(f"{HOST}.cert.pem"), f"{HOST}.cert.pem", "certificate.certificate", "", at_start=True
    ),
    "a host's certificate that is empty": Mistake(
        content(f"{HOST}.cert.pem", b""), f"{HOST}.cert.pem", "certificate.certificate", "PEM"
    ),
    "a host's certificate for another name": Mistake(
        copy("hosts/bank.localhost.cert.pem", f"{HOST}.cert.pem"), f"{HOST}", "certificate.", ""
    ),
    "a host's key that is missing": Mistake(remove(f"{HOST}.key.pem"), f"{HOST}.key.pem", "certificate.key", "missing"),
    "another host's key": Mistake(
        copy("hosts/bank.localhost.key.pem", f"{HOST}.key.pem"),
        f"{HOST}.key.pem",
        "certificate.key",
        "not the key of",
        at_start=True,
    ),
    "a host's key that all may read": Mistake(
        without_private_key_rights, f"{HOST}.key.pem", "certificate.key", "every user"
    ),
    "a host's certificate that has expired": Mistake(expired_host, f"{HOST}.cert.pem", "certificate.certificate", ""),
    "a CA that is missing": Mistake(
        remove("ca/issuing.cert.pem"), "ca/issuing.cert.pem", f"{ISSUING}.certificate", "cannot be read", at_start=True
    ),
    "a CA that is empty": Mistake(
        content("ca/issuing.cert.pem", b"\n"), "ca/issuing.cert.pem", f"{ISSUING}.certificate", "is empty"
    ),
    "a CA that is malformed": Mistake(
        content("ca/issuing.cert.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "ca/issuing.cert.pem",
        f"{ISSUING}.certificate",
        "no X.509 certificate",
        at_start=True,
    ),
    "a host's certificate for a CA": Mistake(
        copy(f"{HOST}.cert.pem", "ca/issuing.cert.pem"),
        "ca/issuing.cert.pem",
        f"{ISSUING}.certificate",
        "no CA certificate",
    ),
    "two CAs in one file": Mistake(
        both("ca/issuing.cert.pem"), "ca/issuing.cert.pem", f"{ISSUING}.certificate", "holds 2 certificates"
    ),
    "an issuing CA without its superior": Mistake(
        copy("other-ca/issuing.cert.pem", "ca/issuing.cert.pem"),
        "ca/issuing.cert.pem",
        f"{ISSUING}.anchor",
        "does not chain",
        at_start=True,
    ),
    "no CA at all": Mistake(setting("trust.authorities", []), FILE, "trust.authorities", "at least 1"),
    "two CAs of one name": Mistake(issuing({"name": "demo-root"}), FILE, "trust", "two authorities are named"),
    "a CA without a CRL": Mistake(issuing({"crls": []}), FILE, ISSUING, "needs at least one entry in crls"),
    "a CRL of no known kind": Mistake(
        issuing({"crls": [{"source": "ldap://ca/crl"}]}), FILE, f"{ISSUING}.crls.0.source", "neither a file nor"
    ),
    "a CRL of another CA": Mistake(
        copy("ca/root.crl.pem", "ca/issuing.crl.pem"), "ca/issuing.crl.pem", "", "is issued by", at_start=True
    ),
    "a CRL that is larger than allowed": Mistake(
        issuing({"crls": [{"source": "ca/issuing.crl.pem", "maximum_octets": 10}]}),
        "ca/issuing.crl.pem",
        "",
        "10",
        at_start=True,
    ),
    "a CRL past its next update": Mistake(stale, "ca/issuing.crl.pem", f"{ISSUING}.crls", "next update"),
    "a state directory that is a file": Mistake(unusable_state, "state", "state", "", at_start=True),
    "a user that does not exist": Mistake(
        setting("operations.user", "nobody-of-that-name"), "", "operations.user", "nobody-of-that-name", at_start=True
    ),
    "a group that does not exist": Mistake(
        setting("operations.group", "none-of-that-name"), "", "operations.group", "none-of-that-name", at_start=True
    ),
    "a database that cannot be opened": Mistake(
        setting("store.url", "sqlite:////nowhere/gateway.sqlite3"), "", "", "/nowhere", at_start=True
    ),
    "a database of no known kind": Mistake(setting("store.url", "oracle://x"), "", "", "oracle"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """One for each mistake, otherwise good."""
    material, _ = prepared(tmp_path_factory.mktemp("good"), {})
    assert mtls_gateway(material.configuration, "check-config").returncode == 0
    root = tmp_path_factory.mktemp("mistakes")
    found = {}
    for number, (name, mistake) in enumerate(MISTAKES.items()):
        found[name] = root / str(number)
        shutil.copytree(material.directory, found[name])
        mistake.make(found[name])
    return found


@pytest.fixture(scope="module")
def served(folders: Mapping[str, Path]) -> Mapping[str, CompletedProcess[str]]:
    """All at once: a process takes longer to start than to find the mistake."""
    names = [name for name, mistake in MISTAKES.items() if mistake.at_start]
    with ThreadPoolExecutor(3) as pool:
        done = pool.map(lambda name: mtls_gateway(folders[name] / FILE, "serve"), names)
        return dict(zip(names, done, strict=True))


@pytest.mark.parametrize("name", MISTAKES)
def test_check_config_names_the_file_the_key_and_the_cause(
    folders: Mapping[str, Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # The command as the program runs it, in this process: there are many.
    status = run(["--config", str(folders[name] / FILE), "check-config"])
    out, err = capsys.readouterr()
    assert status == 2, out
    assert out == ""
    lines = err.splitlines()
    assert any(_names(line, MISTAKES[name], folders[name]) for line in lines), err
    assert all(line.startswith("mtls-gateway: ") for line in lines), err


@pytest.mark.parametrize("name", [name for name, mistake in MISTAKES.items() if mistake.at_start])
def test_the_gateway_does_not_start_and_says_why_in_one_line(
    folders: Mapping[str, Path], served: Mapping[str, CompletedProcess[str]], name: str
) -> None:
    done = served[name]
    # 2: the operator's own mistake; 1: what a CA has published, or the database.
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("mtls-gateway: ")]
    assert len(lines) == 1, done.stderr
    assert _names(lines[0], MISTAKES[name], folders[name]), done.stderr


def _names(line: str, mistake: Mistake, folder: Path) -> bool:
    file = str(folder / mistake.file) if mistake.file else ""
    return file in line and mistake.key in line and mistake.cause in line
