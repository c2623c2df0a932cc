"""The store of a configuration, opened the one way that every process and command opens it."""

from __future__ import annotations

from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration
from mtls_gateway.signin.instance_secret import derive, load_instance_secret
from mtls_gateway.store.opening import Store, open_store


def audit_key(configuration: Configuration) -> bytes:
    """The key that chains the audit log: not in the database, the same for every process and node.

    Raises:
        ConfigurationError: the instance secret cannot be read.
    """
    return derive(load_instance_secret(configuration.instance_secret), "audit log chain")


async def open_rows(configuration: Configuration, clock: Clock) -> Store:
    """Open the store.

    Raises:
        ConfigurationError: its address, or the instance secret, cannot be used.
        StateError: its tables are not those of this version; says what to do.
        StoreUnavailable: it does not answer, or is not there.
    """
    return await open_store(
        configuration.database_url,
        clock,
        busy_timeout=configuration.store.busy_timeout,
        audit_key=audit_key(configuration),
    )
