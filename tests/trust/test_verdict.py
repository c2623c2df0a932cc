"""Is it good now? Time to the very second, revocation on every path, and what is not known refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.clock import ManualClock
from mtls_gateway.model import CertificateId, PeerCertificate
from mtls_gateway.trust.revocation import Revocation
from mtls_gateway.trust.verdict import Accepted, Judge, Refused
from tests.trust.authority_maker import DAY, NOW, Bank, Ca, key_named, peer, said

A, B = "http://crl.example/a", "http://crl.example/b"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@pytest.fixture
def root() -> Ca:
    return Ca.root("root")


@pytest.fixture
def issuing(root: Ca) -> Ca:
    return root.ca("issuing")


def test_what_is_accepted_is_accepted_until_the_first_thing_ends(bank: Bank, root: Ca, issuing: Ca) -> None:
    bank.add("root", root.certificate, crls=[bank.crl("root.crl", root.crl(ends=NOW + 500))])
    bank.add("issuing", issuing.certificate, crls=[bank.crl("issuing.crl", issuing.crl(ends=NOW + 400))])
    leaf = issuing.leaf()
    verdict = bank.judge().judge(peer(leaf), NOW)
    assert isinstance(verdict, Accepted)
    assert verdict.certificate == CertificateId("CN=issuing,C=JP", leaf.serial_number)
    assert (verdict.good_until, verdict.generation) == (NOW + 400, 1)
    assert verdict.not_after == NOW + 30 * DAY


# --- time ---------------------------------------------------------------------------------------


def test_a_certificate_is_good_from_its_first_second_to_its_last(bank: Bank, root: Ca) -> None:
    bank.add("root", root.certificate)
    judge, clock = bank.judge(), ManualClock(NOW - 0.001)
    leaf = root.leaf(begins=NOW, ends=NOW + 10)
    assert said(judge, leaf, clock.now()) == "certificate_not_yet_valid"
    clock.set(NOW)
    verdict = judge.judge(peer(leaf), clock.now())
    assert isinstance(verdict, Accepted)
    assert verdict.good_until == NOW + 11
    # RFC 5280, section 4.1.2.5: through notAfter, inclusive.
    clock.advance(10.999)
    assert said(judge, leaf, clock.now()) == "accepted"
    clock.advance(0.001)
    verdict_then = judge.judge(peer(leaf), clock.now())
    assert isinstance(verdict_then, Refused)
    assert verdict_then.code.value == "certificate_expired"
    assert (verdict_then.not_before, verdict_then.not_after) == (NOW, NOW + 10)


def test_a_path_ends_with_the_first_of_its_cas(bank: Bank, root: Ca) -> None:
    issuing = root.ca("issuing", begins=NOW, ends=NOW + 10)
    bank.add("root", root.certificate)
    bank.add("issuing", issuing.certificate)
    judge, leaf = bank.judge(), issuing.leaf()
    assert said(judge, leaf, NOW - 1) == "issuer_unknown"
    verdict = judge.judge(peer(leaf), NOW)
    assert isinstance(verdict, Accepted)
    assert verdict.good_until == NOW + 11
    assert said(judge, leaf, NOW + 11) == "issuer_unknown"


def test_a_renewed_ca_certificate_of_the_same_key_takes_over_from_the_expired_one(bank: Bank, root: Ca) -> None:
    expired = root.ca("issuing", ends=NOW - 1)
    renewed = root.ca("issuing", begins=NOW - DAY, ends=NOW + 20 * DAY)
    bank.add("root", root.certificate)
    bank.add("expired", expired.certificate)
    bank.add("renewed", renewed.certificate)
    judge, leaf = bank.judge(), expired.leaf()
    verdict = judge.judge(peer(leaf), NOW)
    assert isinstance(verdict, Accepted)
    assert verdict.good_until == NOW + 20 * DAY + 1
    # Judged before, and judged by the other path at its time: the same examination is kept for both.
    assert said(judge, leaf, NOW - 2 * DAY) == "accepted"
    assert said(judge, leaf, NOW + 20 * DAY + 1) == "issuer_unknown"


def test_of_several_good_paths_the_one_that_lasts_longest_counts(bank: Bank) -> None:
    one, other = Ca.root("one", ends=NOW + 5 * DAY), Ca.root("other", ends=NOW + 9 * DAY)
    for name, ca in (("one", one), ("other", other)):
        bank.add(name, ca.certificate)
        bank.add(f"below-{name}", ca.ca("issuing").certificate)
    verdict = bank.judge().judge(peer(one.ca("issuing").leaf()), NOW)
    assert isinstance(verdict, Accepted)
    assert verdict.good_until == NOW + 9 * DAY + 1


def test_a_cross_signed_ca_is_good_as_long_as_one_of_its_superiors_lists_is(bank: Bank) -> None:
    one, other = Ca.root("one"), Ca.root("other")
    bank.add("one", one.certificate, crls=[bank.crl("one.crl", one.crl(ends=NOW + 10))])
    bank.add("other", other.certificate)
    bank.add("below-one", one.ca("issuing").certificate)
    bank.add("below-other", other.ca("issuing").certificate)
    judge, leaf = bank.judge(), one.ca("issuing").leaf()
    assert said(judge, leaf, NOW + 10) == "accepted"


# --- revocation ---------------------------------------------------------------------------------


def test_a_revoked_certificate_is_refused(bank: Bank, root: Ca) -> None:
    leaf, other = root.leaf(), root.leaf()
    bank.add("root", root.certificate, crls=[bank.crl("root.crl", root.crl(1, [leaf.serial_number]))])
    judge = bank.judge()
    assert said(judge, leaf) == "certificate_revoked"
    assert said(judge, other) == "accepted"
    revoked = CertificateId("CN=root,C=JP", leaf.serial_number)
    assert judge.revoked_among([revoked, CertificateId("CN=root,C=JP", other.serial_number)]) == [revoked]


def test_newer_lists_end_every_older_verdict(bank: Bank, root: Ca) -> None:
    leaf = root.leaf()
    bank.add("root", root.certificate, crls=[bank.crl("root.crl", root.crl())])
    judge = bank.judge()
    verdict = judge.judge(peer(leaf), NOW)
    assert isinstance(verdict, Accepted)
    bank.crl("root.crl", root.crl(2, [leaf.serial_number]))
    judge.take(bank.revocation(generation=2))
    assert verdict.generation != judge.generation
    assert said(judge, leaf) == "certificate_revoked"


def test_the_users_of_a_revoked_intermediate_are_refused(bank: Bank, root: Ca, issuing: Ca) -> None:
    leaf = issuing.leaf()
    serial = issuing.certificate.serial_number
    bank.add("root", root.certificate, crls=[bank.crl("root.crl", root.crl(1, [serial]))])
    bank.add("issuing", issuing.certificate, crls=[bank.crl("issuing.crl", issuing.crl())])
    assert said(bank.judge(), leaf) == "certificate_revoked"


def test_the_same_serial_of_another_issuer_is_not_revoked(bank: Bank, root: Ca) -> None:
    other = Ca.root("other")
    bank.add("root", root.certificate, crls=[bank.crl("root.crl", root.crl(1, [77]))])
    bank.add("other", other.certificate, crls=[bank.crl("other.crl", other.crl())])
    judge = bank.judge()
    assert said(judge, root.leaf(serial=77)) == "certificate_revoked"
    assert said(judge, other.leaf(serial=77)) == "accepted"


def test_without_a_list_that_speaks_of_it_revocation_is_unknown(bank: Bank, root: Ca) -> None:
    bank.add("root", root.certificate, crls=[bank.crl("root.crl", root.crl())])
    assert said(Judge(bank.bundle(), Revocation(0, {})), root.leaf()) == "revocation_unknown"


def test_partitions_are_told_apart_by_the_distribution_point(bank: Bank, root: Ca) -> None:
    in_a, in_b = root.leaf(points=[A]), root.leaf(points=[B])
    crls = [
        bank.crl("a.crl", root.crl(1, points=[A])),
        bank.crl("b.crl", root.crl(1, [in_b.serial_number], points=[B])),
    ]
    bank.add("root", root.certificate, crls=crls)
    judge = bank.judge()
    assert said(judge, in_a) == "accepted"
    assert said(judge, in_b) == "certificate_revoked"
    assert said(judge, root.leaf(points=["http://crl.example/c"])) == "revocation_unknown"
    assert said(judge, root.leaf()) == "revocation_unknown"


def test_a_point_for_some_reasons_only_or_of_another_issuer_does_not_count(bank: Bank, root: Ca) -> None:
    bank.add("root", root.certificate, crls=[bank.crl("a.crl", root.crl(1, points=[A]))])
    judge = bank.judge()
    uri = [x509.UniformResourceIdentifier(A)]
    some = x509.DistributionPoint(uri, None, frozenset({x509.ReasonFlags.key_compromise}), None)
    others = x509.DistributionPoint(uri, None, None, [x509.DirectoryName(Ca.root("other").certificate.subject)])
    for point in (some, others):
        leaf = root.leaf(replace=[(x509.CRLDistributionPoints([point]), False)])
        assert said(judge, leaf) == "revocation_unknown"


def test_a_list_for_users_says_nothing_of_cas_and_the_other_way_round(bank: Bank, root: Ca, issuing: Ca) -> None:
    leaf = issuing.leaf()
    root_list = bank.crl("root.crl", root.crl(1, users_only=True))
    issuing_list = bank.crl("issuing.crl", issuing.crl(1, users_only=True))
    bank.add("root", root.certificate, crls=[root_list])
    bank.add("issuing", issuing.certificate, crls=[issuing_list])
    assert said(bank.judge(), leaf) == "revocation_unknown"
    bank.crl("root.crl", root.crl(1, authorities_only=True))
    assert said(bank.judge(), leaf) == "accepted"
    bank.crl("issuing.crl", issuing.crl(1, authorities_only=True))
    assert said(bank.judge(), leaf) == "revocation_unknown"


def test_a_serial_on_any_list_of_its_issuer_is_revoked_whatever_that_list_speaks_of(bank: Bank, root: Ca) -> None:
    leaf = root.leaf(points=[A])
    crls = [
        bank.crl("a.crl", root.crl(1, points=[A])),
        bank.crl("b.crl", root.crl(1, [leaf.serial_number], points=[B])),
    ]
    bank.add("root", root.certificate, crls=crls)
    assert said(bank.judge(), leaf) == "certificate_revoked"


@pytest.mark.parametrize(
    ("stale", "good_for"), [("refuse", 10.0), ("grace", 110.0), ("accept", None)], ids=["refuse", "grace", "accept"]
)
def test_a_stale_list_is_good_to_the_second_that_the_policy_says(
    bank: Bank, root: Ca, stale: str, good_for: float | None
) -> None:
    leaf, revoked = root.leaf(), root.leaf()
    crl = bank.crl("root.crl", root.crl(1, [revoked.serial_number], ends=NOW + 10))
    bank.add("root", root.certificate, crls=[crl], stale=stale, grace=100.0)
    judge = bank.judge()
    verdict = judge.judge(peer(leaf), NOW)
    assert isinstance(verdict, Accepted)
    assert said(judge, revoked, NOW + 10_000) == "certificate_revoked"
    if good_for is None:
        assert verdict.good_until == NOW + 30 * DAY + 1
        assert said(judge, leaf, NOW + 10_000) == "accepted"
        return
    assert verdict.good_until == NOW + good_for
    assert said(judge, leaf, NOW + good_for - 0.001) == "accepted"
    assert said(judge, leaf, NOW + good_for) == "revocation_unknown"


# --- a CA with two keys -------------------------------------------------------------------------


@pytest.fixture
def old_and_new(root: Ca) -> tuple[Ca, Ca]:
    return root.ca("issuing"), root.ca("issuing", key=key_named("second"), ends=NOW + 5 * DAY)


def test_both_keys_of_a_ca_that_rolls_over_are_good(bank: Bank, root: Ca, old_and_new: tuple[Ca, Ca]) -> None:
    bank.add("root", root.certificate)
    for name, ca in zip(("old", "new"), old_and_new, strict=True):
        bank.add(name, ca.certificate, crls=[bank.crl(f"{name}.crl", ca.crl())])
    judge = bank.judge()
    assert [said(judge, ca.leaf()) for ca in old_and_new] == ["accepted", "accepted"]


def test_a_list_under_the_new_key_speaks_for_the_old_one_while_that_is_good(
    bank: Bank, root: Ca, old_and_new: tuple[Ca, Ca]
) -> None:
    old, new = old_and_new
    leaf, revoked = old.leaf(), old.leaf()
    crl = bank.crl("issuing.crl", new.crl(1, [revoked.serial_number], ends=NOW + 20 * DAY))
    bank.add("root", root.certificate, crls=[bank.crl("root.crl", root.crl(ends=NOW + 20 * DAY))])
    bank.add("old", old.certificate, crls=[crl])
    bank.add("new", new.certificate, crls=[crl])
    judge = bank.judge()
    verdict = judge.judge(peer(leaf), NOW)
    assert isinstance(verdict, Accepted)
    # The new key's certificate ends first, and with it what its list says.
    assert verdict.good_until == NOW + 5 * DAY + 1
    assert said(judge, leaf, NOW + 5 * DAY + 1) == "revocation_unknown"
    assert said(judge, revoked) == "certificate_revoked"


def test_a_list_whose_signer_was_revoked_says_nothing_good_any_more(
    bank: Bank, root: Ca, old_and_new: tuple[Ca, Ca]
) -> None:
    old, new = old_and_new
    crl = bank.crl("issuing.crl", new.crl())
    bank.add("root", root.certificate, crls=[bank.crl("root.crl", root.crl(1, [new.certificate.serial_number]))])
    bank.add("old", old.certificate, crls=[crl])
    bank.add("new", new.certificate)
    assert said(bank.judge(), old.leaf()) == "revocation_unknown"


def test_a_list_whose_signer_left_the_bundle_says_nothing_good_any_more(
    bank: Bank, root: Ca, old_and_new: tuple[Ca, Ca]
) -> None:
    old, new = old_and_new
    bank.add("root", root.certificate)
    bank.add("old", old.certificate, crls=[bank.crl("issuing.crl", new.crl())])
    bank.add("new", new.certificate)
    revocation = bank.revocation()
    del bank.settings[-1]
    assert said(Judge(bank.bundle(), revocation), old.leaf()) == "revocation_unknown"


def test_a_new_key_signed_by_the_old_may_sign_the_list_that_speaks_of_itself(bank: Bank) -> None:
    old = Ca.root("root")
    new = old.ca("root", key=key_named("second"))
    crl = bank.crl("root.crl", new.crl())
    bank.add("old", old.certificate, crls=[crl])
    bank.add("new", new.certificate, crls=[crl])
    judge = bank.judge()
    assert [said(judge, ca.leaf()) for ca in (old, new)] == ["accepted", "accepted"]
    bank.crl("root.crl", new.crl(2, [new.certificate.serial_number]))
    judge = bank.judge()
    assert [said(judge, ca.leaf()) for ca in (old, new)] == ["revocation_unknown", "certificate_revoked"]


def test_a_serial_revoked_under_one_key_of_a_ca_is_revoked_under_all(
    bank: Bank, root: Ca, old_and_new: tuple[Ca, Ca]
) -> None:
    old, new = old_and_new
    leaf = old.leaf()
    bank.add("root", root.certificate)
    bank.add("old", old.certificate)
    bank.add("new", new.certificate, crls=[bank.crl("new.crl", new.crl(1, [leaf.serial_number]))])
    assert said(bank.judge(), leaf) == "certificate_revoked"


# --- whatever else ------------------------------------------------------------------------------


def test_an_error_while_judging_refuses(bank: Bank, root: Ca, caplog: pytest.LogCaptureFixture) -> None:
    bank.add("root", root.certificate)
    judge = bank.judge()
    der = root.leaf().public_bytes(Encoding.DER)

    class Raising(PeerCertificate):
        __slots__ = ()

        @property
        def fingerprint(self) -> bytes:
            raise RuntimeError("broken")

        @fingerprint.setter
        def fingerprint(self, value: bytes) -> None: ...

    verdict = judge.judge(Raising(der), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.code.value == "certificate_malformed"
    assert "its judgement failed" in caplog.text


def test_what_is_kept_of_examined_certificates_is_bounded(
    bank: Bank, root: Ca, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_gateway.trust.verdict._KEPT", 3)
    bank.add("root", root.certificate)
    judge = bank.judge()
    leaves = [root.leaf() for _ in range(6)]
    assert [said(judge, leaf) for leaf in leaves + leaves] == ["accepted"] * 12
    assert len(judge._examined) == 3
