from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import ISSUER, Command

ROOT = Path(__file__).parents[2]


def test_a_certificate_is_issued_registered_and_revoked(acme: Command, home: Path) -> None:
    ca = ("--directory", home / "ca")
    issued = acme(
        "ca", "issue", *ca, "--user-id", "taro", "--cn", "山田太郎", "--out", home / "u", "--register", "--json"
    )
    assert issued.status == 0
    told = issued.json
    assert (told["issuer"], told["registered"]) == (ISSUER, True)
    assert len(told["pkcs12_password"]) >= 16
    assert Path(told["pkcs12"]).exists()
    assert acme("certificate", "list", "--json").json[0]["serial"] == told["serial"]
    revoked = acme("ca", "revoke", *ca, told["serial"], "--reason", "keyCompromise", "--json")
    assert revoked.json == {"serial": told["serial"], "crl_number": 2}
    assert acme("ca", "revoke", *ca, told["serial"]).err.endswith("was revoked before\n")
    assert acme("ca", "revoke", *ca, "nonsense").status == 2
    assert acme("ca", "crl", *ca).out == "CRL 3 written\n"


def test_a_password_that_was_given_is_not_printed(command: Command, home: Path) -> None:
    words = ("ca", "issue", "--directory", home / "ca", "--user-id", "x", "--out", home, "--password", "hunter2hunter2")
    assert "hunter2" not in command(*words).out


def test_a_ca_is_made_once(command: Command, home: Path) -> None:
    made = command("ca", "init", "--directory", home / "other", "--organisation", "別の信用組合")
    assert made.out.endswith("CN=別の信用組合 Issuing CA,O=別の信用組合,C=JP\n")
    assert command("ca", "init", "--directory", home / "other").status == 1
    nowhere = command("ca", "crl", "--directory", home / "nowhere")
    assert "make one with: mtls-gateway ca init --directory" in nowhere.err


def test_the_script_makes_all_that_the_example_names(tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    (tmp_path / "conf").mkdir()
    (certs / "generate.sh").write_bytes((ROOT / "certs" / "generate.sh").read_bytes())
    (tmp_path / "conf" / "gateway.toml").write_bytes((ROOT / "conf" / "gateway.toml").read_bytes())
    gateway = f"{sys.executable} -m mtls_gateway"
    environment = {**os.environ, "MTLS_GATEWAY": gateway, "PYTHONPATH": str(ROOT)}
    for _ in range(2):  # and again over what is there
        subprocess.run(["sh", certs / "generate.sh"], env=environment, check=True, capture_output=True, timeout=60)
    checked = subprocess.run(
        [*gateway.split(), "--config", tmp_path / "conf" / "gateway.toml", "check-config"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
