from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import ISSUER, Command


def _import(acme: Command, file: Path, text: str, *more: str) -> list[str]:
    file.write_text(text)
    ran = acme("certificate", "import", file, *more)
    return [line.removeprefix(f"mtls-gateway: {file}:") for line in (ran.out + ran.err).splitlines()]


def test_certificates_are_imported_in_hexadecimal_and_in_decimal(acme: Command, tmp_path: Path) -> None:
    said = _import(
        acme,
        tmp_path / "c.csv",
        "issuer,serial_hex,serial_decimal,user_id,not_after\n"
        f'"{ISSUER}",0A:FF,,taro,2027-11-24T23:59:59+09:00\n'
        "issuing,,2815,hanako,\n".replace("2815", "10"),
    )
    assert said == ["2 certificates imported"]
    hanako, taro = acme("certificate", "list", "--json").json
    assert (taro["serial"], taro["issuer"], taro["not_after"]) == ("0aff", ISSUER, "2027-11-24T23:59:59+09:00")
    assert (hanako["serial"], hanako["issuer"], hanako["state"]) == ("0a", ISSUER, "valid")


def test_every_bad_row_is_named_and_nothing_imported(acme: Command, tmp_path: Path) -> None:
    head = "issuer,serial_hex,user_id\n"
    assert _import(acme, tmp_path / "c.csv", head + "issuing,01,taro\n") == ["1 certificate imported"]
    said = _import(
        acme,
        tmp_path / "c.csv",
        head + "issuing,02,nobody\nissuing,01,hanako\nissuing,03,taro\nissuing,04,hanako\nissuing,04,hanako\n",
    )
    assert [line.split(";")[0] for line in said[:-1]] == [
        "2: there is no user nobody",
        f"3: certificate 01 of {ISSUER} is registered already",
        "4: user taro has a valid certificate",
        "5: user hanako is given a second valid certificate",
        f"6: certificate 04 of {ISSUER} is given twice",
    ]
    assert len(acme("certificate", "list", "--json").json) == 1


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("issuing,xyz,,taro,", "'xyz' is not a serial number in hexadecimal"),
        ("issuing,01,1,taro,", "give the serial in one of the columns"),
        ("issuing,,,taro,", "give the serial in one of the columns"),
        ("issuing,,-1,taro,", "'-1' is not a serial number in decimal"),
        (f"issuing,,{1 << 160},taro,", "of at most 20 octets"),
        ("issuing,,0x10,taro,", "'0x10' is not a serial number in decimal"),
        ('"CN=Other CA,C=JP",01,,taro,', "is none of the configuration's"),
        ("Our CA,01,,taro,", "is not a distinguished name"),
        ("issuing,01,,taro,2027-11-24", "has no time of day"),
        ("issuing,01,,taro,2027-11-24T99:00", "is not a time"),
        ("issuing,01,,,", "user_id is empty"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(row: str, cause: str, acme: Command, tmp_path: Path) -> None:
    said = _import(acme, tmp_path / "c.csv", f"issuer,serial_hex,serial_decimal,user_id,not_after\n{row}\n")
    assert said[0].startswith("2: ")
    assert cause in said[0]
    assert acme("certificate", "list", "--json").json == []


def test_an_issuer_that_is_not_configured_is_taken_only_when_asked_for(acme: Command, tmp_path: Path) -> None:
    said = _import(acme, tmp_path / "c.csv", 'issuer,serial_hex,user_id\n"CN=Next CA, C=JP",01,taro\n', "--any-issuer")
    assert said == ["1 certificate imported"]
    assert acme("certificate", "list", "--json").json[0]["issuer"] == "CN=Next CA,C=JP"


def test_a_certificate_is_revoked_by_serial_or_by_user(acme: Command, tmp_path: Path) -> None:
    _import(acme, tmp_path / "c.csv", "issuer,serial_hex,user_id\nissuing,01,taro\nroot,01,hanako\n")
    both = acme("certificate", "revoke", "01")
    assert both.status == 1
    assert "several issuers have issued this serial; say which with --issuer" in both.err
    assert "is no reason of RFC 5280" in acme("certificate", "revoke", "--user", "taro", "--reason", "lost PC").err
    revoked = acme("certificate", "revoke", "01", "--issuer", ISSUER, "--reason", "keyCompromise")
    assert revoked.out == f"revoked: certificate 01 of {ISSUER}; 0 sessions ended\n"
    assert acme("certificate", "revoke", "01", "--issuer", ISSUER).err.endswith("was revoked before\n")
    assert acme("certificate", "revoke", "--user", "hanako", "--json").json == {"revoked": 1, "sessions_ended": 0}
    assert "user hanako has no certificate to revoke" in acme("certificate", "revoke", "--user", "hanako").err
    assert "no certificate has this serial" in acme("certificate", "revoke", "99").err
    assert acme("certificate", "revoke").status == 2
    assert acme("certificate", "list", "--usable").out == "there are no such certificates\n"
