"""The signer through its socket: what portal and clerk may count on."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from mtls_gateway.errors import SignerRefused, SignerUnavailable
from mtls_gateway.issuance import signer_frames as frames
from mtls_gateway.issuance.orders import CrlOrder, IntendedCertificate, RevokedEntry
from mtls_gateway.issuance.signer.key_pkcs11 import KeyKind
from mtls_gateway.issuance.signer_client import SignerClient
from mtls_gateway.issuance.signer_frames import Kind

from .world import CRL_URL, NOW, World

DAY = 86_400


def _crl(number: int, *serials: int, issuer: str = "issuing-1", **changed: Any) -> CrlOrder:
    values: dict[str, Any] = {
        "issuer": issuer,
        "number": number,
        "this_update": NOW,
        "next_update": NOW + DAY,
        "entries": [RevokedEntry(serial, NOW - 60, "keyCompromise") for serial in serials],
    }
    return CrlOrder(**{**values, **changed})


def _read(made: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(made)


def _number(crl: bytes) -> int:
    read = x509.load_der_x509_crl(crl)
    return read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


# --- certificates -------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-3072"])
async def test_an_order_becomes_a_certificate_of_the_active_issuer(either: World, kind: KeyKind) -> None:
    made = either.begin(issuing_key=kind)
    async with either.serving() as client:
        order = either.order()
        certificate = _read(await client.sign_certificate(order))
        certificate.verify_directly_issued_by(made.issuing)
        assert certificate.serial_number == order.serial
        assert certificate.subject.rfc4514_string() == "CN=山田 太郎,UID=taro,O=株式会社山田商店,C=JP"
        crl = await client.sign_crl(_crl(1, order.serial))
        assert x509.load_der_x509_crl(crl).get_revoked_certificate_by_serial_number(order.serial) is not None


async def test_the_signer_describes_its_issuers(world: World) -> None:
    made = world.begin()
    async with world.serving() as client:
        (issuer,) = await client.describe()
        assert issuer.active
        assert (issuer.name, issuer.crl_url, issuer.crl_number) == ("issuing-1", CRL_URL, 0)
        assert _read(issuer.certificate) == made.issuing
        assert [_read(one) for one in issuer.chain] == [made.root]
        assert issuer.subject == made.issuing.subject.rfc4514_string()
        await client.sign_crl(_crl(41))
        assert (await client.describe())[0].crl_number == 41


async def test_the_same_order_again_gives_the_same_certificate_byte_for_byte_also_after_a_start(world: World) -> None:
    world.begin()
    order = world.order()
    async with world.serving() as client:
        first = await client.sign_certificate(order)
        assert await client.sign_certificate(order) == first
    world.clock.advance(10 * DAY)
    async with world.serving() as client:
        assert await client.sign_certificate(order) == first


@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": "jiro"},
        {"common_name": "別人"},
        {"organisation": "別会社"},
        {"not_after": NOW + DAY},
        {"not_before": NOW - 1},
        {"public_key": None},
    ],
)
async def test_a_serial_is_given_to_one_certificate_only(world: World, changed: dict[str, Any]) -> None:
    world.begin()
    async with world.serving() as client:
        order = world.order()
        await client.sign_certificate(order)
        values = {name: getattr(order, name) for name in order.__dataclass_fields__} | changed
        if values["public_key"] is None:
            values["public_key"] = world.order().public_key
        with pytest.raises(SignerRefused) as refused:
            await client.sign_certificate(IntendedCertificate(**values))
        assert refused.value.rule == "serial_used"


async def test_fifty_parallel_orders_of_one_serial_give_one_certificate(world: World) -> None:
    world.begin()
    async with world.serving() as client:
        order = world.order()
        made = await asyncio.gather(*(client.sign_certificate(order) for _ in range(50)))
        assert len(set(made)) == 1
        rivals = [world.order(serial=x509.random_serial_number()) for _ in range(50)]
        rivals = [world.order(f"user{place}", serial=rivals[0].serial) for place in range(50)]
        outcomes = await asyncio.gather(*(client.sign_certificate(rival) for rival in rivals), return_exceptions=True)
        signed = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, SignerRefused)]
        assert len(signed) == 1
        assert {refusal.rule for refusal in refused} == {"serial_used"}
        assert len(refused) == 49


async def test_many_users_at_once_get_a_certificate_each(world: World) -> None:
    world.begin()
    async with world.serving() as client:
        orders = [world.order(f"user{place}") for place in range(200)]
        made = await asyncio.gather(*(client.sign_certificate(order) for order in orders))
        assert [_read(one).serial_number for one in made] == [order.serial for order in orders]


async def test_more_than_a_minute_may_have_is_asked_to_wait_and_what_was_signed_before_is_not_counted(
    world: World,
) -> None:
    world.begin()
    world.settings["certificates_per_minute"] = 3
    async with world.serving() as client:
        first = world.order()
        made = await client.sign_certificate(first)
        for _ in range(2):
            await client.sign_certificate(world.order())
        waiting = world.order()
        with pytest.raises(SignerUnavailable, match="try again in a minute"):
            await client.sign_certificate(waiting)
        assert await client.sign_certificate(first) == made
    # Killing the signer does not help whoever wants more.
    async with world.serving() as client:
        with pytest.raises(SignerUnavailable, match="try again in a minute"):
            await client.sign_certificate(waiting)
        world.clock.advance(60)
        await client.sign_certificate(waiting)


async def test_orders_that_were_refused_do_not_use_up_the_minute(world: World) -> None:
    world.begin()
    world.settings["certificates_per_minute"] = 1
    async with world.serving() as client:
        for _ in range(5):
            with pytest.raises(SignerRefused):
                await client.sign_certificate(world.order(user_id=""))
        await client.sign_certificate(world.order())


# --- CRLs ---------------------------------------------------------------------------------------
async def test_crl_numbers_never_go_back(world: World) -> None:
    world.begin()
    async with world.serving() as client:
        assert _number(await client.sign_crl(_crl(5))) == 5
        for number in (4, 1):
            with pytest.raises(SignerRefused) as refused:
                await client.sign_crl(_crl(number))
            assert refused.value.rule == "crl_number"
    async with world.serving() as client:
        with pytest.raises(SignerRefused, match="do not go back"):
            await client.sign_crl(_crl(4))
        assert _number(await client.sign_crl(_crl(6))) == 6


async def test_the_same_crl_again_is_the_same_byte_for_byte_and_its_number_is_given_to_no_other(world: World) -> None:
    world.begin()
    serial = x509.random_serial_number()
    async with world.serving() as client:
        first = await client.sign_crl(_crl(1, serial))
    world.clock.advance(60)
    async with world.serving() as client:
        assert await client.sign_crl(_crl(1, serial)) == first
        for other in (_crl(1), _crl(1, serial, 77), _crl(1, serial, next_update=NOW + 2 * DAY)):
            with pytest.raises(SignerRefused, match="the number of the next CRL is 2 or higher"):
                await client.sign_crl(other)


@pytest.mark.parametrize(
    ("rule", "order"),
    [
        ("issuer_unknown", _crl(1, issuer="nobody")),
        ("crl_number", _crl(0)),
        ("crl_number", _crl(1 << 63)),
        ("begins_too_early", _crl(1, this_update=NOW - 301)),
        ("begins_in_the_future", _crl(1, this_update=NOW + 61)),
        ("crl_validity", _crl(1, next_update=NOW)),
        ("crl_validity", _crl(1, next_update=NOW - 1)),
        ("crl_validity", _crl(1, next_update=NOW + 31 * DAY)),
        ("crl_serial", _crl(1, 5, 5)),
        ("crl_serial", _crl(1, 0)),
        ("crl_serial", _crl(1, entries=iter([RevokedEntry(6, NOW), RevokedEntry(5, NOW)]))),
        ("crl_entry", _crl(1, entries=[RevokedEntry(5, NOW + 61)])),
        ("crl_too_many_entries", _crl(1, *range(1, 12))),
        ("crl_entry", _crl(1, entries=[RevokedEntry(1 << 160, NOW)])),
        ("crl_entry", _crl(1, entries=[RevokedEntry(5, NOW, "removeFromCRL")])),  # type: ignore[arg-type]
    ],
)
async def test_a_crl_that_breaks_a_rule_is_refused_by_its_name_and_uses_up_no_number(
    world: World, rule: str, order: CrlOrder
) -> None:
    world.begin()
    world.settings["crl_entries"] = 10
    async with world.serving() as client:
        with pytest.raises(SignerRefused) as refused:
            await client.sign_crl(order)
        assert refused.value.rule == rule
        assert (await client.describe())[0].crl_number == 0
        assert _number(await client.sign_crl(_crl(1, 9, 8))) == 1


async def test_entries_may_come_from_whatever_yields_them(world: World) -> None:
    async def coming() -> AsyncIterator[RevokedEntry]:
        for serial in range(1, 5_001):
            await asyncio.sleep(0)
            yield RevokedEntry(serial, NOW - 1)

    def yielded() -> Iterator[RevokedEntry]:
        yield from (RevokedEntry(serial, NOW - 1) for serial in range(1, 5_001))

    world.begin()
    async with world.serving() as client:
        unsorted = [RevokedEntry(serial, NOW - 1) for serial in range(5_000, 0, -1)]
        made = [
            x509.load_der_x509_crl(await client.sign_crl(_crl(number, entries=entries)))
            for number, entries in enumerate((coming(), yielded(), unsorted), 1)
        ]
        for crl in made:
            assert [entry.serial_number for entry in crl] == list(range(1, 5_001))


async def test_what_fails_while_entries_are_given_leaves_the_signer_as_it_was(world: World) -> None:
    def failing() -> Iterator[RevokedEntry]:
        yield from (RevokedEntry(serial, NOW - 1) for serial in range(1, 5_001))
        raise LookupError("the database has gone")

    world.begin()
    async with world.serving() as client:
        with pytest.raises(LookupError):
            await client.sign_crl(_crl(1, entries=failing()))
        assert _number(await client.sign_crl(_crl(1))) == 1


async def test_more_crls_than_a_minute_may_have_are_asked_to_wait(world: World) -> None:
    world.begin()
    world.settings["crls_per_minute"] = 2
    async with world.serving() as client:
        await client.sign_crl(_crl(1))
        await client.sign_crl(_crl(2))
        with pytest.raises(SignerUnavailable, match="try again in a minute"):
            await client.sign_crl(_crl(3))


# --- roll-over ----------------------------------------------------------------------------------
async def test_after_a_roll_over_the_new_issuer_signs_and_the_old_one_goes_on_with_its_crl(either: World) -> None:
    old = either.begin()
    before = either.order()
    async with either.serving() as client:
        certificate = await client.sign_certificate(before)
        await client.sign_crl(_crl(7))
    new = either.roll_over()
    async with either.serving() as client:
        described = await client.describe()
        assert [(one.name, one.active, one.crl_number) for one in described] == [
            ("issuing-2", True, 0),
            ("issuing-1", False, 7),
        ]
        assert {_read(one.chain[-1]).subject for one in described} == {old.root.subject}
        _read(await client.sign_certificate(either.order())).verify_directly_issued_by(new.issuing)
        assert await client.sign_certificate(before) == certificate
        theirs = x509.load_der_x509_crl(await client.sign_crl(_crl(8, before.serial)))
        assert theirs.issuer == old.issuing.subject
        ours = x509.load_der_x509_crl(await client.sign_crl(_crl(1, issuer="issuing-2")))
        assert ours.issuer == new.issuing.subject


# --- the socket ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">IB", frames.LARGEST + 1, Kind.CERTIFICATE),
        struct.pack(">IB", 0, 99),
        frames.frame(Kind.SIGNED, b"x"),
        frames.frame(Kind.END),
        frames.frame(Kind.CERTIFICATE, b"{}"),
        frames.frame(Kind.CERTIFICATE, b"\xff"),
        frames.frame(Kind.CERTIFICATE, b'{"tbs":"MAA="}'),
        frames.frame(Kind.CRL, b"[]"),
        frames.frame(Kind.CRL, b'{"issuer":"issuing-1","number":true,"this_update":1,"next_update":2}'),
        frames.frame(Kind.CRL, b'{"issuer":"issuing-1","number":1,"this_update":1e9,"next_update":2}'),
    ],
)
async def test_what_is_not_the_protocol_ends_the_connection_and_nothing_else(world: World, octets: bytes) -> None:
    world.begin()
    async with world.serving() as client:
        reader, writer = await asyncio.open_unix_connection(str(world.configuration().signer_socket))
        writer.write(octets)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert await client.sign_certificate(world.order())


async def test_a_field_more_than_the_protocol_has_is_refused(world: World) -> None:
    world.begin()
    async with world.serving():
        reader, writer = await asyncio.open_unix_connection(str(world.configuration().signer_socket))
        order = frames.write_certificate_order(world.order())
        writer.write(frames.frame(Kind.CERTIFICATE, order[:-1] + b',"crl_url":"http://elsewhere/"}'))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


@pytest.mark.parametrize("among", [frames.frame(Kind.DESCRIBE), frames.frame(Kind.ENTRIES, b"x" * 28), b""])
async def test_a_crl_order_that_goes_wrong_half_way_signs_nothing(world: World, among: bytes) -> None:
    world.begin()
    async with world.serving() as client:
        reader, writer = await asyncio.open_unix_connection(str(world.configuration().signer_socket))
        writer.write(frames.frame(Kind.CRL, frames.write_crl_head("issuing-1", 1, NOW, NOW + DAY)))
        assert await frames.read_frame(reader, idle=5, within=5) == (Kind.GO_ON, b"")
        writer.write(frames.frame(Kind.ENTRIES, frames.write_entries([RevokedEntry(1, NOW)])) + among)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert (await client.describe())[0].crl_number == 0


async def test_a_frame_that_does_not_end_is_not_waited_for(world: World) -> None:
    world.begin()
    world.settings["timeout"] = 0.1
    async with world.serving():
        reader, writer = await asyncio.open_unix_connection(str(world.configuration().signer_socket))
        writer.write(frames.frame(Kind.CERTIFICATE, b"x" * 100)[:-1])
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_more_connections_than_the_limit_are_closed(world: World) -> None:
    world.begin()
    world.settings["connections"] = 2
    async with world.serving() as client:
        path = str(world.configuration().signer_socket)
        held = [await asyncio.open_unix_connection(path) for _ in range(2)]
        for reader, writer in held:
            writer.write(frames.frame(Kind.DESCRIBE))
            assert await frames.read_frame(reader, idle=5, within=5) is not None
        with pytest.raises(SignerUnavailable):
            await client.describe()
        for _, writer in held:
            writer.close()
            await writer.wait_closed()


_AS_NOBODY = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(bytes.fromhex(sys.argv[2]))
print(connection.recv(1).hex() or "closed")
"""


