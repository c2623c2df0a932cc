"""What ``/readyz`` asks: should new visitors be sent here?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration
from mtls_gateway.errors import StateError, StoreUnavailable
from mtls_gateway.store.opening import Store
from mtls_gateway.trust.bundle import Bundle
from mtls_gateway.trust.revocation import load_revocation
from mtls_gateway.web.health import Check


def ready_checks(configuration: Configuration, bundle: Bundle, store: Store, clock: Clock) -> Mapping[str, Check]:
    """The checks by name."""

    async def database() -> None:
        await store.worker.latest_change()

    async def revocation() -> None:
        """Every list that must not be stale is not."""
        in_force = load_revocation(configuration.revocation_directory, check_records=False)
        now = clock.now()
        for authority in bundle:
            settings = authority.settings
            if settings.revocation == "none" or settings.stale == "accept":
                continue
            grace = settings.grace if settings.stale == "grace" else 0.0
            indexes = in_force.of(authority.name)
            if not indexes or any(now >= index.header.next_update + grace for index in indexes):
                raise StateError(f"the CRL of {authority.name} is stale: its certificates are refused")

    async def state() -> None:
        """The state directory can be written."""
        _require_writable(configuration.state, configuration.operations.disk_reserve)

    return {"database": database, "revocation": revocation, "state": state}


def backend_check(usable: Callable[[], Mapping[str, float]]) -> Check:
    """Whether any worker sends requests to any legacy backend.

    ``usable`` says how many workers do, by the backend's address; it may block.
    """

    async def backends() -> None:
        found = await asyncio.to_thread(usable)
        legacy = {backend: workers for backend, workers in found.items() if backend != "portal"}
        if not any(legacy.values()):
            raise StateError(f"no backend can be used: {', '.join(sorted(legacy)) or 'no worker has looked yet'}")

    return backends


def free_octets(directory: Path) -> tuple[int, int]:
    """What can still be written to the file system of ``directory``, and its size."""
    system = os.statvfs(directory)
    return system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize


def _require_writable(state: Path, reserve: int) -> None:
    probe = state / "run" / "ready"
    try:
        # On a full disk this goes on to work: a file that is there needs no block for another time.
        probe.touch()
        free, _ = free_octets(state)
    except OSError as error:
        raise StoreUnavailable(f"{state} cannot be written: {error.strerror}") from error
    if free < reserve:
        raise StoreUnavailable(f"{state}: the disk is full but for {free:,} octets, less than operations.disk_reserve")
