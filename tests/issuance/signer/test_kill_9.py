"""kill -9 between any two steps loses nothing, and never gives two certificates with one serial (clause D.2)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from mtls_gateway.errors import SignerUnavailable
from mtls_gateway.issuance.orders import CrlOrder, IntendedCertificate, RevokedEntry
from mtls_gateway.issuance.signer_client import SignerClient

from .world import World

#: The signer in a process of its own, by the same parts as the real one, with a key that kills its process at a chosen
#: signature, before or after it was made: through the seam that keys have.
_SIGNER = """
import asyncio, dataclasses, os, signal, sys
from pathlib import Path
from tests.issuance.signer.world import World
from mtls_gateway.issuance.signer import opening
from mtls_gateway.issuance.signer.secret import Secrets
from mtls_gateway.issuance.signer.server import SignerServer

class Dying:
    def __init__(self, key, when, left):
        self._key, self._when, self._left = key, when, left
    public_key = property(lambda self: self._key.public_key)
    def close(self):
        self._key.close()
    def sign(self, digest):
        self._left -= 1
        if self._left == 0 and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        signature = self._key.sign(digest)
        if self._left == 0 and self._when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return signature

async def main(folder, when, left):
    world = World(Path(folder))
    world.issuers = eval(Path(folder, "issuers").read_text())
    world.settings["certificates_per_minute"] = 1_000_000
    world.settings["crls_per_minute"] = 1_000_000
    configuration = world.configuration()
    desk = world.desk()
    for name, issuer in desk._issuers.items():
        dying = dataclasses.replace(issuer, key=Dying(issuer.key, when, left))
        desk._issuers[name] = dying
        desk._active = dying
    server = SignerServer(desk, opening.server_settings(configuration, world.file))
    async with server.serving(opening.listen(configuration, world.file)):
        print("serving", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def _signer(world: World, when: str = "never", left: int = 0) -> Iterator[subprocess.Popen[str]]:
    (world.folder / "issuers").write_text(repr(world.issuers))
    process = subprocess.Popen(
        [sys.executable, "-c", _SIGNER, str(world.folder), when, str(left)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "serving\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _client(world: World) -> SignerClient:
    return SignerClient(world.configuration().signer_socket, patience=0.1)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_order_that_was_cut_off_is_carried_out_when_it_is_given_again(world: World, when: str) -> None:
    world.begin()
    order = world.order()
    client = _client(world)
    with _signer(world, when, 1) as process:
        with pytest.raises(SignerUnavailable):
            await client.sign_certificate(order)
        assert await asyncio.to_thread(process.wait) == -signal.SIGKILL
    assert _kinds(world) == ["intended"]
    with _signer(world):
        made = await client.sign_certificate(order)
        assert x509.load_der_x509_certificate(made).serial_number == order.serial
        assert await client.sign_certificate(order) == made
    assert _kinds(world) == ["intended", "signed"]
    await client.close()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crl_that_was_cut_off_is_made_when_it_is_ordered_again(world: World, when: str) -> None:
    world.begin()
    now = world.clock.now()
    order = CrlOrder("issuing-1", 1, now, now + 60, [RevokedEntry(5, now)])
    client = _client(world)
    with _signer(world, when, 1) as process:
        with pytest.raises(SignerUnavailable):
            await client.sign_crl(order)
        assert await asyncio.to_thread(process.wait) == -signal.SIGKILL
    with _signer(world):
        # Its number counts as given, so that the next is another.
        assert (await client.describe())[0].crl_number == 1
        made = await client.sign_crl(order)
        assert await client.sign_crl(order) == made
    await client.close()


async def test_a_signer_that_is_killed_again_and_again_gives_each_serial_one_certificate(world: World) -> None:
    world.begin()
    chance = random.Random(20270115)
    orders = [world.order(f"user{number}") for number in range(120)]
    seen: dict[int, set[bytes]] = {order.serial: set() for order in orders}
    client = _client(world)

    async def ask(order: IntendedCertificate) -> None:
        with contextlib.suppress(SignerUnavailable):
            seen[order.serial].add(await client.sign_certificate(order))

    killed = 0
    for _ in range(8):
        left = [order for order in orders if not seen[order.serial]]
        again = chance.sample(orders, 20)
        with _signer(world) as process:
            asking = [asyncio.ensure_future(ask(order)) for order in chance.sample(left, len(left)) + again]
            await asyncio.wait(asking, timeout=chance.uniform(0.002, 0.06))
            process.send_signal(signal.SIGKILL)
            killed += any(not one.done() for one in asking)
            await asyncio.gather(*asking)
    assert killed > 2
    with _signer(world):
        await asyncio.gather(*(ask(order) for order in orders))
    assert {len(certificates) for certificates in seen.values()} == {1}
    kinds = _kinds(world)
    assert (kinds.count("intended"), kinds.count("signed")) == (120, 120)
    await client.close()


def _kinds(world: World) -> list[str]:
    connection = sqlite3.connect(world.configuration().signer_directory / "journal.sqlite3")
    try:
        return [kind for (kind,) in connection.execute("SELECT kind FROM records ORDER BY sequence")]
    finally:
        connection.close()
