"""Who takes part: every contestant of the bench, why it cannot where it cannot, and how it is started."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.generator import Target
from benchmarks.material import Held, Material
from benchmarks.peers import apache, caddy, envoy, go_judge, haproxy, nginx

GATEWAY, NGINX, HAPROXY, APACHE, CADDY, ENVOY = "gateway", "nginx", "haproxy", "apache", "caddy", "envoy"
AUTH_REQUEST, AUTH_REQUEST_GO = "nginx auth_request", "nginx auth_request + Go"
LUA, ENVOY_LUA = "nginx + Lua", "envoy + Lua"
#: The gateway once more, run from its source.
AS_WRITTEN = "gateway not compiled"

#: Peers that only carry on, and those that do the whole job.
PROXYING = (NGINX, HAPROXY, APACHE, CADDY, ENVOY)
WHOLE_JOB = (AUTH_REQUEST, AUTH_REQUEST_GO, LUA, ENVOY_LUA)
#: No goal names them: they take part in the long run only, so that the short one stays short.
LONG_RUN_ONLY = frozenset({HAPROXY, APACHE, CADDY})

#: A session cookie of the gateway's own length, for the peers that have none of their own.
SESSION = "k7Qw2ZfA9cXrT0pLmB4vNs6JhYdGe1Ui" * 2


def named(peer: str) -> str:
    """A peer as part of a ratio's name."""
    return peer.replace(" + ", "_").replace(" ", "_").lower()


def _go_missing() -> str | None:
    return nginx.missing() or go_judge.missing()


_MISSING: dict[str, Callable[[], str | None]] = {
    NGINX: nginx.missing,
    AUTH_REQUEST: nginx.missing,
    AUTH_REQUEST_GO: _go_missing,
    LUA: nginx.lua_missing,
    HAPROXY: haproxy.missing,
    APACHE: apache.missing,
    CADDY: caddy.missing,
    ENVOY: envoy.missing,
    ENVOY_LUA: envoy.missing,
}


@dataclass
class Roster:
    """The peers of one run. ``missing`` says of each that does not take part why."""

    build: Path
    material: Material
    client: Held
    quick: bool
    missing: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, why_not in _MISSING.items():
            reason = why_not()
            if reason is None and self.quick and name in LONG_RUN_ONLY:
                reason = "left out of QUICK=1 for time; make bench has it"
            if reason is not None:
                self.missing[name] = reason

    def present(self, names: tuple[str, ...]) -> list[str]:
        """Those of ``names`` that take part."""
        return [name for name in names if name not in self.missing]

    def start(self, name: str, backend: int, crl: Path | None = None) -> contextlib.AbstractContextManager[Target]:
        """The peer while the context is open; ``crl`` for nginx and HAProxy only."""
        folder, material, client = self.build / named(name), self.material, self.client
        if name == NGINX:
            return nginx.proxy_only(name, folder, material, backend, crl)
        if name == HAPROXY:
            return haproxy.proxy_only(name, folder, material, backend, crl)
        if name == APACHE:
            return apache.proxy_only(name, folder, material, backend)
        if name == CADDY:
            return caddy.proxy_only(name, folder, material, backend)
        if name == ENVOY:
            return envoy.proxy_only(name, folder, material, backend)
        if name == ENVOY_LUA:
            return envoy.with_lua(name, folder, material, backend, client, SESSION)
        if name == LUA:
            return nginx.with_lua(name, folder, material, backend, client, SESSION)
        if name == AUTH_REQUEST_GO:
            service = [go_judge.program(self.build)]
            return nginx.with_auth_request(name, folder, material, backend, client, SESSION, service)
        return nginx.with_auth_request(name, folder, material, backend, client, SESSION)
