"""What is delivered: one file, the same from the same sources, that asks nothing of the PC and can be signed."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.issuing_app.conftest import APP_FOLDER, make

pytestmark = [pytest.mark.needs("mingw-i686", "mingw-x86_64"), pytest.mark.timeout(300)]

#: What Windows itself keeps where nobody can put another of the same name before it; comctl32 comes by the manifest.
KNOWN = {"advapi32.dll", "comctl32.dll", "gdi32.dll", "kernel32.dll", "msvcrt.dll", "shell32.dll", "user32.dll"}


@pytest.fixture(scope="session")
def delivered(out: Path) -> Path:
    make(f"OUT={out}", "app")
    return out / "issuing-app.exe"


def dump(what: str, program: Path) -> str:
    return subprocess.run(
        ["i686-w64-mingw32-objdump", what, str(program)], check=True, capture_output=True, text=True
    ).stdout


def test_the_same_sources_make_the_same_file(delivered: Path, tmp_path: Path) -> None:
    said = make(f"OUT={tmp_path}", "app")
    digest = hashlib.sha256(delivered.read_bytes()).hexdigest()
    assert hashlib.sha256((tmp_path / "issuing-app.exe").read_bytes()).hexdigest() == digest
    assert said.split() == [digest, "issuing-app.exe"]
    assert delivered.with_suffix(".exe.sha256").read_text().split() == [digest, "issuing-app.exe"]


def test_the_64_bit_build_has_no_warnings_either(out: Path) -> None:
    make(f"OUT={out}", "warnings")
    # Machine type AMD64 (PE format, "Machine Types").
    assert b"PE\0\0\x64\x86" in (out / "x86_64" / "issuing-app.exe").read_bytes()[:1024]


def test_it_runs_on_every_windows_since_8_1_and_is_hardened(delivered: Path) -> None:
    head = dump("-p", delivered)
    assert "file format pei-i386" in head
    assert re.search(r"MajorSubsystemVersion\s+6\n", head)
    assert re.search(r"MinorSubsystemVersion\s+3\n", head)
    assert re.search(r"Subsystem\s+00000002", head)  # no console
    assert "DYNAMIC_BASE" in head
    assert "NX_COMPAT" in head


def test_no_library_can_be_planted_beside_it(delivered: Path) -> None:
    imported = {name.lower() for name in re.findall(r"DLL Name: (\S+)", dump("-p", delivered))}
    assert imported <= KNOWN


def test_it_asks_for_no_more_than_the_users_rights(delivered: Path) -> None:
    content = delivered.read_bytes()
    assert b'level="asInvoker" uiAccess="false"' in content
    assert b"Microsoft.Windows.Common-Controls" in content
    assert b"dpiAware" in content


def test_it_holds_nothing_of_the_machine_that_made_it(delivered: Path) -> None:
    content = delivered.read_bytes()
    assert str(APP_FOLDER.parent.parent).encode() not in content
    assert b"/tmp/" not in content


def test_both_languages_say_the_same_things() -> None:
    said = {}
    for language in ("japanese", "english"):
        text = (APP_FOLDER / "windows" / f"{language}.rc").read_text(encoding="utf-8")
        table = text[text.index("STRINGTABLE") :]
        texts = dict(re.findall(r'^    (TEXT_\w+(?: \+ \d+)?) "((?:[^"]|"")*)"$', table, re.MULTILINE))
        # What is typed into a text later is of the same kinds, and every control is where it is in the other language.
        kinds = {name: re.findall(r"%\w", value) for name, value in texts.items()}
        controls = re.sub(r'"(?:[^"]|"")*"|FONT .*|LANGUAGE .*|/\*.*\*/', "", text[: text.index("STRINGTABLE")])
        said[language] = (kinds, controls)
    assert said["japanese"] == said["english"]


#: Buttons of the frame that a page can have.
FRAME = {
    "DIALOG_WELCOME": ("TEXT_NEXT",),
    "DIALOG_ENROL": ("TEXT_BACK", "TEXT_INSTALL"),
    "DIALOG_RENEW": ("TEXT_BACK", "TEXT_INSTALL"),
    "DIALOG_PROGRESS": (),
    "DIALOG_DONE": ("TEXT_FINISH",),
    "DIALOG_ERROR": ("TEXT_BACK", "TEXT_RETRY"),
}
#: What the page's own heading names, and what is told by the label before it without a key that leads there.
HEADED, ONLY_READ = {"CONTROL_BODY"}, {"CONTROL_SUBJECT", "CONTROL_EXPIRY", "CONTROL_STORAGE"}


@pytest.mark.parametrize("language", ["japanese", "english"])
def test_whoever_sees_no_screen_hears_what_each_field_is_and_reaches_it_with_one_key(language: str) -> None:
    text = (APP_FOLDER / "windows" / f"{language}.rc").read_text(encoding="utf-8")
    pages = re.findall(r"^(DIALOG_\w+) DIALOGEX.*?^BEGIN\n(.*?)^END", text, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in pages] == list(FRAME)
    for name, page in pages:
        keys = re.findall(r"&(\w)", page)
        for button in FRAME[name]:
            keys += re.findall(rf'^    {button} "[^"]*&(\w)', text, re.MULTILINE)
        assert len(set(map(str.upper, keys))) == len(keys) >= len(FRAME[name]), (name, keys)
        lines = page.splitlines()
        for before, line in zip(["", *lines], lines, strict=False):
            field = re.match(r'    (?:EDITTEXT |CONTROL "", )(CONTROL_\w+), ', line)
            if field is None or "PROGRESS_CLASS" in line or field[1] in HEADED:
                continue
            # A screen reader takes the static text right before a field for its name; so do accelerators.
            label = re.match(r'    LTEXT "([^"]+)"', before)
            assert label is not None, line
            assert "&" in label[1] or field[1] in ONLY_READ, line


def test_the_domain_that_an_app_is_built_for_is_in_it(tmp_path: Path) -> None:
    options = tmp_path / "i686" / "windows" / "options.o"
    for domain in ("example.co.jp", "other.example"):
        make(f"OUT={tmp_path}", f"DOMAIN={domain}", str(options))
        assert f"{domain}\0".encode() in options.read_bytes()


@pytest.mark.needs("osslsigncode")
def test_it_is_signed_with_the_certificate_that_is_given(delivered: Path, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test code signing")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = tmp_path / "signer.crt", tmp_path / "signer.secret"
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    make(f"OUT={delivered.parent}", f"SIGN_CERTIFICATE={certificate_path}", f"SIGN_KEY={key_path}", "signed")
    signed = delivered.with_name("issuing-app-signed.exe")
    verify = ["osslsigncode", "verify", "-CAfile", str(certificate_path), "-in", str(signed)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert "Signature verification: ok" in done.stdout, done.stdout + done.stderr
    altered = tmp_path / "altered.exe"
    content = bytearray(signed.read_bytes())
    content[4096] ^= 1
    altered.write_bytes(content)
    done = subprocess.run([*verify[:-1], str(altered)], capture_output=True, text=True, check=False)
    assert done.returncode != 0


def test_without_a_certificate_to_sign_with_it_says_what_is_missing(delivered: Path) -> None:
    with pytest.raises(AssertionError, match="SIGN_CERTIFICATE"):
        make(f"OUT={delivered.parent}", "signed")