def _ask_as_nobody(path: Path) -> str:
    asked = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(path), frames.frame(Kind.DESCRIBE).hex()],
        check=False,
        capture_output=True,
        text=True,
    )
    return asked.stdout.strip() or asked.stderr.strip().splitlines()[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_only_the_users_of_the_settings_may_give_orders(world: World, tmp_path_factory: Any) -> None:
    world.begin()
    open_to_all = Path("/tmp") / f"signer-{os.getpid()}"
    open_to_all.mkdir(mode=0o755)
    world.settings["socket"] = str(open_to_all / "signer.sock")
    try:
        async with world.serving():
            assert "PermissionError" in await asyncio.to_thread(_ask_as_nobody, open_to_all / "signer.sock")
        # Members of the group reach the socket, but only the users that are named may give orders.
        world.settings["group"] = "nogroup"
        async with world.serving():
            assert (open_to_all / "signer.sock").stat().st_mode & 0o777 == 0o660
            answer = await asyncio.to_thread(_ask_as_nobody, open_to_all / "signer.sock")
            assert answer == "closed" or "ConnectionResetError" in answer or "BrokenPipeError" in answer
        world.settings["users"] = ["nobody"]
        async with world.serving():
            assert await asyncio.to_thread(_ask_as_nobody, open_to_all / "signer.sock") == "00"
    finally:
        (open_to_all / "signer.sock").unlink()
        open_to_all.rmdir()


# --- the client ---------------------------------------------------------------------------------
async def test_where_no_signer_is_the_client_says_so(tmp_path: Path) -> None:
    client = SignerClient(tmp_path / "signer.sock", patience=0.2)
    for ask in (client.describe, lambda: client.sign_crl(_crl(1))):
        with pytest.raises(SignerUnavailable, match=r"signer\.sock does not answer: is it running"):
            await ask()


async def test_a_client_outlives_the_signer_that_it_was_connected_to(world: World) -> None:
    world.begin()
    client = SignerClient(world.configuration().signer_socket, patience=0.2)
    made = []
    order = world.order()
    for _ in range(3):
        async with world.serving():
            made.append(await client.sign_certificate(order))
            await client.sign_crl(_crl(len(made)))
    with pytest.raises(SignerUnavailable):
        await client.sign_certificate(order)
    assert len(set(made)) == 1
    await client.close()


async def test_an_order_waits_for_a_signer_that_is_being_started(world: World) -> None:
    world.begin()
    client = SignerClient(world.configuration().signer_socket, patience=5.0)
    asking = asyncio.ensure_future(client.sign_certificate(world.order()))
    await asyncio.sleep(0)
    async with world.serving():
        assert await asking
        await client.close()


async def test_a_signer_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "signer.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    client = SignerClient(path, timeout=0.1, crl_timeout=0.1)
    for ask in (client.describe, lambda: client.sign_crl(_crl(1))):
        with pytest.raises(SignerUnavailable):
            await ask()
    listening.close()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", frames.frame(Kind.ISSUERS, b"{}"), frames.frame(Kind.REFUSED, b"x"), b""],
)
async def test_whatever_answers_instead_of_a_signer_is_one_error(tmp_path: Path, answer: bytes) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    path = tmp_path / "signer.sock"
    async with await asyncio.start_unix_server(babble, str(path)):
        client = SignerClient(path, timeout=2, crl_timeout=2, patience=0.2)
        for ask in (client.describe, lambda: client.sign_crl(_crl(1))):
            with pytest.raises(SignerUnavailable):
                await ask()
        await client.close()


# --- opening ------------------------------------------------------------------------------------
async def test_a_socket_directory_that_others_can_write_to_is_refused(world: World) -> None:
    world.begin()
    (world.configuration().state / "run").chmod(0o777)
    with pytest.raises(Exception, match=r"others can put a socket there; run: chown"):
        async with world.serving():
            pass
