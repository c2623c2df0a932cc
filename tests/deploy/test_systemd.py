"""The units: systemd understands them, they are shut tightly, and the gateway lives in what they leave it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from mtls_gateway.clock import ManualClock, SystemClock
from mtls_gateway.demo.run import process, wait_until_it_answers
from mtls_gateway.issuance.signer_client import SignerClient
from tests.app.test_signer_alone import PEOPLE, Bank, _describe
from tests.deploy import sandbox
from tests.deploy.alerts import ROOT
from tests.issuance.signer.world import World
from tests.promises.whole_gateway import eventually, prepared

UNITS = ROOT / "deploy" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
#: What ``systemd-analyze security`` says at most: 0 is shut, 10 is open. docs/deployment.md has the same figures.
EXPOSURE = {"mtls-gateway.service": 1.6, "mtls-gateway-signer.service": 1.5, "mtls-gateway-backup.service": 1.4}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.needs("systemd-analyze")
def test_systemd_has_nothing_to_say_against_them(tmp_path: Path) -> None:
    units = [Path(shutil.copy(unit, tmp_path)) for unit in [*SERVICES, *UNITS.glob("*.timer"), *UNITS.glob("*.socket")]]
    for unit in units:
        # Verified are also the programs, which are installed nowhere here; documentation likewise.
        text = unit.read_text(encoding="utf-8").replace("/opt/mtls-gateway/current/bin/mtls-gateway", "/bin/true")
        unit.write_text(text, encoding="utf-8")
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, units))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_is_exposed_no_further_than_its_figure(service: Path) -> None:
    threshold = EXPOSURE[service.name]
    done = run(
        "systemd-analyze",
        "security",
        "--offline=true",
        "--no-pager",
        f"--threshold={round(threshold * 10)}",
        str(service),
    )
    assert done.returncode == 0, done.stdout[-500:]
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found and float(found[1]) == threshold, "say the new figure here and in docs/deployment.md"
    assert f"| `{service.name}` | {threshold} |" in (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


@pytest.mark.needs("systemd-analyze")
def test_users_and_directories_are_made_as_they_are_said(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for tool, file in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
        words = [tool, f"--root={tmp_path}", *(["--create"] if file == "tmpfiles" else [])]
        done = run(*words, str(UNITS / f"mtls-gateway.{file}.conf"))
        assert done.returncode == 0, done.stderr
    passwd = (tmp_path / "etc" / "passwd").read_text()
    assert {"mtls-gateway", "mtls-gateway-signer"} <= {line.partition(":")[0] for line in passwd.splitlines()}
    modes = {
        name: (tmp_path / name).stat().st_mode & 0o777
        for name in ("etc/mtls-gateway", "etc/mtls-gateway-signer", "var/backups/mtls-gateway")
    }
    assert modes == {"etc/mtls-gateway": 0o750, "etc/mtls-gateway-signer": 0o700, "var/backups/mtls-gateway": 0o700}


@pytest.mark.needs("systemd-analyze")
def test_the_filter_refuses_what_the_unit_does_not_allow() -> None:
    """Otherwise the test below would prove nothing."""
    program = (
        "import mmap, os, socket\n"
        "def refused(work):\n"
        "    try:\n"
        "        work()\n"
        "    except PermissionError:\n"
        "        return True\n"
        "    return False\n"
        "print(refused(lambda: os.chroot('/')),\n"
        "      refused(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),\n"
        "      refused(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),\n"
        "      refused(lambda: socket.socket(socket.AF_INET)))\n"
    )
    done = run(sys.executable, sandbox.__file__, str(UNITS / "mtls-gateway-signer.service"), "-c", program)
    assert done.stdout == "True True True False\n", done.stderr


@pytest.mark.needs("systemd-analyze")
def test_the_gateway_serves_reloads_upgrades_and_ends_within_what_its_unit_leaves_it(tmp_path: Path) -> None:
    material, ports = prepared(tmp_path / "demo", {})
    words = ["-m", "mtls_gateway", "--config", str(material.configuration), "serve"]
    log = material.log("gateway")
    with process(log, [sandbox.__file__, str(UNITS / "mtls-gateway.service"), *words]) as master:
        wait_until_it_answers("the gateway", master, ports.operations, "/readyz", log)
        os.kill(master.pid, signal.SIGHUP)
        text = log.read_text
        assert eventually(lambda: "reload done" in text(), 40.0), text()
        os.kill(master.pid, signal.SIGUSR2)
        assert eventually(lambda: "upgrade done" in text(), 60.0), text()
    assert "Traceback" not in text() and "not permitted" not in text(), text()


@pytest.mark.needs("systemd-analyze")
async def test_the_signer_signs_within_what_its_unit_leaves_it(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    assert bank.ceremony("ceremony", *PEOPLE).returncode == 0
    bank.configure("credential:issuing.secret")
    unit = UNITS / "mtls-gateway-signer.service"
    words = [sys.executable, sandbox.__file__, str(unit), "-m", "mtls_gateway", "--config", str(bank.file), "signer"]
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(bank.folder), "PYTHONPATH": str(ROOT)}
    with (tmp_path / "signer.log").open("wb") as log:
        signer = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stderr=log)  # noqa: ASYNC220
    client = SignerClient(bank.folder / "run" / "signer.sock")
    try:
        await _describe(client)
        world = World(bank.folder, clock=ManualClock(SystemClock().now()))
        assert x509.load_der_x509_certificate(await client.sign_certificate(world.order()))
        signer.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(signer.wait, 20) == 0
    finally:
        await client.close()
        signer.kill()
        signer.wait()
    assert "not permitted" not in bank.log and "Traceback" not in bank.log
