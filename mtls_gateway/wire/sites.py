"""Which host a connection to one endpoint is for, and which balancers stand in front of it."""

from __future__ import annotations

from mtls_gateway.config import Endpoint, Host
from mtls_gateway.model import Site


class Sites:
    """Which site a connection to one endpoint is for, by the server name that it asked for."""

    __slots__ = ("_by_name", "_default", "balancers")

    def __init__(self, endpoint: Endpoint, public: Host, certificate: Host) -> None:
        self._by_name: dict[str, Site] = {}
        #: Networks whose PROXY header is required here; empty: clients connect themselves. Hosts that share an endpoint
        #: have the same, which :mod:`mtls_gateway.config` sees to.
        self.balancers: tuple[str, ...] = ()
        if endpoint in certificate.listen:
            self._by_name[certificate.name] = Site.CERTIFICATE
            self.balancers = certificate.proxy_protocol
        if endpoint in public.listen:
            self._by_name[public.name] = Site.PUBLIC
            self.balancers = public.proxy_protocol
        #: Without a server name: the only site, or the public one, where no certificate counts.
        self._default = Site.PUBLIC if endpoint in public.listen else Site.CERTIFICATE

    def of(self, server_name: str | None) -> Site | None:
        """The site; None: a name that is not served here."""
        return self._default if server_name is None else self._by_name.get(server_name)
