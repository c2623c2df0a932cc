from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.cli.conftest import Command


def test_a_whole_log_says_how_many_lines_it_has(acme: Command) -> None:
    ran = acme("audit", "verify")
    assert (ran.status, ran.out) == (0, "the audit log is whole: 3 lines\n")
    assert acme("--json", "audit", "verify").json == {"lines": 3, "unchained": 0, "faults": 0}


def test_lines_tell_who_did_what(acme: Command) -> None:
    lines = acme("--json", "audit", "list").json
    assert [(line["line"], line["action"], line["subject"]) for line in lines] == [
        (1, "company.create", "acme"),
        (2, "user.create", "taro"),
        (3, "user.create", "hanako"),
    ]
    assert acme("--json", "audit", "list", "--after", "2").json == lines[2:]


def test_a_changed_line_is_a_fault_and_status_1(acme: Command, home: Path) -> None:
    with sqlite3.connect(home / "state" / "gateway.sqlite3") as database:
        database.execute("UPDATE audit SET actor = 'nobody' WHERE sequence = 2")
    database.close()
    ran = acme("audit", "verify")
    assert ran.status == 1
    assert "line 2 does not follow from the line before it" in ran.err
    assert acme("--json", "audit", "verify").json["faults"]


def test_a_head_kept_elsewhere_is_gone_on_from(acme: Command) -> None:
    kept = acme("--json", "audit", "head").json["since"]
    assert acme("user", "stop", "taro").status == 0
    assert acme("audit", "verify", "--since", kept).status == 0
    other = kept.partition(":")[0] + ":" + "00" * 32
    assert "is not the one whose chain was written down" in acme("audit", "verify", "--since", other).err
    assert acme("audit", "verify", "--since", "3").status == 2
