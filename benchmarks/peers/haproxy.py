"""HAProxy of the Debian package, only proxying."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.generator import Target
from benchmarks.machine import PROXY_CORE, await_listener, descendants, free_port, pinned, process
from benchmarks.material import CERTIFICATE_NAME, Material

_CONFIGURATION = """
global
    nbthread 1
    maxconn 9000
    tune.ssl.cachesize 20000
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    http-reuse always
    option http-keep-alive
frontend certificate
    bind 127.0.0.1:{port} ssl crt {server} ca-file {material.bundle} verify required {revocation} ssl-min-ver TLSv1.2
    default_backend bank
backend bank
    server bank 127.0.0.1:{backend} pool-max-conn 512
"""


def missing() -> str | None:
    """Why this peer cannot run here; None: it can."""
    return None if shutil.which("haproxy", path=_PATH) else "not installed: apt-get install haproxy"


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@contextlib.contextmanager
def proxy_only(
    name: str, directory: Path, material: Material, backend: int, crl: Path | None = None
) -> Iterator[Target]:
    """Client certificates are required and checked against the bundle and ``crl``; no users, no sessions."""
    directory.mkdir(parents=True, exist_ok=True)
    server, file = directory / "server-with-key.pem", directory / "haproxy.cfg"
    server.touch(mode=0o600)
    server.write_bytes(material.server_chain.read_bytes() + material.server.key_file.read_bytes())
    port, log = free_port(), directory / "output.log"
    revocation = f"crl-file {crl}" if crl else ""
    file.write_text(
        _CONFIGURATION.format(port=port, server=server, material=material, backend=backend, revocation=revocation)
    )
    program = shutil.which("haproxy", path=_PATH) or "haproxy"
    with process(pinned(PROXY_CORE, program, "-db", "-f", file), log) as child:
        await_listener(port, child, log)
        yield Target(name, port, CERTIFICATE_NAME, tuple(descendants(child.pid)))
