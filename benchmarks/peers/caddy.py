"""Caddy of the Debian package (Go's own TLS), only proxying."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.generator import Target
from benchmarks.machine import PROXY_CORE, await_listener, descendants, free_port, pinned, process
from benchmarks.material import CERTIFICATE_NAME, Material

#: ``trusted_ca_cert_file`` reads the first certificate of a file only: root and issuing CA are named apart.
_CONFIGURATION = """
{{
    admin off
    auto_https off
    log {{
        level ERROR
    }}
    servers {{
        protocols h1
        timeouts {{
            idle 600s
        }}
    }}
}}
https://{name}:{port} {{
    bind 127.0.0.1
    tls {material.server_chain} {material.server.key_file} {{
        protocols tls1.2 tls1.3
        client_auth {{
            mode require_and_verify
            trusted_ca_cert_file {material.root.certificate_file}
            trusted_ca_cert_file {material.issuing.certificate_file}
        }}
    }}
    reverse_proxy 127.0.0.1:{backend} {{
        transport http {{
            keepalive_idle_conns 512
            keepalive_idle_conns_per_host 512
        }}
    }}
}}
"""


def missing() -> str | None:
    """Why this peer cannot run here; None: it can."""
    return None if shutil.which("caddy") else "not installed: apt-get install caddy"


@contextlib.contextmanager
def proxy_only(name: str, directory: Path, material: Material, backend: int) -> Iterator[Target]:
    """Client certificates are required and checked against root and issuing CA; no users, no sessions."""
    directory.mkdir(parents=True, exist_ok=True)
    port, log, file = free_port(), directory / "output.log", directory / "Caddyfile"
    file.write_text(_CONFIGURATION.format(name=CERTIFICATE_NAME, port=port, material=material, backend=backend))
    environment = {"GOMAXPROCS": "1", "HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    command = pinned(PROXY_CORE, "caddy", "run", "--config", file, "--adapter", "caddyfile")
    with process(command, log, environment) as child:
        await_listener(port, child, log)
        yield Target(name, port, CERTIFICATE_NAME, tuple(descendants(child.pid)))
