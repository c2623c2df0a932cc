"""The first CRL of each of our own issuers, before trust asks for it (clause C.4).

Trust does not start without the lists that it is told of, ours included; the signer that signs them is started after
that. So at the very first start, when a list is not there, the signer is started for that moment alone, in a
process of its own as always, or asked where it runs by itself. Without a signer that signs there is no start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mtls_gateway.app.rows import open_rows
from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration, OwnCrls
from mtls_gateway.errors import ConfigurationError, SignerUnavailable
from mtls_gateway.issuance.own_crl import OwnCrl, Published, crl_file
from mtls_gateway.issuance.signer_client import SignerClient
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store

_LOG = logging.getLogger(__name__)
#: A signer that goes through a long journal takes its time. Seconds.
_PATIENCE = 120.0
_LOOK_EVERY = 0.1


def own_crl_files(configuration: Configuration) -> frozenset[Path]:
    """Where the CRLs of our own issuers are, or will be."""
    if configuration.signer is None:
        return frozenset()
    directory = configuration.published_directory
    return frozenset(crl_file(directory, issuer.name) for issuer in configuration.signer.issuers)


def make_signer(configuration: Configuration) -> SignerClient | None:
    """The way to the signer; None: certificates come from elsewhere."""
    settings = configuration.signer
    if settings is None:
        return None
    return SignerClient(configuration.signer_socket, timeout=settings.timeout, crl_timeout=settings.crl_timeout)


def make_own_crl(configuration: Configuration, store: Store, signer: SignerClient, clock: Clock) -> OwnCrl:
    """Whoever signs and publishes the lists."""
    settings = OwnCrls() if configuration.issuance is None else configuration.issuance.crl
    return OwnCrl(signer, store.crls, settings, configuration.published_directory, clock)


def make_first_crls(configuration: Configuration, path: Path, clock: Clock) -> None:
    """Sign and publish each list that is not there; ``path`` is the configuration's file.

    Raises:
        ConfigurationError: one is not there, and no signer answers; says what to do.
        GatewayError: the signer refuses, or the file cannot be written.
    """
    missing = sorted(file for file in own_crl_files(configuration) if not file.exists())
    if missing:
        asyncio.run(_make(configuration, path, clock, missing[0]))


async def _make(configuration: Configuration, path: Path, clock: Clock, missing: Path) -> None:
    await migrate(configuration.database_url, clock, busy_timeout=configuration.store.busy_timeout)
    async with _answering_signer(configuration, path, missing) as signer:
        await publish(configuration, signer, clock, only_missing=True)


async def publish(
    configuration: Configuration, signer: SignerClient, clock: Clock, *, only_missing: bool = False
) -> list[Published]:
    """A new list for every issuer, or for those that have none.

    Raises:
        GatewayError: the signer, the database or the disk; says which.
    """
    store = await open_rows(configuration, clock)
    try:
        return await make_own_crl(configuration, store, signer, clock).publish_all(only_missing=only_missing)
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _answering_signer(configuration: Configuration, path: Path, missing: Path) -> AsyncIterator[SignerClient]:
    signer = make_signer(configuration)
    settings = configuration.signer
    if signer is None or settings is None:
        raise ConfigurationError(str(path), "signer", "is not there; this gateway has no signer")
    try:
        try:
            await signer.describe()
        except SignerUnavailable as error:
            if not settings.role:
                cause = f"is not there, and nobody can sign it: start the signer first ({error})"
                raise ConfigurationError(str(missing), "issuance.crl", cause) from error
        else:
            yield signer
            return
        _LOG.info("%s is not there: a signer is started to sign it", missing)
        async with _signer_for_a_moment(configuration, path, signer):
            yield signer
    finally:
        await signer.close()


@contextlib.asynccontextmanager
async def _signer_for_a_moment(configuration: Configuration, path: Path, signer: SignerClient) -> AsyncIterator[None]:
    """The signer as ``mtls-gateway signer`` runs it, as the user that the workers become; ended afterwards."""
    operations = configuration.operations
    becomes: dict[str, Any] = {}
    if os.geteuid() == 0:
        becomes = {"user": operations.user, "group": operations.group}
        if operations.user is not None:
            becomes["extra_groups"] = []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "mtls_gateway", "--config", str(path), "signer"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        **becomes,
    )
    said = asyncio.ensure_future(process.stderr.read() if process.stderr is not None else asyncio.sleep(0, b""))
    try:
        await _until_it_answers(process, signer, said, path)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await said


async def _until_it_answers(
    process: asyncio.subprocess.Process, signer: SignerClient, said: asyncio.Future[bytes], path: Path
) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            while process.returncode is None:
                with contextlib.suppress(SignerUnavailable):
                    await signer.describe()
                    return
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError:
        raise ConfigurationError(str(path), "signer", f"did not answer within {_PATIENCE:g} seconds") from None
    lines = (await said).decode(errors="replace").strip().splitlines() or ["it ended without a word"]
    raise ConfigurationError(str(path), "signer", lines[-1].removeprefix("mtls-gateway: "))
