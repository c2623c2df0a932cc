"""What a list would do, said before it does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.model import CertificateId
from mtls_gateway.trust.authority import BundledAuthority
from mtls_gateway.trust.dry_run import Forecast, Holder, forecast
from tests.trust.authority_maker import DAY, NOW, Bank, Ca

ROOT = Ca.root("root")
NAME = "CN=root,C=JP"
HOLDERS = [
    Holder(CertificateId(NAME, 1), "taro", signed_in=True),
    Holder(CertificateId(NAME, 2), "hanako", signed_in=False),
    Holder(CertificateId(NAME, 3), "jiro", signed_in=True),
    Holder(CertificateId("CN=other,C=JP", 1), "saburo", signed_in=True),
]


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    made = Bank(tmp_path)
    made.add("root", ROOT.certificate, crls=[made.crl("root.crl", ROOT.crl(10, [9]))])
    return made


def foreseen(bank: Bank, octets: bytes) -> Forecast:
    authority: BundledAuthority = next(iter(bank.bundle()))
    return forecast(octets, "new.crl", authority, bank.revocation().of("root"), HOLDERS, NOW)


def test_it_says_whom_the_list_would_refuse_and_whom_of_them_it_would_cut(bank: Bank) -> None:
    found = foreseen(bank, ROOT.crl(11, [1, 2, 50]))
    assert [holder.user_id for holder in found.revoked] == ["taro", "hanako"]
    assert [holder.user_id for holder in found.cut] == ["taro"]
    assert (found.number, found.entries, found.stale) == (11, 3, False)
    assert (found.this_update, found.next_update) == (NOW - 60, NOW + DAY)


def test_it_says_that_a_list_would_be_stale_from_the_start(bank: Bank) -> None:
    assert foreseen(bank, ROOT.crl(11, ends=NOW)).stale


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "empty"),
        (Ca.root("other").crl(11), "wrong_issuer"),
        (ROOT.crl(9), "rolled_back"),
        (ROOT.crl(50, points=["http://crl.example/a"], begins=NOW - DAY), "rolled_back"),
        (ROOT.crl(11, removed=[1]), "malformed"),
    ],
    ids=["empty", "another issuer's", "rolled back", "older, of another scope", "entries not understood"],
)
def test_a_list_that_would_not_be_taken_is_refused_with_its_cause(bank: Bank, octets: bytes, reason: str) -> None:
    with pytest.raises(TrustMaterialError, match=r"^new\.crl: ") as refused:
        foreseen(bank, octets)
    assert refused.value.reason == reason


def test_nothing_is_changed_by_asking(bank: Bank) -> None:
    before = sorted(path.name for path in bank.directory.iterdir()) if bank.directory.exists() else []
    bank.revocation()
    compiled = sorted(path.name for path in bank.directory.iterdir())
    foreseen(bank, ROOT.crl(11, [1]))
    assert sorted(path.name for path in bank.directory.iterdir()) == compiled
    assert before == []
