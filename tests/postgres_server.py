"""A PostgreSQL server of the tests' own: a cluster in a folder, on a free port of loopback, ended with the tests."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mtls_gateway.demo.free_ports import free_ports

_USER = "gateway"
_PASSWORD = "test-only"


def programs() -> Path:
    """Where the newest version's programs are; Debian does not put them on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    if there is None:
        raise RuntimeError("there is no initdb; apt-get install postgresql")
    return Path(there).parent


class PostgresServer:
    """A running cluster; whoever asks gets a database of its own."""

    def __init__(self, directory: Path, port: int, address: str, before: Sequence[str]) -> None:
        self.directory = directory
        self.port = port
        self.address = address
        #: Words that every program of it is started with, e.g. ``ip netns exec NAME``.
        self._before = list(before)
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"postgresql://{_USER}:{_PASSWORD}@{self.address}:{self.port}/{database}"

    def new_database(self, template: str = "template0") -> str:
        """The name of a new database, a copy of ``template``."""
        name = f"test{next(self._numbers)}"
        self.sql(f'CREATE DATABASE {name} TEMPLATE "{template}"')
        return name

    def replace(self, name: str, template: str) -> None:
        """Put a copy of ``template`` in the place of a database."""
        self.sql(f"DROP DATABASE {name}")
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")

    def sql(self, statement: str, database: str = "postgres") -> str:
        done = subprocess.run(
            [
                *self._before,
                str(programs() / "psql"),
                "--no-psqlrc",
                "-qtA",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                statement,
                self.url(database),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self) -> None:
        """Start it and return when it answers."""
        settings = {
            "listen_addresses": self.address,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            # Nothing here outlives the machine; what a crash of the server alone would lose, it does not lose.
            "fsync": "off",
            "max_connections": "200",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._before,
                    *_as_somebody(),
                    str(programs() / "postgres"),
                    "-D",
                    str(self.directory / "cluster"),
                    *options,
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        ready = [str(programs() / "pg_isready"), "-q", "-t", "30", "-h", self.address, "-p", str(self.port)]
        for _ in range(300):
            if subprocess.run([*self._before, *ready], check=False).returncode == 0:
                return
            if self._process.poll() is not None:
                break
        raise RuntimeError((self.directory / "log").read_text(errors="replace")[-2_000:])

    def stop(self, *, kind: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: break all connections and shut down in order. SIGQUIT: at once, as in a crash."""
        if self._process is not None:
            os.kill(self._process.pid, kind)
            self._process.wait(30)
            self._process = None


@contextmanager
def postgres_server(address: str = "127.0.0.1", before: Sequence[str] = ()) -> Iterator[PostgresServer]:
    """A new cluster; everything of it is gone when the block ends."""
    directory = Path(tempfile.mkdtemp(prefix="mtls-gateway-postgres-", dir="/tmp"))
    try:
        password = directory / "password"
        password.write_text(_PASSWORD)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in (directory, password):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        subprocess.run(
            [
                *_as_somebody(),
                str(programs() / "initdb"),
                *("-D", str(directory / "cluster"), "-U", _USER, "-A", "scram-sha-256", f"--pwfile={password}"),
                *("-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=120,
        )
        [port] = free_ports(1)
        with (directory / "cluster" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet scram-sha-256\n")
        server = PostgresServer(directory, port, address, before)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _as_somebody() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
