"""A bank operator's day: application, approval by a colleague, codes, progress."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mtls_gateway.store.users import NewUser

from .conftest import Colleague, Command

DEADLINE = "2099-04-01"
POSIX = 4_078_652_400.0


@pytest.fixture
def waiting(acme: Command, colleague: Colleague) -> Command:
    """A colleague has received acme's application: number 1."""
    colleague(lambda store: store.applications.receive_start("acme", POSIX, actor="alice", account=4711))
    return acme


def test_one_operator_receives_and_another_approves(acme: Command, colleague: Colleague) -> None:
    received = acme("application", "receive", "acme", "--deadline", DEADLINE)
    assert received.out == (
        "application 1 of company acme for 2 users was received; another operator must approve it\n"
    )
    refused = acme("application", "approve", "1")
    assert (refused.status, refused.out) == (1, "")
    assert "application 1 was received by" in refused.err and "another person must approve it" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert acme("application", "list", "--waiting", "--json").json[0]["state"] == "received"
    assert acme("letter", "list").out == "no letter waits to be printed\n"
    colleague(lambda store: store.applications.approve(1, actor="alice", account=4711))
    shown = acme("application", "show", "1", "--json").json
    assert (shown["state"], shown["decided_by"], shown["deadline"]) == (
        "approved",
        "alice",
        "2099-04-01T00:00:00+09:00",
    )
    assert [(one["user"], one["stage"]) for one in shown["list"]] == [("hanako", "letter_due"), ("taro", "letter_due")]
    audit = [line.action for line in colleague(lambda store: store.audit.lines())]
    assert audit.count("application.refuse") == 1


def test_a_colleagues_application_is_approved(waiting: Command) -> None:
    assert waiting("application", "approve", "1").out == (
        "application 1 is approved; 2 letters of company acme wait to be printed\n"
    )
    company = waiting("company", "show", "acme", "--json").json
    assert (company["method"], company["deadline"]) == ("migrating", "2099-04-01T00:00:00+09:00")
    codes = waiting("code", "list", "--company", "acme", "--json").json
    assert [(one["user"], one["purpose"], one["state"]) for one in codes] == [
        ("taro", "first", "ordered"),
        ("hanako", "first", "ordered"),
    ]
    assert waiting("application", "approve", "1").err == (
        f"mtls-gateway: application 1 was approved before, by {codes[0]['ordered_by']}\n"
    )


def test_an_application_can_be_withdrawn(waiting: Command) -> None:
    assert waiting("application", "withdraw", "1").out == "application 1 is withdrawn\n"
    assert "was withdrawn before" in waiting("application", "approve", "1").err
    assert waiting("application", "list", "--waiting").out == "there are no such applications\n"
    assert waiting("company", "show", "acme", "--json").json["method"] == "password"


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("application", "receive", "nowhere", "--deadline", DEADLINE), "there is no company nowhere"),
        (("application", "receive", "acme"), "is on the password method; give the deadline"),
        (("application", "receive", "acme", "--deadline", "2020-01-01"), "the deadline has passed"),
        (("application", "receive", "acme", "--deadline", "tomorrow"), "'tomorrow' is not a time"),
        (("application", "receive-reissue", "nobody"), "there is no user nobody"),
        (("application", "receive-reissue", "taro"), "is on the password method"),
        (("application", "approve", "7"), "there is no application 7; see: mtls-gateway application list"),
        (("application", "approve", "0"), "Invalid value for 'N'"),
        (("application", "show", "x"), "Invalid value for 'N'"),
        (("code", "order", "nobody"), "there is no user nobody"),
        (("code", "order", "taro"), "is on the password method; it has to apply first"),
        (("code", "withdraw", "taro"), "user taro has no enrolment code that could be used"),
        (("company", "progress", "nowhere"), "there is no company nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(words: tuple[str, ...], cause: str, acme: Command) -> None:
    refused = acme(*words)
    assert refused.status in (1, 2)
    assert cause in refused.err
    assert (len(refused.err.splitlines()), refused.out) == (1, "")


def test_a_lost_letter_is_ordered_again_and_a_code_can_be_taken_back(waiting: Command) -> None:
    waiting("application", "approve", "1")
    assert waiting("code", "withdraw", "taro").out == "the enrolment code of user taro is void\n"
    ordered = waiting("code", "order", "taro")
    assert ordered.out == ("a code is ordered for user taro (first); print its letter with: letter print --user taro\n")
    assert [one["state"] for one in waiting("code", "list", "--user", "taro", "--json").json] == ["ordered", "void"]


def test_a_reissue_by_the_bank_revokes_at_once(acme: Command, colleague: Colleague, home: Path) -> None:
    issued = acme("ca", "issue", "--user-id", "taro", "--out", home, "--register", "--directory", home / "ca")
    assert issued.status == 0
    assert acme("company", "method", "acme", "certificate").status == 0
    received = acme("application", "receive-reissue", "taro")
    assert received.out == (
        "application 1 for 1 user was received; their certificates are revoked and 0 sessions ended; "
        "another operator must approve it\n"
    )
    assert acme("certificate", "list", "--json").json[0]["state"] == "revoked"
    assert acme("application", "approve", "1").status == 1
    assert "another takes an application" in acme("code", "order", "taro").err
    colleague(lambda store: store.applications.approve(1, actor="alice", account=4711))
    assert acme("letter", "list", "--json").json == [
        {"company": "acme", "user": "taro", "name": None, "purpose": "reissue"}
    ]


def test_progress_says_who_has_yet_to_acquire(waiting: Command) -> None:
    before = waiting("company", "progress", "acme", "--json").json
    assert (before["users"], before["not_applied"], before["acquired"], before["days_left"]) == (2, 2, 0, None)
    waiting("application", "approve", "1")
    shown = waiting("company", "progress", "acme", "--json").json
    assert (shown["letter_due"], shown["acquired"], shown["deadline"]) == (2, 0, "2099-04-01T00:00:00+09:00")
    assert shown["days_left"] > 20_000
    assert [(one["user"], one["stage"]) for one in shown["list"]] == [("hanako", "letter_due"), ("taro", "letter_due")]
    printed = waiting("company", "progress", "acme").out
    assert "letter due" in printed and "hanako" in printed


def test_progress_of_5000_users_takes_seconds(acme: Command, colleague: Colleague) -> None:
    added = [NewUser(f"g{number:04}", "acme") for number in range(5_000)]
    colleague(lambda store: store.users.add(added, actor="test"))
    number = colleague(lambda store: store.applications.receive_start("acme", POSIX, actor="alice"))
    assert acme("application", "approve", number).status == 0
    began = time.monotonic()
    shown = acme("company", "progress", "acme", "--json").json
    assert time.monotonic() - began < 5.0
    assert (shown["users"], shown["letter_due"]) == (5_002, 5_002)
