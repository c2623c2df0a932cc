"""nginx of the Debian package: only proxying, or doing the whole job with ``auth_request`` or with Lua."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.generator import Target
from benchmarks.machine import PROXY_CORE, await_children, await_listener, free_port, pinned, process
from benchmarks.material import CERTIFICATE_NAME, Held, Material

#: Buffering to a file would measure the disk; request bodies are streamed as the gateway streams them.
_CONFIGURATION = """
{modules}
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 15000; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 10000000;
    keepalive_timeout 600;
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_max_temp_file_size 0;
    proxy_request_buffering off;
    upstream bank {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 10000000; }}
    {upstreams}
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        server_name {name};
        ssl_certificate {material.server_chain};
        ssl_certificate_key {material.server.key_file};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:20m;
        ssl_verify_client on;
        ssl_verify_depth 2;
        ssl_client_certificate {material.bundle};
        {revocation}
        {locations}
    }}
}}
"""
_PROXY = "location / { proxy_pass http://bank; }"
_JUDGES = "upstream judges {{ server unix:{socket}; keepalive 512; keepalive_requests 10000000; }}"
_JUDGED = """
        location / {
            auth_request /judge;
            auth_request_set $user $upstream_http_x_user_id;
            proxy_set_header X-User-ID $user;
            proxy_pass http://bank;
        }
        location = /judge {
            internal;
            proxy_pass http://judges;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Certificate-Issuer $ssl_client_i_dn;
            proxy_set_header X-Certificate-Serial $ssl_client_serial;
        }
"""
#: The same checks as those of ``judge_service``, in the worker itself.
_LUA_ROWS = """
    init_by_lua_block {{
        local hour = 3600
        users = {{ [{certificate}] = {{ name = "{user}", ends = ngx.time() + 24 * hour }} }}
        revoked = {{}}
        sessions = {{
            ["{session}"] = {{ certificate = {certificate}, ends = ngx.time() + 8 * hour, last_used = ngx.time() }}
        }}
    }}
"""
_LUA_JUDGED = """
        location / {
            access_by_lua_block {
                local now = ngx.now()
                local certificate = ngx.var.ssl_client_i_dn .. " " .. ngx.var.ssl_client_serial
                local registered = users[certificate]
                if not registered or revoked[certificate] or now >= registered.ends then
                    return ngx.exit(403)
                end
                local session = sessions[ngx.var["cookie___Host-ib-session"] or ""]
                if not session or session.certificate ~= certificate or now >= session.ends
                    or now - session.last_used > 900 then
                    return ngx.exit(401)
                end
                session.last_used = now
                ngx.req.set_header("X-User-ID", registered.name)
            }
            proxy_pass http://bank;
        }
"""
_MODULES = Path("/usr/lib/nginx/modules")
_LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")


def missing() -> str | None:
    """Why this peer cannot run here; None: it can."""
    return None if shutil.which("nginx", path=_PATH) else "not installed: apt-get install nginx"


def lua_missing() -> str | None:
    """The same of nginx with Lua."""
    if missing() is None and all((_MODULES / name).exists() for name in _LUA_MODULES):
        return None
    return "not installed: apt-get install libnginx-mod-http-lua"


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@contextlib.contextmanager
def proxy_only(
    name: str, directory: Path, material: Material, backend: int, crl: Path | None = None
) -> Iterator[Target]:
    """Client certificates are required and checked against the bundle and ``crl``; no users, no sessions."""
    revocation = f"ssl_crl {crl};" if crl else ""
    with _running(name, directory, material, backend, "", revocation, _PROXY, ()) as target:
        yield target


@contextlib.contextmanager
def with_auth_request(
    name: str,
    directory: Path,
    material: Material,
    backend: int,
    client: Held,
    session: str,
    service: Sequence[str | Path] = (sys.executable, "-m", "benchmarks.peers.judge_service"),
) -> Iterator[Target]:
    """Each request is judged by ``service`` on the same core: certificate, user, session."""
    directory.mkdir(parents=True, exist_ok=True)
    socket, rows, log = directory / "judge.sock", directory / "rows.json", directory / "judge.log"
    issuer, serial = _printed(client)
    rows.write_text(json.dumps({"issuer": issuer, "serial": serial, "user": "user0001", "session": session}))
    # One core: more threads than that would only take turns on it.
    with process(pinned(PROXY_CORE, *service, socket, rows), log, {"GOMAXPROCS": "1"}) as judge:
        upstreams = _JUDGES.format(socket=socket)
        with _running(name, directory, material, backend, upstreams, "", _JUDGED, (judge.pid,)) as target:
            yield target


@contextlib.contextmanager
def with_lua(
    name: str, directory: Path, material: Material, backend: int, client: Held, session: str
) -> Iterator[Target]:
    """Each request is judged by Lua in nginx's own worker: certificate, user, session."""
    certificate = json.dumps(" ".join(_printed(client)))
    rows = _LUA_ROWS.format(certificate=certificate, user="user0001", session=session)
    modules = "\n".join(f"load_module {_MODULES / module};" for module in _LUA_MODULES)
    with _running(name, directory, material, backend, rows, "", _LUA_JUDGED, (), modules) as target:
        yield target


def _printed(client: Held) -> tuple[str, str]:
    """Issuer and serial as nginx prints them: as RFC 2253 does, and in upper-case hexadecimal of whole octets."""
    serial = format(client.certificate.serial_number, "X")
    return client.certificate.issuer.rfc4514_string(), serial if len(serial) % 2 == 0 else "0" + serial


@contextlib.contextmanager
def _running(
    name: str,
    directory: Path,
    material: Material,
    backend: int,
    upstreams: str,
    revocation: str,
    locations: str,
    beside: tuple[int, ...],
    modules: str = "",
) -> Iterator[Target]:
    directory.mkdir(parents=True, exist_ok=True)
    port, log, file = free_port(), directory / "output.log", directory / "nginx.conf"
    file.write_text(
        _CONFIGURATION.format(
            user="user root;" if os.geteuid() == 0 else "",
            directory=directory,
            port=port,
            name=CERTIFICATE_NAME,
            material=material,
            backend=backend,
            upstreams=upstreams,
            revocation=revocation,
            locations=locations,
            modules=modules,
        )
    )
    program = shutil.which("nginx", path=_PATH) or "nginx"
    with process(pinned(PROXY_CORE, program, "-c", file, "-e", directory / "error.log"), log) as child:
        await_listener(port, child, log)
        # The master listens before it forks; a large CRL takes it a while.
        pids = await_children(child.pid, 1)
        yield Target(name, port, CERTIFICATE_NAME, (*pids, *beside))
