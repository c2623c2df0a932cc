"""A browser on another computer: its connections come from an address of its own, 127.0.0.0/8 has many."""

from __future__ import annotations

import socket

from mtls_gateway.demo.client import TIMEOUT, Browser, Connection


class DistantConnection(Connection):
    """From an address of its own."""

    source = ""

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), TIMEOUT, source_address=(self.source, 0))
        try:
            self.sock = self._context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


class DistantBrowser(Browser):
    source = ""

    def connect(self, host: str, port: int | None = None) -> Connection:
        connection = DistantConnection(host, port or self.port, self.context)
        connection.source = self.source
        return connection
