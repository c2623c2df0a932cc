"""A CRL leaves out nothing that the one before it listed, until it has ended."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from cryptography import x509

from mtls_gateway.errors import SignerRefused, SignerUnavailable
from mtls_gateway.issuance.orders import CrlOrder, RevokedEntry
from mtls_gateway.issuance.signer.crl import CrlHead
from mtls_gateway.issuance.signer.listed import Comparison, listed_file
from mtls_gateway.model import print_serial

from .world import World

DAY = 86_400


def crl(world: World, number: int, *serials: int, **changed: Any) -> CrlOrder:
    now = int(world.clock.now())
    entries = [RevokedEntry(serial, now - 60, "keyCompromise") for serial in serials]
    values = {"issuer": "issuing-1", "number": number, "this_update": now, "next_update": now + DAY, "entries": entries}
    return CrlOrder(**{**values, **changed})


def listed(der: bytes) -> list[int]:
    return [entry.serial_number for entry in x509.load_der_x509_crl(der)]


async def test_a_revoked_certificate_cannot_be_left_out_before_it_has_ended(world: World) -> None:
    world.begin()
    async with world.serving() as client:
        order = world.order()
        await client.sign_certificate(order)
        await client.sign_crl(crl(world, 1, 5, order.serial))
    world.clock.advance(order.not_after - world.clock.now() - 1)
    # Another process: it is remembered, not only known.
    async with world.serving() as client:
        said = f"serial {print_serial(order.serial)} was on CRL 1 and its certificate has not ended"
        for serials in ((5,), (5, order.serial + 1), (5, 6, order.serial - 1)):
            with pytest.raises(SignerRefused, match=said) as refused:
                await client.sign_crl(crl(world, 2, *serials))
            assert refused.value.rule == "entry_left_out"
        assert order.serial in listed(await client.sign_crl(crl(world, 2, 5, order.serial)))
        world.clock.advance(2)
        assert listed(await client.sign_crl(crl(world, 3, 5))) == [5]


async def test_a_certificate_of_elsewhere_is_listed_for_as_long_as_one_can_live(world: World) -> None:
    world.begin()
    async with world.serving() as client:
        await client.sign_crl(crl(world, 1, 77))
        world.clock.advance(366 * DAY - 61)
        with pytest.raises(SignerRefused, match="was on CRL 1"):
            await client.sign_crl(crl(world, 2))
        world.clock.advance(2)
        assert listed(await client.sign_crl(crl(world, 2))) == []


async def test_what_was_refused_or_broke_off_is_not_remembered(world: World) -> None:
    world.begin()
    async with world.serving() as client:
        await client.sign_crl(crl(world, 1, 5))
        with pytest.raises(SignerRefused, match="serials are positive"):
            await client.sign_crl(crl(world, 2, 5, 6, 0))
        assert listed(await client.sign_crl(crl(world, 2, 5))) == [5]


def test_of_two_orders_at_once_the_later_is_held_against_the_other(world: World) -> None:
    world.begin()
    desk, folder = world.desk(), world.configuration().signer_directory
    heads = [CrlHead("issuing-1", number, int(world.clock.now()), int(world.clock.now()) + 60) for number in (1, 2)]
    both = [Comparison(folder, "issuing-1") for _ in heads]
    try:
        for comparison, serial in zip(both, (5, 6), strict=True):
            comparison.take([(serial, world.clock.now())])
            comparison.finish()
        desk.sign_crl(heads[0], desk.active, b"1" * 32, both[0])
        with pytest.raises(SignerUnavailable, match="another CRL was signed meanwhile; order it again"):
            desk.sign_crl(heads[1], desk.active, b"2" * 32, both[1])
    finally:
        for comparison in both:
            comparison.close()
        desk.close()


async def test_a_broken_list_signs_nothing_and_says_what_to_do(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.begin()
    async with world.serving() as client:
        await client.sign_crl(crl(world, 1, 5))
        file = listed_file(world.configuration().signer_directory, "issuing-1")
        octets = bytearray(file.read_bytes())
        for place in (0, 20, 60, len(octets) - 1):
            file.write_bytes(octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :])
            caplog.clear()
            with pytest.raises(SignerUnavailable):
                await client.sign_crl(crl(world, 2, 5))
            assert f"{file} is not what was written: put back a copy of it, or remove it" in caplog.text
        file.write_bytes(octets[:-7])
        with pytest.raises(SignerUnavailable):
            await client.sign_crl(crl(world, 2, 5))
        # Taken away by whoever may: the next list is taken as it is, and the log says so.
        file.unlink()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert listed(await client.sign_crl(crl(world, 2))) == []
        assert "was not there: CRL 2 was not compared" in caplog.text


@pytest.mark.parametrize(
    ("before", "after", "left_out"),
    [
        ([], [1, 2], []),
        ([1, 2, 3], [], [1, 2, 3]),
        ([1, 3, 5], [2, 3, 4], [1, 5]),
        ([2**159 - 1], [2**159 - 1], []),
        (list(range(1, 20_000)), list(range(2, 20_000)), [1]),
        (list(range(1, 20_000)), list(range(1, 19_999)), [19_999]),
    ],
)
def test_what_is_left_out_is_found_wherever_it_stood(
    world: World, before: list[int], after: list[int], left_out: list[int]
) -> None:
    for number, serials in enumerate((before, after), 1):
        comparison = Comparison(world.folder, "issuing-1")
        comparison.take([(serial, float(serial % 1_000)) for serial in serials])
        comparison.finish()
        assert comparison.is_of_the_last()
        assert [serial for serial, _ in comparison.left_out()] == (left_out if number == 2 else [])
        comparison.keep(number)
        assert not comparison.is_of_the_last()
        comparison.close()
