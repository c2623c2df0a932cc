"""Our own CRLs: signed after a revocation and in time, one for each issuer, by what is in the store."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import REGISTRY

from mtls_gateway.clock import ManualClock, SystemClock
from mtls_gateway.config import OwnCrls
from mtls_gateway.errors import SignerUnavailable
from mtls_gateway.issuance import development_profiles as profiles
from mtls_gateway.issuance.own_crl import OwnCrl, crl_file
from mtls_gateway.model import CertificateId
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.users import NewUser
from tests.issuance.local_signer import LocalSigner

DAY = 86_400.0


class World:
    """A store, a signer and where the lists are published."""

    def __init__(self, store: Store, clock: ManualClock, folder: Path) -> None:
        self.store = store
        self.clock = clock
        self.folder = folder / "published"
        self.signer = LocalSigner(clock.now())
        self.settings = OwnCrls(gather=0.01, shortest=0.01)
        self.own = self.successor()

    def successor(self) -> OwnCrl:
        return OwnCrl(self.signer, self.store.crls, self.settings, self.folder, self.clock)

    def crl(self, name: str) -> x509.CertificateRevocationList:
        return x509.load_der_x509_crl(crl_file(self.folder, name).read_bytes())

    def number(self, name: str) -> int:
        return self.crl(name).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    def listed(self, name: str) -> dict[int, str | None]:
        found: dict[int, str | None] = {}
        for one in self.crl(name):
            with suppress(x509.ExtensionNotFound):
                found[one.serial_number] = one.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
            found.setdefault(one.serial_number, None)
        return found

    async def add(self, issuer: str, serial: int, user_id: str, *, days: float = 300.0) -> CertificateId:
        certificate = CertificateId(self.signer.subject(issuer), serial)
        await self.store.users.add([NewUser(user_id, "acme")], actor="test")
        added = NewCertificate(certificate, user_id, self.clock.now() + days * DAY)
        await self.store.certificates.register([added], actor="test")
        return certificate


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock(float(int(SystemClock().now())))
    url = f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    await migrate(url, clock)
    store = await open_store(url, clock)
    await store.companies.create("acme", "株式会社アクメ", actor="test")
    yield World(store, clock, tmp_path)
    await store.close()


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"mtls_gateway_{name}", labels) or 0.0


async def test_each_issuer_has_its_own_list_from_the_start(world: World) -> None:
    assert await world.own.look() == (2, 0)
    assert (world.number("issuing-1"), world.number("issuing-2")) == (1, 1)
    crl = world.crl("issuing-1")
    assert crl.last_update_utc == datetime.fromtimestamp(world.clock.now(), UTC)
    assert crl.next_update_utc == datetime.fromtimestamp(world.clock.now() + 7 * DAY, UTC)
    # Nothing new, nothing signed.
    assert await world.own.look() == (0, 0)


async def test_a_revocation_is_on_the_next_list_of_its_issuer_and_only_there(world: World) -> None:
    one = await world.add("issuing-1", 0xA1, "taro")
    await world.add("issuing-2", 0xB1, "hanako")
    await world.own.look()
    await world.store.certificates.revoke(one, actor="test", reason="keyCompromise")
    assert await world.own.look() == (1, 0)
    assert world.listed("issuing-1") == {0xA1: "keyCompromise"}
    assert (world.number("issuing-1"), world.number("issuing-2")) == (2, 1)
    assert figure("own_crl_number", issuer="issuing-1") == 2
    assert figure("own_crl_entries", issuer="issuing-1") == 1


async def test_it_is_renewed_in_time(world: World) -> None:
    await world.own.look()
    world.clock.advance(DAY - 1.0)
    assert await world.own.look() == (0, 0)
    world.clock.advance(1.0)
    assert await world.own.look() == (2, 0)
    assert world.number("issuing-1") == 2


async def test_a_certificate_is_listed_until_a_while_after_its_own_end(world: World) -> None:
    one = await world.add("issuing-1", 0xA1, "taro", days=10.0)
    await world.store.certificates.revoke(one, actor="test")
    for days, listed in ((9.0, True), (7.9, True), (1.1, False)):
        world.clock.advance(days * DAY)
        await world.own.look()
        assert (0xA1 in world.listed("issuing-1")) == listed


async def test_a_successor_goes_on_and_signs_nothing_that_is_not_needed(world: World) -> None:
    one = await world.add("issuing-1", 0xA1, "taro")
    await world.own.look()
    assert await world.successor().look() == (0, 0)
    await world.store.certificates.revoke(one, actor="test")
    assert await world.successor().look() == (1, 0)
    assert world.number("issuing-1") == 2


@pytest.mark.parametrize("spoilt", [b"", b"nonsense"])
async def test_a_file_that_was_lost_or_spoilt_is_made_anew(world: World, spoilt: bytes) -> None:
    await world.own.look()
    file = crl_file(world.folder, "issuing-2")
    if spoilt:
        file.write_bytes(spoilt)
    else:
        file.unlink()
    assert await world.own.look() == (1, 0)
    assert world.number("issuing-2") == 2


async def test_a_number_that_was_taken_before_a_crash_is_not_given_again(world: World) -> None:
    await world.own.look()
    # Written down, and then the clerk died: nobody knows whether it was signed.
    await world.store.crls.begin(
        world.signer.subject("issuing-1"), above=0, this_update=0.0, next_update=0.0, ended_after=0.0
    )
    assert await world.successor().look() == (1, 0)
    assert world.number("issuing-1") == 3


async def test_a_database_that_was_put_back_does_not_take_numbers_back(world: World) -> None:
    world.signer.numbers = {"issuing-1": 70, "issuing-2": 0}
    await world.own.look()
    assert (world.number("issuing-1"), world.number("issuing-2")) == (71, 1)


async def test_while_the_signer_is_away_what_is_published_stays_and_a_figure_says_so(world: World) -> None:
    one = await world.add("issuing-1", 0xA1, "taro")
    await world.own.look()
    await world.store.certificates.revoke(one, actor="test")
    world.signer.away = True
    before = figure("own_crls_total", outcome="failed")
    assert await world.own.look() == (0, 1)
    assert figure("own_crls_total", outcome="failed") == before + 1
    assert world.number("issuing-1") == 1
    with pytest.raises(SignerUnavailable):
        await world.own.publish_all()
    world.signer.away = False
    assert await world.own.look() == (1, 0)
    assert world.listed("issuing-1") == {0xA1: None}


async def test_one_issuer_that_is_refused_does_not_hold_the_other_up(world: World) -> None:
    world.signer.refuses = {"issuing-2"}
    before = figure("own_crls_total", outcome="refused")
    assert await world.own.look() == (1, 1)
    assert figure("own_crls_total", outcome="refused") == before + 1
    assert world.number("issuing-1") == 1


async def test_only_what_is_missing(world: World) -> None:
    assert [(one.issuer, one.number) for one in await world.own.publish_all(only_missing=True)] == [
        ("issuing-2", 1),
        ("issuing-1", 1),
    ]
    assert await world.own.publish_all(only_missing=True) == []
    crl_file(world.folder, "issuing-1").unlink()
    assert [one.issuer for one in await world.own.publish_all(only_missing=True)] == ["issuing-1"]


async def test_a_revocation_that_is_told_of_is_published_within_a_second(world: World) -> None:
    one = await world.add("issuing-1", 0xA1, "taro")

    async def run() -> None:
        while True:
            await world.own.step()
            await world.own.rest()

    running = asyncio.ensure_future(run())
    try:
        async with asyncio.timeout(5.0):
            while not crl_file(world.folder, "issuing-1").exists():  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.01)
        await world.store.certificates.revoke(one, actor="test")
        async with asyncio.timeout(1.0):
            world.own.revoked()
            while world.listed("issuing-1") != {0xA1: None}:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_after_the_clock_was_set_back_nothing_was_revoked_in_the_future(world: World) -> None:
    one = await world.add("issuing-1", 0xA1, "taro")
    await world.store.certificates.revoke(one, actor="test")
    world.clock.set(world.clock.now() - DAY)
    assert await world.own.look() == (2, 0)
    (entry,) = world.crl("issuing-1")
    assert entry.revocation_date_utc.timestamp() == world.clock.now()


@pytest.mark.needs("openssl")
async def test_openssl_reads_it_and_refuses_whom_it_lists(world: World, tmp_path: Path) -> None:
    signer = world.signer.keys["issuing-1"]
    key = profiles.new_key()
    files = {}
    for user in ("taro", "hanako"):
        made = profiles.client(
            signer, key.public_key(), user_id=user, common_name=user, now=world.clock.now() - 60, crl_url=None
        )
        certificate = await world.add("issuing-1", made.serial_number, user)
        files[user] = tmp_path / f"{user}.pem"
        files[user].write_bytes(made.public_bytes(Encoding.PEM))
        if user == "taro":
            await world.store.certificates.revoke(certificate, actor="test", reason="keyCompromise")
    await world.own.look()
    root = tmp_path / "root.pem"
    root.write_bytes(world.signer.root.certificate.public_bytes(Encoding.PEM))
    issuing = tmp_path / "issuing.pem"
    issuing.write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    file = crl_file(world.folder, "issuing-1")

    def openssl(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)

    read = openssl("crl", "-inform", "DER", "-in", file, "-noout", "-text", "-CAfile", issuing, "-verify")
    assert "verify OK" in read.stderr
    assert "Key Compromise" in read.stdout
    assert "X509v3 CRL Number: \n                1\n" in read.stdout
    crls = tmp_path / "crls.pem"
    root_crl = profiles.revocation_list(world.signer.root, 1, [], world.clock.now(), 7.0)
    crls.write_bytes(world.crl("issuing-1").public_bytes(Encoding.PEM) + root_crl.public_bytes(Encoding.PEM))
    checked = ("verify", "-crl_check_all", "-CAfile", root, "-untrusted", issuing, "-CRLfile", crls)
    good, revoked = openssl(*checked, files["hanako"]), openssl(*checked, files["taro"])
    assert good.returncode == 0, good.stderr
    assert revoked.returncode != 0
    assert "certificate revoked" in revoked.stderr
