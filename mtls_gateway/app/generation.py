"""What one generation of processes is made of: validated as a whole before any of them starts.

The TLS contexts are built in the master, before the fork, so that all workers of a generation share their ticket
keys and a session resumes on any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from mtls_gateway.app.rows import open_rows
from mtls_gateway.clock import Clock, SystemClock
from mtls_gateway.config import Configuration, Host, read_configuration
from mtls_gateway.mail.server import MailServer
from mtls_gateway.model import Site
from mtls_gateway.signin.instance_secret import load_instance_secret
from mtls_gateway.store.migration import migrate
from mtls_gateway.trust.bundle import Bundle, load_bundle
from mtls_gateway.trust.feed import Feed
from mtls_gateway.web.static_pages import render_error_pages
from mtls_gateway.wire.tls import Contexts, build_contexts


@dataclass(frozen=True, slots=True)
class Generation:
    """Made by :meth:`load` only; frozen for the life of its processes."""

    path: Path
    configuration: Configuration
    bundle: Bundle
    contexts: Contexts
    secret: bytes
    #: Built-in answers by status.
    pages: Mapping[int, bytes]
    clock: Clock
    #: When the certificate of each host ends, POSIX seconds.
    hosts_end: Mapping[Site, float]

    @classmethod
    def load(cls, path: Path, *, migrating: bool = True) -> Generation:
        """Validate everything that ``path`` names, and compile the CRLs.

        Args:
            path: the configuration.
            migrating: bring the database to this version's tables; otherwise it must have them.

        Raises:
            GatewayError: something cannot be used; says what, where and what to do.
        """
        configuration = read_configuration(path)
        clock = SystemClock()
        bundle = load_bundle(configuration.trust)
        contexts = build_contexts(configuration, bundle.named_to_browsers)
        pages = render_error_pages(configuration)
        if configuration.mail is not None:
            MailServer(configuration.mail)
        secret = load_instance_secret(configuration.instance_secret)
        asyncio.run(_prepare(configuration, bundle, path, clock, migrating=migrating))
        hosts = {Site.PUBLIC: configuration.public, Site.CERTIFICATE: configuration.certificate}
        hosts_end = {site: _end_of(host) for site, host in hosts.items()}
        return cls(path, configuration, bundle, contexts, secret, pages, clock, hosts_end)


def _end_of(host: Host) -> float:
    """The end of the certificate that browsers are shown: the first in the file, which the contexts have read."""
    return x509.load_pem_x509_certificate(host.certificate.read_bytes()).not_valid_after_utc.timestamp()


async def _prepare(configuration: Configuration, bundle: Bundle, path: Path, clock: Clock, *, migrating: bool) -> None:
    if migrating:
        await migrate(configuration.database_url, clock, busy_timeout=configuration.store.busy_timeout)
    else:
        await (await open_rows(configuration, clock)).close()
    await make_feed(configuration, bundle, path, clock).prepare()


def make_feed(configuration: Configuration, bundle: Bundle, path: Path, clock: Clock) -> Feed:
    """The CRL feed; sources are relative to the folder of the configuration."""
    return Feed(bundle, configuration.revocation_directory, path.parent, clock)
