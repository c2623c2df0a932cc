from __future__ import annotations

from .conftest import Command


def test_a_company_is_created_listed_and_shown(acme: Command) -> None:
    expected = {
        "company": "acme",
        "name_ja": "株式会社アクメ",
        "name_en": None,
        "method": "password",
        "deadline": None,
        "suspended": False,
        "users": 2,
        "with_certificate": 0,
    }
    assert acme("company", "list", "--json").json == [expected]
    assert acme("company", "show", "acme", "--json").json == expected
    table = acme("company", "list").out.splitlines()
    assert table[0].split() == [
        "company",
        "name",
        "ja",
        "name",
        "en",
        "method",
        "deadline",
        "suspended",
        "users",
        "with",
        "certificate",
    ]
    assert table[1].split() == ["acme", "株式会社アクメ", "-", "password", "-", "no", "2", "0"]


def test_a_japanese_name_does_not_shift_the_columns(acme: Command) -> None:
    acme("company", "create", "b", "--name-ja", "ベ", "--name-en", "Beta")
    head, one, two = acme("company", "list").out.splitlines()
    # A Japanese character takes two columns of the terminal.
    assert head.index("name en") == one.index("-") + 7 == two.index("Beta") + 1


def test_a_company_migrates_until_a_deadline_in_japan(acme: Command) -> None:
    done = acme("company", "method", "acme", "migrating", "--deadline", "2099-04-01", "--json")
    assert done.json == {
        "company": "acme",
        "method": "migrating",
        "deadline": "2099-04-01T00:00:00+09:00",
        "sessions_ended": 0,
    }
    assert acme("company", "method", "acme", "certificate").out == (
        "company acme is on the method certificate; 0 sessions ended\n"
    )
    for words, cause in (
        (["migrating"], "needs a deadline"),
        (["certificate", "--deadline", "2099-04-01"], "goes with the method migrating only"),
        (["migrating", "--deadline", "2001-04-01"], "the deadline has passed"),
        (["migrating", "--deadline", "tomorrow"], "'tomorrow' is not a time"),
    ):
        refused = acme("company", "method", "acme", *words)
        assert refused.status == 2
        assert cause in refused.err


def test_a_company_is_suspended_and_resumed(acme: Command) -> None:
    assert acme("company", "suspend", "acme").out == "company acme is suspended; 0 sessions ended\n"
    assert acme("company", "show", "acme", "--json").json["suspended"]
    assert acme("company", "resume", "acme").status == 0
    assert not acme("company", "show", "acme", "--json").json["suspended"]


def test_a_company_that_exists_is_refused(acme: Command) -> None:
    refused = acme("company", "create", "acme", "--name-ja", "別")
    assert (refused.status, refused.err) == (
        1,
        "mtls-gateway: there is a company acme already; see: mtls-gateway company show acme\n",
    )
