from __future__ import annotations

import sqlite3
from pathlib import Path

from mtls_gateway.store.schema import REVISION

from .conftest import Command


def test_the_tables_are_made_and_left_as_they_are(command: Command, home: Path) -> None:
    for _ in range(2):
        assert command("store", "migrate").out == f"the tables are of version {REVISION}\n"
    assert (home / "state").stat().st_mode & 0o777 == 0o700


def test_tables_of_another_version_are_not_touched_by_any_other_command(command: Command, home: Path) -> None:
    command("store", "migrate")
    with sqlite3.connect(home / "state" / "gateway.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()
    refused = command("company", "list")
    assert refused.status == 1
    assert "stop the gateway and run: mtls-gateway store migrate" in refused.err


def test_what_is_old_is_forgotten(acme: Command) -> None:
    assert acme("store", "prune", "--days", "1", "--json").json == {"changes": 0, "sessions": 0}
    assert acme("store", "prune", "--days", "0").status == 2


def test_a_store_that_is_no_database_is_one_line(command: Command, home: Path) -> None:
    (home / "state").mkdir(0o700)
    (home / "state" / "gateway.sqlite3").write_bytes(b"nonsense" * 200)
    refused = command("company", "list")
    assert refused.status == 1
    assert "is not a database" in refused.err
    assert refused.err.count("\n") == 1
