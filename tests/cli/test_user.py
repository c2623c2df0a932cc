from __future__ import annotations

import io
from pathlib import Path

import pytest

from .conftest import Colleague, Command


def test_users_are_listed_with_what_keeps_them_out(acme: Command) -> None:
    assert acme("user", "stop", "taro").out == "user taro is stopped; 0 sessions ended\n"
    hanako, taro = acme("user", "list", "--company", "acme", "--json").json
    assert (taro["administrator"], taro["email"], taro["stopped_by"]) == (True, "taro@example.co.jp", "operator")
    assert (hanako["administrator"], hanako["email"], hanako["stopped_by"]) == (False, None, None)
    assert acme("user", "release", "taro").status == 0
    assert acme("user", "list", "--json").json[1]["stopped_by"] is None
    assert acme("user", "list", "--company", "nowhere").out == "there are no such users\n"


def test_an_import_of_users_is_all_or_nothing(acme: Command, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text(
        "user_id,company_id,administrator,email\r\njiro,acme,yes,jiro@example.co.jp\r\n\r\nsaburo,acme,no,\r\n",
        encoding="utf-8-sig",
    )
    assert acme("user", "import", file).out == "2 users imported\n"
    file.write_text("user_id,company_id,administrator\ngoro,acme,\ntaro,acme,\nrokuro,nowhere,\n")
    refused = acme("user", "import", file)
    assert refused.status == 1
    assert refused.err.splitlines() == [
        f"mtls-gateway: {file}:3: there is a user taro already",
        f"mtls-gateway: {file}:4: there is no company nowhere",
        f"mtls-gateway: nothing was imported: {file} has 2 bad rows",
    ]
    file.write_text("user_id,company_id,administrator\ngoro,acme,perhaps\n,acme,\n")
    assert acme("user", "import", file).err.splitlines()[:2] == [
        f"mtls-gateway: {file}:2: administrator is 'perhaps'; write yes or no",
        f"mtls-gateway: {file}:3: user_id is empty",
    ]
    assert len(acme("user", "list", "--json").json) == 4


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "users.csv:1: the header must name user_id, company_id"),
        (b"user_id,company_id\n", "has no rows below its header"),
        (b"taro,acme\n", "the header must name"),
        (b"user_id,company_id,password\n", "the header must name"),
        (b"user_id,company_id\nx,acme,more\n", "users.csv:2: has 3 cells, the header has 2"),
        ("user_id,company_id\n太郎,acme\n".encode("cp932"), "is not UTF-8"),
        (b'user_id,company_id\n"x,acme\n', "is not CSV"),
        (b"user_id,company_id\nx\0y,acme\n", "users.csv:2: user ID 'x\\x00y' will not do"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content: bytes, cause: str, acme: Command, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_bytes(content)
    refused = acme("user", "import", file)
    assert refused.status in (1, 2)
    assert cause in refused.err
    assert acme("user", "import", tmp_path / "nowhere.csv").err.endswith("cannot be read: No such file or directory\n")


def test_a_user_has_a_name_and_an_address_that_can_be_changed(acme: Command, colleague: Colleague) -> None:
    assert (
        acme("user", "create", "jiro", "--company", "acme", "--name", "山田 次郎", "--email", "j@example.co.jp").status
        == 0
    )
    assert acme("user", "set-email", "jiro", "jiro@example.co.jp").out == (
        "the mail address of user jiro is jiro@example.co.jp; all concerned are told\n"
    )
    told = sorted((mail.recipient_id, mail.address) for mail in colleague(lambda store: store.outbox.all()))
    assert told == [("jiro", "j@example.co.jp"), ("jiro", "jiro@example.co.jp"), ("taro", "taro@example.co.jp")]
    assert acme("user", "set-name", "jiro", "山田 二郎", "--json").json == {"user": "jiro", "name": "山田 二郎"}
    jiro = acme("user", "list", "--json").json[1]
    assert (jiro["name"], jiro["email"]) == ("山田 二郎", "jiro@example.co.jp")
    assert acme("user", "set-email", "jiro", "none", "--json").json == {"user": "jiro", "email": None}
    assert acme("user", "set-email", "jiro", "nowhere").err == "mtls-gateway: 'nowhere' is not a mail address\n"
    assert "will not do" in acme("user", "set-name", "jiro", "山\x1b田").err
    assert "there is no user nobody" in acme("user", "set-name", "nobody", "誰").err


def test_an_import_brings_names(acme: Command, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text("user_id,company_id,name\njiro,acme,山田 次郎\n")
    assert acme("user", "import", file).out == "1 user imported\n"
    assert acme("user", "list", "--json").json[1]["name"] == "山田 次郎"
    file.write_text('user_id,company_id,name\ngoro,acme,"山\u200b田"\n')
    assert f"{file}:2: name '山\\u200b田' will not do" in acme("user", "import", file).err


def test_a_local_password_is_read_from_standard_input(acme: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    assert acme("user", "password", "taro").out == "the password of user taro was set\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert "no password was given" in acme("user", "password", "taro").err
    assert acme("user", "password", "taro", "--remove").out == "the password of user taro was removed\n"


def test_an_id_that_could_be_misread_is_refused(acme: Command) -> None:
    refused = acme("user", "create", "太郎", "--company", "acme")
    assert refused.status == 1
    assert "user ID '太郎' will not do" in refused.err
