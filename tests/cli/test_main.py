"""The command itself, in a process of its own: what no test within this process can see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtls_gateway import __version__
from mtls_gateway.cli import run
from mtls_gateway.cli.families import FAMILIES as ALL_FAMILIES
from mtls_gateway.clock import SystemClock
from mtls_gateway.model import CertificateId, NewSession

from .conftest import ISSUER, Colleague, Command

ROOT = Path(__file__).parents[2]


def _run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "mtls_gateway", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_day_of_an_operator(home: Path) -> None:
    config = ("--config", str(home / "gateway.toml"))
    users = home / "users.csv"
    users.write_text("user_id,company_id\nhanako,acme\n", encoding="utf-8-sig")
    for words in (
        ("company", "create", "acme", "--name-ja", "株式会社アクメ"),
        ("user", "import", str(users)),
        ("ca", "issue", "--directory", str(home / "ca"), "--user-id", "hanako", "--out", str(home), "--register"),
        ("company", "method", "acme", "certificate"),
    ):
        done = _run(*config, *words)
        assert (done.returncode, done.stderr) == (0, "")
    listed = _run(*config, "certificate", "list", "--json")
    assert '"user": "hanako"' in listed.stdout
    assert (home / "state").stat().st_mode & 0o777 == 0o700
    assert (home / "state" / "gateway.sqlite3").stat().st_mode & 0o777 == 0o600


def test_a_foreseeable_error_is_one_line_without_a_traceback(home: Path) -> None:
    refused = _run("--config", str(home / "gateway.toml"), "company", "show", "nowhere")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "mtls-gateway: there is no company nowhere; see: mtls-gateway company list\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    shell = f"{sys.executable} -m mtls_gateway config-reference | head -n 1"
    done = subprocess.run(
        shell,
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("# Configuration\n", "")


def test_nothing_slow_is_imported_for_help() -> None:
    program = (
        "import sys; from mtls_gateway.cli import run; run(['--help']); "
        "print([name for name in ('sqlalchemy', 'cryptography', 'pydantic', 'alembic', 'aiohttp', 'uvloop') "
        "if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == "[]\n"


#: What ``certificate revoke`` has no use for, and what would take longest to import.
NOT_FOR_REVOKING = {
    *(
        "aiohttp",
        "alembic",
        "asyncpg",
        "cryptography",
        "OpenSSL",
        "prometheus_client",
        "rich",
        "uvloop",
        "sqlalchemy.dialects.postgresql",
    ),
    *("mtls_gateway.app.master", "mtls_gateway.demo", "mtls_gateway.issuance.signer", "mtls_gateway.mail"),
    *("mtls_gateway.trust", "mtls_gateway.web", "mtls_gateway.wire"),
}


def test_who_revokes_waits_for_no_import_that_revoking_does_not_need(
    acme: Command, colleague: Colleague, home: Path
) -> None:
    file = home / "certificates.csv"
    file.write_text("issuer,serial_hex,user_id\nissuing,01,taro\n")
    assert acme("certificate", "import", file).status == 0
    now = SystemClock().now()
    session = NewSession(bytes(32), "taro", CertificateId(ISSUER, 1), now, now + 3_600, b"")
    colleague(lambda store: store.sessions.open_session(session, idle=900))
    program = (
        "import json, sys; from mtls_gateway.cli import run; status = run(sys.argv[1:]); "
        "print(json.dumps([status, *sys.modules]), file=sys.stderr)"
    )
    words = ["--config", str(home / "gateway.toml"), "certificate", "revoke", "01"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    status, *imported = json.loads(done.stderr)
    assert status == 0
    assert done.stdout == f"revoked: certificate 01 of {ISSUER}; 1 session ended\n"
    assert NOT_FOR_REVOKING & set(imported) == set()
    of_families = {name for name in imported if name.startswith("mtls_gateway.cli.")}
    others = {f"mtls_gateway.cli.{place.partition(':')[0]}" for place in ALL_FAMILIES.values()}
    assert of_families & others == {"mtls_gateway.cli.certificate"}


FAMILIES = ("company", "user", "certificate", "session", "crl", "ca", "store")
COMMANDS = (
    *(["serve", "check-config", "demo", "demo-check"]),
    *(f"company {one}" for one in ["create", "list", "show", "method", "suspend", "resume"]),
    *(f"user {one}" for one in ["create", "list", "import", "release", "stop", "password"]),
    *(f"certificate {one}" for one in ["import", "list", "revoke"]),
    *(f"session {one}" for one in ["list", "end"]),
    *(f"ca {one}" for one in ["init", "issue", "revoke", "crl", "server"]),
    *(f"store {one}" for one in ["migrate", "prune"]),
    "crl dry-run",
)


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_has_help(words: str, command: Command) -> None:
    shown = command(*words.split(), "--help")
    assert shown.status == 0
    assert shown.out.startswith(f"Usage: mtls-gateway {words} ")
    assert "Arguments:" not in shown.out or "  [required]" in shown.out or "[SERIAL]" in shown.out


@pytest.mark.parametrize("family", FAMILIES)
def test_half_a_command_shows_the_other_half(family: str, command: Command) -> None:
    shown = command(family)
    assert shown.status == 2
    assert "Commands:" in shown.out
    assert "..." not in shown.out.split("Commands:")[1]
    assert shown.err == ""


def test_no_command_at_all_shows_every_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    shown = capfd.readouterr().out.split("Commands:")[1]
    assert all(f"\n  {family} " in shown for family in FAMILIES)
    assert "..." not in shown


@pytest.mark.parametrize(
    "words",
    [
        "nonsense",
        "company nonsense",
        "company create",
        "company method acme someday",
        "user list --nonsense",
        "ca crl --days x",
    ],
)
def test_mistaken_words_are_one_line_and_status_2(words: str, command: Command) -> None:
    refused = command(*words.split())
    assert refused.status == 2
    assert refused.err.startswith("mtls-gateway: ")
    assert refused.err.endswith("; see mtls-gateway --help\n")
    assert refused.err.count("\n") == 1


def test_json_is_understood_anywhere_but_behind_two_dashes(acme: Command) -> None:
    for words in (("--json", "company", "list"), ("company", "--json", "list"), ("company", "list", "--json")):
        assert acme(*words).json[0]["company"] == "acme"
    assert acme("company", "show", "--", "--json").status == 1


def test_the_version_is_told(command: Command) -> None:
    assert command("--version").out == f"mtls-gateway {__version__}\n"


def test_a_missing_configuration_says_how_to_name_one(command: Command, tmp_path: Path) -> None:
    refused = command("--config", tmp_path / "nowhere.toml", "company", "list")
    assert refused.status == 2
    assert refused.err.endswith("nowhere.toml: is not there; name the configuration with --config FILE\n")


def test_the_environment_can_name_the_configuration(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTLS_GATEWAY_CONFIG", str(home / "gateway.toml"))
    assert run(["company", "list"]) == 0
