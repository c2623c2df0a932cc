"""The feed: what it puts in force, what it refuses at start, and that the last good list stays whatever comes."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from prometheus_client import REGISTRY

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StoreUnavailable, TrustMaterialError
from mtls_gateway.model import CertificateId
from mtls_gateway.trust.feed import Feed
from mtls_gateway.trust.revocation import Manifest, load_revocation, read_manifest, write_manifest
from tests.trust.authority_maker import DAY, NOW, Bank, Ca, key_named
from tests.trust.test_sources import served

ROOT = Ca.root("root")
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.9"), b"\5\0")


class World:
    """A bank with one CA, its feed and its clock."""

    def __init__(self, folder: Path) -> None:
        self.bank = Bank(folder)
        self.clock = ManualClock(NOW)
        self.file = folder / "root.crl"

    def configure(self, *sources: dict[str, Any], **settings: Any) -> None:
        crls = list(sources) or [{"source": str(self.file), "maximum_octets": 4_096}]
        self.bank.add("root", ROOT.certificate, crls=crls, **settings)

    def feed(self) -> Feed:
        return Feed(self.bank.bundle(), self.bank.directory, self.bank.folder, self.clock)

    async def look(self, feed: Feed) -> int | None:
        """As soon as everything is due."""
        self.clock.advance(5)
        return await feed.refresh()

    def revoked(self, serial: int) -> bool:
        return load_revocation(self.bank.directory).is_revoked(CertificateId("CN=root,C=JP", serial))

    @property
    def generation(self) -> int:
        return read_manifest(self.bank.directory).generation


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"mtls_gateway_{name}", labels) or 0.0


def refusals(reason: str) -> float:
    return metric("crl_refusals_total", authority="root", reason=reason)


# --- at start -----------------------------------------------------------------------------------


async def test_everything_is_in_force_before_the_gateway_starts(world: World) -> None:
    world.configure()
    world.bank.add("other", Ca.root("other").certificate)
    world.file.write_bytes(ROOT.crl(1, [5]))
    assert await world.feed().prepare() == 1
    assert world.revoked(5)
    # And again, with nothing new, nothing is put in force anew.
    assert await world.feed().prepare() == 1


def _make_a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda file: file.unlink(), "cannot be read: No such file or directory"),
    "a directory": (_make_a_directory, "cannot be read: Is a directory"),
    "empty": (lambda file: file.write_bytes(b"\n"), "is empty"),
    "malformed": (lambda file: file.write_bytes(b"<html>"), "is no CRL"),
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-9]), "is no CRL"),
}


@pytest.mark.parametrize("has_started_before", [False, True])
@pytest.mark.parametrize("kind", SPOILT)
async def test_a_missing_empty_or_malformed_file_is_a_refusal_to_start_that_names_it(
    world: World, kind: str, has_started_before: bool
) -> None:
    spoil, cause = SPOILT[kind]
    world.configure()
    world.file.write_bytes(ROOT.crl(1, [5]))
    if has_started_before:
        await world.feed().prepare()
    spoil(world.file)
    with pytest.raises(TrustMaterialError) as refused:
        await world.feed().prepare()
    assert str(refused.value).startswith(f"{world.file}: {cause}")


UNUSABLE = {
    "rolled back": (ROOT.crl(9), "rolled_back"),
    "of another issuer": (Ca.root("other").crl(11), "wrong_issuer"),
    "signed by somebody else": (Ca(ROOT.certificate, key_named("forger")).crl(11), "wrong_signature"),
    "from the future": (ROOT.crl(11, begins=NOW + DAY, ends=NOW + 2 * DAY), "from_the_future"),
    "with an unknown critical extension": (ROOT.crl(11, extensions=[(UNKNOWN, True)]), "unknown_extension"),
    "too large": (ROOT.crl(11, range(1, 500)), "oversized"),
    "of an older scope": (ROOT.crl(50, points=["http://crl.example/a"], begins=NOW - DAY), "rolled_back"),
    "a delta": (ROOT.crl(11, base=10), "unasked_delta"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_a_file_that_is_otherwise_unusable_at_start_leaves_the_last_good_list_and_says_so(
    world: World, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    octets, reason = UNUSABLE[kind]
    world.configure()
    world.file.write_bytes(ROOT.crl(10, [5]))
    await world.feed().prepare()
    world.file.write_bytes(octets)
    before = refusals(reason)
    assert await world.feed().prepare() == 1
    assert world.revoked(5)
    assert refusals(reason) == before + 1
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith(f"a CRL of root was not taken, the last good one stays: {world.file}: ")


@pytest.mark.parametrize("kind", [kind for kind in UNUSABLE if kind not in ("rolled back", "of an older scope")])
async def test_without_a_last_good_list_whatever_cannot_be_used_is_a_refusal_to_start(world: World, kind: str) -> None:
    octets, reason = UNUSABLE[kind]
    world.configure()
    world.file.write_bytes(octets)
    with pytest.raises(TrustMaterialError) as refused:
        await world.feed().prepare()
    assert refused.value.reason == reason
    assert str(world.file) in str(refused.value)


async def test_an_address_that_fails_at_start_is_stood_in_for_by_what_it_gave_last(world: World) -> None:
    async with served() as server:
        world.configure({"source": server.address, "timeout": 2})
        server.gives(status=404)
        with pytest.raises(TrustMaterialError, match="answers 404") as refused:
            await world.feed().prepare()
        assert refused.value.source == server.address
        server.gives(ROOT.crl(1, [5]))
        assert await world.feed().prepare() == 1
        server.gives(b"<html>Please sign in</html>")
        assert await world.feed().prepare() == 1
    # And when nobody is there any more.
    assert await world.feed().prepare() == 1
    assert world.revoked(5)


async def test_a_damaged_index_is_compiled_again_at_start_or_else_refused(world: World) -> None:
    world.configure()
    world.file.write_bytes(ROOT.crl(1, [5]))
    await world.feed().prepare()
    (index,) = world.bank.directory.glob("*.index")
    octets = bytearray(index.read_bytes())
    octets[-1] ^= 1
    index.write_bytes(octets)
    await world.feed().prepare()
    assert world.revoked(5)
    index.write_bytes(octets)
    world.file.write_bytes(ROOT.crl(2, begins=NOW + DAY, ends=NOW + 2 * DAY))
    with pytest.raises(TrustMaterialError, match="dated in the future"):
        await world.feed().prepare()


async def test_a_manifest_that_cannot_be_read_is_a_refusal_to_start(world: World) -> None:
    world.configure()
    world.file.write_bytes(ROOT.crl(1))
    (world.bank.directory / "manifest.json").write_bytes(b"{")
    with pytest.raises(TrustMaterialError, match=r"manifest\.json: cannot be read"):
        await world.feed().prepare()


async def test_an_authority_that_left_the_configuration_is_out_of_force(world: World) -> None:
    world.configure()
    world.file.write_bytes(ROOT.crl(1, [5]))
    await world.feed().prepare()
    world.bank.settings.clear()
    world.bank.add("other", Ca.root("other").certificate)
    assert await world.feed().prepare() == 2
    assert read_manifest(world.bank.directory).files == {}


# --- while it runs ------------------------------------------------------------------------------


async def test_a_new_list_is_taken_and_the_same_one_is_left_alone(world: World) -> None:
    world.configure()
    world.file.write_bytes(ROOT.crl(1))
    feed = world.feed()
    await feed.prepare()
    taken = metric("crl_taken_total", authority="root")
    assert await world.look(feed) is None
    world.file.write_bytes(ROOT.crl(2, [5]))
    assert await world.look(feed) == 2
    assert world.revoked(5)
    assert metric("crl_taken_total", authority="root") == taken + 1
    assert await world.look(feed) is None


@pytest.mark.parametrize("over_http", [False, True], ids=["file", "http"])
@pytest.mark.parametrize("kind", [*UNUSABLE, "empty", "malformed", "missing"])
async def test_a_bad_list_leaves_the_last_good_one_in_force_and_the_metric_tells(
    world: World, kind: str, over_http: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bad: dict[str, tuple[bytes, str]] = {**UNUSABLE, "empty": (b"", "empty"), "malformed": (b"<html>", "malformed")}
    octets, reason = bad.get(kind, (b"", "http_status" if over_http else "missing"))
    async with served() as server:

        def publish(list_: bytes, status: int = 200) -> None:
            server.gives(list_, status)
            world.file.write_bytes(list_)

        source = server.address if over_http else str(world.file)
        world.configure({"source": source, "maximum_octets": 4_096})
        publish(ROOT.crl(10, [5]))
        feed = world.feed()
        await feed.prepare()
        before = refusals(reason)
        publish(octets, 404 if kind == "missing" else 200)
        if kind == "missing":
            world.file.unlink()
        assert await world.look(feed) is None
        assert refusals(reason) == before + 1
        assert world.revoked(5)
        # It is said once, and looked at again after half a minute.
        await world.look(feed)
        assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
        publish(ROOT.crl(200, [5, 6]))
        assert await world.look(feed) == 2
        assert world.revoked(6)


async def test_a_list_from_the_future_is_taken_when_its_time_has_come(world: World) -> None:
    world.configure()
    world.file.write_bytes(ROOT.crl(1))
    feed = world.feed()
    await feed.prepare()
    world.file.write_bytes(ROOT.crl(2, [5], begins=NOW + 90))
    assert await world.look(feed) is None
    world.clock.advance(25)
    assert await world.look(feed) == 2
    assert world.revoked(5)


async def test_a_revocation_in_a_delta_is_taken_while_the_full_list_cannot_be_fetched(world: World) -> None:
    async with served() as server:
        delta = world.bank.folder / "delta.crl"
        world.configure({"source": server.address}, {"source": str(delta), "delta": True})
        server.gives(ROOT.crl(10))
        delta.write_bytes(ROOT.crl(10, base=10))
        feed = world.feed()
        await feed.prepare()
        server.gives(status=503)
        delta.write_bytes(ROOT.crl(11, [5], base=10))
        assert await world.look(feed) == 2
        assert world.revoked(5)


async def test_what_another_process_put_in_force_meanwhile_is_not_overwritten_unseen(world: World) -> None:
    world.configure()
    world.file.write_bytes(ROOT.crl(1))
    feed = world.feed()
    await feed.prepare()
    # A new generation's master takes a newer list.
    world.file.write_bytes(ROOT.crl(20, [5]))
    assert await world.feed().prepare() == 2
    # The old clerk reads an older one, from a mirror that lags, say.
    world.file.write_bytes(ROOT.crl(10, []))
    before = refusals("rolled_back")
    assert await world.look(feed) is None
    assert refusals("rolled_back") == before + 1
    assert world.revoked(5)


async def test_a_list_is_compared_again_when_others_came_into_force_while_it_was_compiled(world: World) -> None:
    world.configure()
    world.file.write_bytes(ROOT.crl(1))
    feed = world.feed()
    await feed.prepare()
    world.file.write_bytes(ROOT.crl(10, []))
    descriptor = os.open(world.bank.directory, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    looking = asyncio.ensure_future(world.look(feed))
    # It has compiled its list and waits at the lock.
    for _ in range(2_000):
        if len(list(world.bank.directory.glob("*.index"))) == 2:
            break
        await asyncio.sleep(0.005)
    write_manifest(world.bank.directory, Manifest(7, {"root": ("another.index",)}))
    os.close(descriptor)
    await looking
    assert read_manifest(world.bank.directory) == Manifest(7, {"root": ("another.index",)})


async def test_indexes_out_of_force_are_removed_after_a_while_and_not_before(world: World) -> None:
    world.configure()
    feed = world.feed()
    for number in (1, 2, 3):
        world.file.write_bytes(ROOT.crl(number, [number]))
        if number == 1:
            await feed.prepare()
        else:
            await world.look(feed)
        for index in world.bank.directory.glob("*.index"):
            os.utime(index, (world.clock.now(), world.clock.now()))
    assert len(list(world.bank.directory.glob("*.index"))) == 3
    world.clock.advance(601)
    world.file.write_bytes(ROOT.crl(4, [4]))
    await world.look(feed)
    # Those of 1 to 3 have gone; only what is in force stays, and can be read.
    assert len(list(world.bank.directory.glob("*.index"))) == 1
    assert world.revoked(4)


# --- for ever -----------------------------------------------------------------------------------


@asynccontextmanager
async def running(feed: Feed, announce: Callable[[int], Any]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(feed.run(announce, every=0.01))
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it never came about")


async def test_every_generation_is_announced_also_one_that_could_not_be_at_first(world: World) -> None:
    world.configure({"source": str(world.file), "refresh": 0.001})
    world.file.write_bytes(ROOT.crl(1))
    feed = world.feed()
    await feed.prepare()
    announced: list[int] = []
    down = True

    async def announce(generation: int) -> None:
        if down:
            raise StoreUnavailable("the database is locked")
        announced.append(generation)

    async with running(feed, announce):
        world.file.write_bytes(ROOT.crl(2, [5]))
        world.clock.advance(1)
        await until(lambda: world.generation == 2)
        assert announced == []
        down = False
        await until(lambda: announced == [2])
        world.file.write_bytes(ROOT.crl(3, [5, 6]))
        world.clock.advance(1)
        await until(lambda: announced == [2, 3])


async def test_the_metrics_say_how_long_the_lists_and_the_cas_last(world: World) -> None:
    world.configure()
    world.file.write_bytes(ROOT.crl(1, [5, 6], ends=NOW + 100))
    feed = world.feed()
    await feed.prepare()

    async def announce(generation: int) -> None: ...

    async with running(feed, announce):
        await until(lambda: metric("crl_seconds_left", authority="root") == 100)
        assert metric("crl_entries", authority="root") == 2
        assert metric("authority_not_after_seconds", authority="root") == NOW + 30 * DAY
        world.clock.advance(101)
        await until(lambda: metric("crl_seconds_left", authority="root") == -1)


async def test_a_source_that_hangs_holds_no_other_authority_up(world: World) -> None:
    never = asyncio.Event()
    other = Ca.root("other")
    async with served() as server:
        world.configure({"source": str(world.file), "refresh": 0.001})
        world.bank.add("other", other.certificate, crls=[{"source": server.address, "refresh": 0.001}])
        world.file.write_bytes(ROOT.crl(1))
        server.gives(other.crl(1))
        feed = world.feed()
        await feed.prepare()
        asked = len(server.asked)

        async def hang(_: Any) -> Any:
            await never.wait()

        server.answer = hang
        announced: list[int] = []

        async def announce(generation: int) -> None:
            announced.append(generation)

        async with running(feed, announce):
            world.clock.advance(1)
            await until(lambda: len(server.asked) > asked)
            world.file.write_bytes(ROOT.crl(2, [5]))
            world.clock.advance(1)
            await until(lambda: world.revoked(5))
            await until(lambda: announced[-1] == world.generation)
        never.set()


async def test_an_unforeseen_error_is_counted_and_the_feed_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.configure({"source": str(world.file), "refresh": 0.001})
    world.file.write_bytes(ROOT.crl(1))
    feed = world.feed()
    await feed.prepare()
    before = refusals("failed")

    async def announce(generation: int) -> None: ...

    def broken(*_: object) -> bool:
        raise RuntimeError("a mistake of ours")

    async with running(feed, announce):
        with monkeypatch.context() as patched:
            patched.setattr(Feed, "_is_known", broken)
            await until(lambda: refusals("failed") > before)
        world.file.write_bytes(ROOT.crl(2, [5]))
        world.clock.advance(1)
        await until(lambda: world.revoked(5))
    assert "a mistake of ours" in caplog.text


async def test_a_manifest_that_became_unreadable_is_said_and_survived(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.configure({"source": str(world.file), "refresh": 0.001})
    world.file.write_bytes(ROOT.crl(1))
    feed = world.feed()
    await feed.prepare()
    manifest = (world.bank.directory / "manifest.json").read_bytes()
    announced: list[int] = []

    async def announce(generation: int) -> None:
        announced.append(generation)

    async with running(feed, announce):
        await until(lambda: announced == [1])
        (world.bank.directory / "manifest.json").write_bytes(b"")
        await until(lambda: "manifest.json: cannot be read" in caplog.text)
        (world.bank.directory / "manifest.json").write_bytes(manifest)
        world.file.write_bytes(ROOT.crl(2, [5]))
        world.clock.advance(1)
        await until(lambda: announced == [1, 2])
