"""A backup is whole and consistent whatever the store is and whoever writes meanwhile; a restore is all or nothing."""

from __future__ import annotations

import asyncio
import gzip
import tarfile
from pathlib import Path

import pytest

from mtls_gateway.app.backup import back_up, restore
from mtls_gateway.app.rows import open_rows
from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Configuration, Store, read_configuration
from mtls_gateway.errors import StateError
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.users import NewUser
from tests.cli.conftest import home, made  # noqa: F401 - fixtures
from tests.postgres_server import PostgresServer

NOW = 1_800_000_000.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def _with_store(configuration: Configuration, url: str | None, state: Path) -> Configuration:
    state.mkdir(mode=0o700)
    return configuration.model_copy(update={"store": Store(url=url), "state": state})


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
async def configuration(
    request: pytest.FixtureRequest,
    home: Path,  # noqa: F811
    clock: ManualClock,
) -> Configuration:
    """A store with a company of two users."""
    url = None
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.url(server.new_database())
    found = _with_store(read_configuration(home / "gateway.toml"), url, home / "old")
    await migrate(found.database_url, clock)
    store = await open_rows(found, clock)
    await store.companies.create("acme", "株式会社アクメ", None, actor="test")
    await store.users.add([NewUser("taro", "acme"), NewUser("hanako", "acme")], actor="test")
    await store.close()
    return found


def _drafts(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


async def _users(configuration: Configuration, clock: ManualClock) -> list[str]:
    store = await open_rows(configuration, clock)
    try:
        assert (await store.audit.verify()).faults == ()
        return [one.user.user_id for one in await store.users.all()]
    finally:
        await store.close()


async def test_what_was_backed_up_is_there_again_secret_and_audit_log_included(
    configuration: Configuration, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    made_backup = await back_up(configuration, file, clock)
    assert file.stat().st_mode & 0o777 == 0o600
    other = _with_store(configuration, None, tmp_path / "new")
    restored = await restore(other, file, clock)
    assert restored == made_backup
    assert await _users(other, clock) == ["hanako", "taro"]
    secrets = [(one.state / "instance.secret").read_bytes() for one in (configuration, other)]
    assert secrets[0] == secrets[1]
    assert _drafts(tmp_path) == []


async def test_a_backup_is_of_one_moment_though_others_write(
    configuration: Configuration, clock: ManualClock, tmp_path: Path
) -> None:
    store = await open_rows(configuration, clock)
    stop, under_way = asyncio.Event(), asyncio.Event()
    written = 0

    async def write() -> None:
        nonlocal written
        while not stop.is_set():
            # A user and its line in the audit log: never one without the other.
            await store.users.add([NewUser(f"user{written}", "acme")], actor="test")
            written += 1
            if written == 3:
                under_way.set()

    writing = asyncio.create_task(write())
    await under_way.wait()
    files = [tmp_path / f"backup{number}" for number in range(3)]
    for file in files:
        await back_up(configuration, file, clock)
    at_the_end = written
    stop.set()
    await writing
    await store.close()
    counts = []
    for number, file in enumerate(files):
        other = _with_store(configuration, None, tmp_path / f"new{number}")
        backup = await restore(other, file, clock)
        counts.append(backup.rows["users"])
        assert len(await _users(other, clock)) == backup.rows["users"]
        assert backup.rows["audit"] == backup.rows["users"] + 1
    assert 2 < counts[0] <= counts[1] <= counts[2] <= at_the_end + 3


async def test_a_store_with_rows_is_not_touched(
    configuration: Configuration, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    await back_up(configuration, file, clock)
    store = await open_rows(configuration, clock)
    await store.users.add([NewUser("jiro", "acme")], actor="test")
    await store.close()
    with pytest.raises(StateError, match="has rows in"):
        await restore(configuration, file, clock)
    assert await _users(configuration, clock) == ["hanako", "jiro", "taro"]


async def test_another_instance_secret_is_not_replaced(
    configuration: Configuration, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    await back_up(configuration, file, clock)
    other = _with_store(configuration, None, tmp_path / "new")
    (other.state / "instance.secret").write_bytes(b"s" * 32)
    with pytest.raises(StateError, match=r"instance\.secret is another one than the backup's"):
        await restore(other, file, clock)
    assert not (other.state / "gateway.sqlite3").exists()


async def test_a_file_that_is_there_is_not_written_over(
    configuration: Configuration, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    file.write_text("mine")
    with pytest.raises(StateError, match="is there already"):
        await back_up(configuration, file, clock)
    with pytest.raises(StateError, match="is not there; make it"):
        await back_up(configuration, tmp_path / "nowhere" / "backup", clock)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("damage", ["cut", "changed", "other", "text"])
async def test_a_damaged_file_changes_nothing(
    damage: str, configuration: Configuration, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    await back_up(configuration, file, clock)
    octets = file.read_bytes()
    match damage:
        case "cut":
            file.write_bytes(octets[: len(octets) // 2])
        case "changed":
            whole = bytearray(gzip.decompress(octets))
            place = whole.rindex("株式会社アクメ".encode())
            whole[place] ^= 1
            file.write_bytes(gzip.compress(whole))
        case "other":
            with tarfile.open(file, "w:gz") as archive:
                archive.add(__file__, "../../etc/passwd")
        case _:
            file.write_text("not a backup")
    other = _with_store(configuration, None, tmp_path / "new")
    with pytest.raises(StateError, match=r"not a (?:whole )?backup|not whole"):
        await restore(other, file, clock)
    assert list(other.state.iterdir()) == []
