"""Apache httpd of the Debian package (event MPM, mod_ssl, mod_proxy), only proxying."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.generator import Target
from benchmarks.machine import PROXY_CORE, await_children, await_listener, free_port, pinned, process
from benchmarks.material import CERTIFICATE_NAME, Material

#: One serving process with the threads that 256 connections at a time need; backend connections kept, no access log.
_CONFIGURATION = """
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
ErrorLog {directory}/error.log
LogLevel warn
{modules}
{user}
ServerName {name}
ServerLimit 1
StartServers 1
ThreadLimit 320
ThreadsPerChild 320
MaxRequestWorkers 320
AsyncRequestWorkerFactor 20
MaxConnectionsPerChild 0
MinSpareThreads 1
MaxSpareThreads 320
ListenBackLog 4096
Timeout 600
KeepAlive On
KeepAliveTimeout 600
MaxKeepAliveRequests 0
Listen 127.0.0.1:{port}
SSLSessionCache shmcb:{directory}/tls(20000000)
<VirtualHost 127.0.0.1:{port}>
    ServerName {name}
    SSLEngine on
    SSLProtocol -all +TLSv1.2 +TLSv1.3
    SSLCertificateFile {material.server_chain}
    SSLCertificateKeyFile {material.server.key_file}
    SSLCACertificateFile {material.bundle}
    SSLVerifyClient require
    SSLVerifyDepth 2
    ProxyPreserveHost On
    ProxyPass / http://127.0.0.1:{backend}/ enablereuse=on keepalive=on
</VirtualHost>
"""
_FOLDER = Path("/usr/lib/apache2/modules")
_MODULES = {
    "mpm_event_module": "mod_mpm_event.so",
    "authz_core_module": "mod_authz_core.so",
    "socache_shmcb_module": "mod_socache_shmcb.so",
    "ssl_module": "mod_ssl.so",
    "proxy_module": "mod_proxy.so",
    "proxy_http_module": "mod_proxy_http.so",
}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


def missing() -> str | None:
    """Why this peer cannot run here; None: it can."""
    if shutil.which("apache2", path=_PATH) and all((_FOLDER / file).exists() for file in _MODULES.values()):
        return None
    return "not installed: apt-get install apache2"


@contextlib.contextmanager
def proxy_only(name: str, directory: Path, material: Material, backend: int) -> Iterator[Target]:
    """Client certificates are required and checked against the bundle; no users, no sessions."""
    directory.mkdir(parents=True, exist_ok=True)
    port, log, file = free_port(), directory / "output.log", directory / "apache.conf"
    file.write_text(
        _CONFIGURATION.format(
            directory=directory,
            modules="\n".join(f"LoadModule {module} {_FOLDER / path}" for module, path in _MODULES.items()),
            # It refuses to serve as root; keys and logs are opened before it becomes somebody else.
            user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
            name=CERTIFICATE_NAME,
            port=port,
            material=material,
            backend=backend,
        )
    )
    program = shutil.which("apache2", path=_PATH) or "apache2"
    with process(pinned(PROXY_CORE, program, "-f", file, "-DFOREGROUND"), log) as child:
        await_listener(port, child, log)
        yield Target(name, port, CERTIFICATE_NAME, tuple(await_children(child.pid, 1)))
