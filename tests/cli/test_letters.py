"""Letters are made once, private, and only their codes are good."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mtls_gateway.cli.letters import end_of_day
from mtls_gateway.cli.times import read_time
from mtls_gateway.issuance.code import KEY_PURPOSE, Code, digest, read_code
from mtls_gateway.model import CodeOutcome, CodeState
from mtls_gateway.signin.instance_secret import derive, load_instance_secret
from mtls_gateway.store.opening import Store
from mtls_gateway.store.schema import enrolment_codes
from mtls_gateway.store.users import NewUser

from .conftest import Colleague, Command

POSIX = 4_078_652_400.0
ISSUING = """
[issuance]
organisation = "Demo Shinkumi"
[[signer.issuers]]
name = "issuing"
active = true
certificate = "ca/issuing.cert.pem"
chain = ["ca/root.cert.pem"]
key = { kind = "pem", file = "ca/issuing.key.pem", unencrypted = true }
crl_url = "http://ib.localhost/issuing.crl"
"""


@pytest.fixture
def due(acme: Command, colleague: Colleague, home: Path) -> Command:
    """Letters of taro and hanako wait; the gateway has been started once."""
    with (home / "gateway.toml").open("a") as file:
        file.write(ISSUING)
    assert acme("user", "set-name", "hanako", "山田 花子").status == 0
    load_instance_secret(home / "state" / "instance.secret")
    colleague(lambda store: store.applications.receive_start("acme", POSIX, actor="alice"))
    colleague(lambda store: store.applications.approve(1, actor="bob"))
    return acme


def text_of(pdf: Path) -> str:
    return subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True).stdout


def codes_in(text: str) -> list[str]:
    return re.findall(r"(?:[2-9A-HJKMNP-Z]{4}-){4}[2-9A-HJKMNP-Z]{4}", text)


async def tried_by_both(store: Store, code: Code, key: bytes) -> list[CodeOutcome]:
    begin_try = store.codes.begin_try
    return [(await begin_try(user, code.locator, digest(code, key), limit=5)).outcome for user in ("hanako", "taro")]


@pytest.mark.needs("pdftotext")
def test_a_companys_letters_are_one_private_file_whose_codes_are_good(
    due: Command, colleague: Colleague, home: Path
) -> None:
    out = home / "letters.pdf"
    printed = due("letter", "print", "--company", "acme", "--out", out)
    assert printed.out.startswith(f"2 letters written to {out}; the codes are good until ")
    assert out.stat().st_mode & 0o777 == 0o600
    text = text_of(out)
    assert "山田 花子" in text and "taro" in text
    codes = dict.fromkeys(codes_in(text))
    assert len(codes) == 2
    key = derive(load_instance_secret(home / "state" / "instance.secret"), KEY_PURPOSE)
    for code in codes:
        read = read_code(code)
        outcomes = colleague(partial(tried_by_both, code=read, key=key))
        assert sorted(outcomes) == [CodeOutcome.MATCHED, CodeOutcome.WRONG]
    assert {one["state"] for one in due("code", "list", "--json").json} == {"open"}
    # What is kept tells nobody the codes.
    for file in (home / "state").glob("gateway.sqlite3*"):
        assert not any(read_code(code).symbols.encode() in file.read_bytes() for code in codes)


def test_letters_are_printed_once(due: Command, home: Path) -> None:
    assert due("letter", "print", "--user", "taro", "--out", home / "1.pdf").status == 0
    again = due("letter", "print", "--user", "taro", "--out", home / "2.pdf")
    assert again.err == "mtls-gateway: no letter of user taro waits to be printed; see: mtls-gateway code list\n"
    assert not (home / "2.pdf").exists()
    rest = due("letter", "print", "--company", "acme", "--out", home / "3.pdf", "--json").json
    assert (rest["letters"], rest["file"]) == (1, str(home / "3.pdf"))


@pytest.mark.parametrize("kind", ["a file", "a link to nowhere"])
def test_what_is_there_is_never_overwritten(kind: str, due: Command, home: Path) -> None:
    out = home / "letters.pdf"
    if kind == "a file":
        out.write_text("mine")
    else:
        out.symlink_to(home / "elsewhere")
    refused = due("letter", "print", "--company", "acme", "--out", out)
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "is there already" in refused.err
    assert not (home / "elsewhere").exists()
    assert {one["state"] for one in due("code", "list", "--json").json} == {"ordered"}


def test_where_nothing_can_be_written_no_code_is_made(due: Command, home: Path) -> None:
    refused = due("letter", "print", "--company", "acme", "--out", home / "nowhere" / "letters.pdf")
    assert refused.err.endswith("letters.pdf cannot be written: No such file or directory\n")
    assert {one["state"] for one in due("code", "list", "--json").json} == {"ordered"}


def test_codes_that_cannot_be_written_down_leave_no_file(due: Command, home: Path) -> None:
    """The disk is full at the last moment: the letters are there, the codes cannot be stored."""
    with sqlite3.connect(home / "state" / "gateway.sqlite3") as database:
        database.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON enrolment_codes WHEN NEW.user_id = 'taro' AND NEW.state = 'open' "
            "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    database.close()
    refused = due("letter", "print", "--company", "acme", "--out", home / "letters.pdf")
    assert (refused.status, refused.err.count("\n")) == (1, 1)
    assert "disk is full" in refused.err
    assert not list(home.glob("*.pdf"))
    assert {one["state"] for one in due("code", "list", "--json").json} == {"ordered"}


@pytest.mark.needs("pdftotext")
def test_two_who_print_at_once_leave_one_file_with_good_codes(due: Command, colleague: Colleague, home: Path) -> None:
    words = [sys.executable, "-m", "mtls_gateway", "--config", str(home / "gateway.toml"), "letter", "print"]
    files = [home / "1.pdf", home / "2.pdf"]
    both = [
        subprocess.Popen([*words, "--company", "acme", "--out", str(file)], stderr=subprocess.PIPE, text=True)
        for file in files
    ]
    said = [one.communicate(timeout=60)[1] for one in both]
    assert sorted(one.returncode for one in both) == [0, 1], said
    lost = both.index(next(one for one in both if one.returncode))
    assert "waits to be printed" in said[lost] or "is not waiting for its letter any more" in said[lost]
    assert not files[lost].exists()
    for code in codes_in(text_of(files[1 - lost])):
        read = read_code(code)
        found = [one.locator for one in colleague(open_codes)]
        assert read.locator in found


async def open_codes(store: Store) -> list[Any]:
    async with store._database.reading("look") as connection:
        query = select(enrolment_codes).where(enrolment_codes.c.state == CodeState.OPEN)
        return list(await connection.execute(query))


def test_where_nothing_is_issued_nothing_is_printed(acme: Command, home: Path) -> None:
    refused = acme("letter", "print", "--user", "taro", "--out", home / "x.pdf")
    assert "issuance: is left out" in refused.err
    both = acme("letter", "print", "--user", "taro", "--company", "acme", "--out", home / "x.pdf")
    assert both.err == "mtls-gateway: give either --company or --user\n"


def test_a_code_is_good_to_the_end_of_a_day_in_japan() -> None:
    assert end_of_day(read_time("2027-03-01T00:00"), 80) == read_time("2027-05-21")
    assert end_of_day(read_time("2027-03-01T23:59:59"), 80) == read_time("2027-05-21")
    assert end_of_day(read_time("2027-03-02"), 80) == read_time("2027-05-22")


def test_a_company_of_5000_users_has_its_letters_within_seconds(due: Command, colleague: Colleague, home: Path) -> None:
    added = [NewUser(f"g{number:04}", "acme") for number in range(5_000)]
    colleague(lambda store: store.users.add(added, actor="test"))
    number = colleague(lambda store: store.applications.receive_start("acme", actor="alice"))
    colleague(lambda store: store.applications.approve(number, actor="bob"))
    began = time.monotonic()
    assert due("letter", "print", "--company", "acme", "--out", home / "all.pdf", "--json").json["letters"] == 5_002
    assert time.monotonic() - began < 60.0
    states = colleague(lambda store: store.codes.all(company_id="acme"))
    assert {code.state for code in states} == {CodeState.OPEN}
