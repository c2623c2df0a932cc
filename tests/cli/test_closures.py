from __future__ import annotations

from tests.cli.conftest import Command


def test_the_service_is_stopped_and_released(acme: Command) -> None:
    assert "stopped for everybody" in acme("emergency", "stop", "--all", "--note-ja", "障害対応中です").out
    (row,) = acme("--json", "maintenance", "list").json
    assert (row["kind"], row["ends"], row["note_ja"]) == ("emergency", None, "障害対応中です")
    assert acme("emergency", "stop", "--all").status == 1
    assert acme("emergency", "release", "--all").out == "the service is open again\n"
    assert acme("emergency", "release", "--all").status == 1
    assert acme("--json", "maintenance", "list").json == []
    assert len(acme("--json", "maintenance", "list", "--all").json) == 1


def test_a_company_and_a_user_are_stopped_where_they_are_suspended_and_stopped(acme: Command) -> None:
    assert acme("emergency", "stop", "--company", "acme").status == 0
    assert acme("--json", "company", "show", "acme").json["suspended"] is True
    assert acme("emergency", "release", "--company", "acme").status == 0
    assert acme("--json", "company", "show", "acme").json["suspended"] is False
    assert acme("emergency", "stop", "--user", "taro").out == "user taro is stopped; 0 sessions ended\n"
    assert acme("emergency", "release", "--user", "taro").status == 0


def test_it_must_be_said_whom(acme: Command) -> None:
    for words in ((), ("--all", "--user", "taro"), ("--user", "taro", "--company", "acme")):
        ran = acme("emergency", "stop", *words)
        assert (ran.status, "say whom" in ran.err) == (2, True)
    assert acme("emergency", "stop", "--user", "taro", "--note-en", "x").status == 2
    assert acme("emergency", "stop", "--user", "nobody").status == 1


def test_a_window_is_planned_and_taken_back(acme: Command) -> None:
    planned = acme("--json", "maintenance", "plan", "--from", "2099-01-01T00:00", "--to", "2099-01-04T00:00").json
    assert planned["begins"].startswith("2099-01-01T00:00:00+09:00")
    (row,) = acme("--json", "maintenance", "list").json
    assert (row["closure"], row["kind"]) == (planned["closure"], "maintenance")
    assert acme("maintenance", "cancel", planned["closure"]).status == 0
    assert acme("--json", "maintenance", "list").json == []
    assert acme("maintenance", "cancel", planned["closure"]).status == 1
    assert acme("maintenance", "plan", "--from", "2099-01-04", "--to", "2099-01-01").status == 2
