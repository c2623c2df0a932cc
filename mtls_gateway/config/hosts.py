"""The two hosts and their TLS (clause A.1)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mtls_gateway.config.values import Endpoint, File, HostName, Network, Section


class Host(Section):
    """One of the two hosts (clause A.1). Both may listen on the same endpoints: SNI tells them apart."""

    name: HostName
    listen: tuple[Endpoint, ...] = Field(min_length=1)
    #: The port that browsers use, when a balancer translates it; else the first endpoint's.
    port: int | None = Field(default=None, ge=1, le=65535)
    certificate: File
    key: File
    #: Networks of the balancers in front. Where there are any, every connection to ``listen`` must come from one of
    #: them and begin with a PROXY header, version 2, which says whose it is; any other is refused.
    proxy_protocol: tuple[Network, ...] = ()

    @property
    def browser_port(self) -> int:
        """The port in the URL that a browser uses."""
        return self.port if self.port is not None else int(self.listen[0].rpartition(":")[2])

    @property
    def authority(self) -> str:
        """``name`` or ``name:port``, as a browser sends it in ``Host``."""
        return self.name if self.browser_port == 443 else f"{self.name}:{self.browser_port}"

    @property
    def origin(self) -> str:
        """``https://name[:port]``, as a browser sends it in ``Origin``."""
        return f"https://{self.authority}"


class Tls(Section):
    """TLS of both hosts."""

    minimum: Literal["1.2", "1.3"] = "1.2"
    #: OpenSSL's cipher list for TLS 1.2; the default still serves IE 11 on Windows 8.1.
    ciphers: str = (
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
        "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305"
    )
    session_seconds: Annotated[int, Field(ge=0, le=604_800)] = 7_200
