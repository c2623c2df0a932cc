from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mtls_gateway.clock import SystemClock
from mtls_gateway.issuance.development_ca import DevelopmentAuthority

from .conftest import CONFIGURATION, Command


def test_a_good_configuration_is_good_and_opens_no_socket(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("a socket was bound or connected")

    monkeypatch.setattr("socket.socket.bind", no_network)
    monkeypatch.setattr("socket.socket.connect", no_network)
    checked = command("check-config")
    assert (checked.status, checked.out, checked.err) == (0, f"{home / 'gateway.toml'}: good\n", "")
    assert not (home / "state").exists()
    assert command("check-config", "--json").json["problems"] == []


def _empty(name: str) -> Callable[[Path], object]:
    return lambda home: (home / name).write_bytes(b"")


def _remove(name: str) -> Callable[[Path], object]:
    return lambda home: (home / name).unlink()


def _copy(source: str, target: str) -> Callable[[Path], object]:
    return lambda home: shutil.copy(home / source, home / target)


def _open_to_all(name: str) -> Callable[[Path], object]:
    return lambda home: (home / name).chmod(0o644)


def _edit(old: str, new: str) -> Callable[[Path], object]:
    assert old in CONFIGURATION
    return lambda home: (home / "gateway.toml").write_text(CONFIGURATION.replace(old, new))


def _append(text: str) -> Callable[[Path], object]:
    return lambda home: (home / "gateway.toml").write_text(CONFIGURATION + text)


def _open_state(home: Path) -> None:
    (home / "state").mkdir()
    (home / "state").chmod(0o755)


def _broken_store(home: Path) -> None:
    (home / "state").mkdir(0o700)
    (home / "state" / "gateway.sqlite3").write_bytes(b"nonsense" * 200)


def _no_server_certificate(home: Path) -> None:
    DevelopmentAuthority(home / "ca", SystemClock()).issue("ib.localhost", "x", home / "hosts", password="x")


def _stale(home: Path) -> None:
    DevelopmentAuthority(home / "ca", SystemClock()).write_crl(days=1e-9)


_SIGNER = """
[[signer.issuers]]
name = "issuing"
active = true
certificate = "ca/issuing.cert.pem"
chain = ["ca/root.cert.pem"]
key = { kind = "pem", file = "ca/issuing.key.pem", unencrypted = true }
crl_url = "http://pki.localhost/issuing.crl"
"""


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_remove("gateway.toml"), "gateway.toml: cannot be read"),
        (_append("[sessions]\nidel = 1\n"), "gateway.toml: sessions.idel: "),
        (_remove("hosts/ib.localhost.cert.pem"), "ib.localhost.cert.pem: public.certificate: cannot be read"),
        (_remove("hosts/cert.ib.localhost.key.pem"), "cert.ib.localhost.key.pem: certificate.key: "),
        (_empty("hosts/ib.localhost.cert.pem"), "ib.localhost.cert.pem: public.certificate: "),
        (_copy("hosts/ib.localhost.key.pem", "hosts/cert.ib.localhost.key.pem"), "certificate.key: is "),
        (_open_to_all("hosts/ib.localhost.key.pem"), "public.key: may be read by every user"),
        (_edit('name = "ib.localhost"', 'name = "bank.localhost"'), "is for ib.localhost, not for bank.localhost"),
        (_no_server_certificate, "public.certificate: browsers refuse it: it has no subjectAltName"),
        (_append('[tls]\nciphers = "nonsense"\n'), "configuration: tls.ciphers: "),
        (_remove("ca/issuing.cert.pem"), "issuing.cert.pem: trust.authorities.1.certificate: cannot be read"),
        (_empty("ca/root.cert.pem"), "root.cert.pem: trust.authorities.0.certificate: is empty"),
        (_copy("hosts/ib.localhost.cert.pem", "ca/issuing.cert.pem"), "trust.authorities.1.certificate: is no CA"),
        (_remove("ca/issuing.crl.pem"), "issuing.crl.pem: trust.authorities.1.crls.0.source: cannot be read"),
        (_empty("ca/issuing.crl.pem"), "issuing.crl.pem: trust.authorities.1.crls: is empty"),
        (_copy("ca/root.crl.pem", "ca/issuing.crl.pem"), "issuing.crl.pem: trust.authorities.1.crls: "),
        (_stale, "issuing.crl.pem: trust.authorities.1.crls: is past its next update"),
        (_edit('guarded = ["/login"]', 'guarded = ["/other"]\npublic_paths = ["/log*"]'), "legacy.public_paths: opens"),
        (_append('[browsers]\nmode = "enforce"\nbrowsers = []\n'), "configuration: browsers: "),
        (
            _append('[mail]\nhost = "mail.bank.example"\nsecurity = "none"\nsender = "ib@bank.example"\n'),
            'gateway.toml: mail: security = "none" is for a server on this machine only',
        ),
        (
            _append('[mail]\nhost = "h"\nsender = "ib@bank.example"\nuser = "u"\npassword_file = "nowhere"\n'),
            "nowhere: mail.password_file: cannot be read",
        ),
        (
            _append('[mail]\nhost = "h"\nsender = "ib@bank.example"\nca_file = "ca/issuing.crl.der"\n'),
            "issuing.crl.der: mail.ca_file: holds no CA certificate",
        ),
        (_append('[mail]\nhost = "h"\nsender = "The bank <ib@bank.example>"\n'), "mail.sender: "),
        (
            _append('[mail]\nhost="h"\nsender="ib@bank.example"\n[pages]\nhelp_desk_ja="https://bank.example/"\n'),
            "configuration: pages.help_desk_ja: holds a link, and stands in mails",
        ),
        (_append("[notices]\ndays = [40, 400]\n"), "gateway.toml: notices.days.1: "),
        (_append('[operations]\nuser = "nobody-of-this-name"\n'), "operations.user: there is no user"),
        (_append('[operations]\ngroup = "no-group-of-this-name"\n'), "operations.group: there is no group"),
        (_open_state, "state: state: may be entered by other users (mode 0755)"),
        (lambda home: (home / "state").touch(), "state: state: is not a directory"),
        (_broken_store, "gateway.sqlite3: file is not a database"),
        (_append('[store]\nurl = "sqlite:///relative"\n'), "store.url: "),
        (_append('[issuance]\norganisation = "Bank"\n'), "issuance needs the signer"),
        (_append(_SIGNER + '[issuance]\norganisation = "Bank"\nkeys = ["P-384"]\n'), "which signer.key_types has not"),
        (
            _append(_SIGNER + '[issuance]\norganisation = "Bank"\nissuing_app = "x.exe"\n'),
            "x.exe: issuance.issuing_app: ",
        ),
    ],
)
def test_each_mistake_is_one_line_and_status_2(
    spoil: Callable[[Path], object], problem: str, command: Command, home: Path
) -> None:
    spoil(home)
    checked = command("check-config")
    assert (checked.status, checked.out) == (2, "")
    assert any(problem in line for line in checked.err.splitlines()), checked.err
    assert all(line.startswith("mtls-gateway: ") for line in checked.err.splitlines())


def test_every_problem_is_told_at_once(command: Command, home: Path) -> None:
    (home / "hosts" / "ib.localhost.key.pem").chmod(0o644)
    (home / "ca" / "root.crl.der").unlink()
    (home / "ca" / "issuing.crl.pem").write_bytes(b"")
    problems = command("check-config", "--json").json["problems"]
    assert len(problems) == 3
