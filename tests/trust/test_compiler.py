"""From lists to indexes: what belongs together, what must not go back, what stays when something is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtls_gateway.config import Crl
from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.trust.compiler import Compiled, check_all, compile_authority, group
from mtls_gateway.trust.index import RevocationIndex
from tests.trust.authority_maker import DAY, NOW, Bank, Ca

ROOT = Ca.root("root")
A, B = "http://crl.example/a", "http://crl.example/b"


class Lists:
    """An authority with lists from sources named by their places: ``0`` and ``1`` full ones, ``2`` a delta."""

    def __init__(self, folder: Path) -> None:
        bank = Bank(folder)
        crls = [Crl(source="/0"), Crl(source="/1"), Crl(source="/2", delta=True)]
        bank.add("root", ROOT.certificate, crls=crls)
        self.authority = next(iter(bank.bundle()))
        self.directory = bank.directory
        self.in_force: list[RevocationIndex] = []

    def compile(self, *lists: bytes | None) -> Compiled:
        """``None``: could not be fetched."""
        fetched = {f"/{place}": octets for place, octets in enumerate(lists) if octets is not None}
        compiled = compile_authority(self.authority, fetched, self.in_force, self.directory, NOW)
        self.in_force = [RevocationIndex(self.directory / file) for file in compiled.files]
        return compiled

    def take(self, *lists: bytes | None) -> None:
        assert self.compile(*lists).refusals == ()

    def refuse(self, *lists: bytes | None) -> list[tuple[str, str, bool]]:
        """Source, reason and whether what was there stays."""
        return [(one.error.source, one.error.reason, one.kept) for one in self.compile(*lists).refusals]

    def revoked(self) -> set[int]:
        return {serial for serial in range(100) for index in self.in_force if serial in index}


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    return Lists(tmp_path)


def test_a_full_list_with_its_delta_is_one_index(lists: Lists) -> None:
    lists.take(ROOT.crl(10, [1, 2]), None, ROOT.crl(11, [3], base=10, removed=[1], ends=NOW + 3_600))
    (index,) = lists.in_force
    assert lists.revoked() == {2, 3}
    assert (index.header.number, index.header.delta_number) == (10, 11)
    assert index.header.next_update == NOW + 3_600
    assert index.header.sources == ("/0", "/2")


def test_the_same_lists_are_not_compiled_again(lists: Lists) -> None:
    octets = ROOT.crl(10, [1])
    lists.take(octets)
    (first,) = lists.in_force
    os.utime(first.path, ns=(1_000, 1_000))
    lists.take(octets)
    assert lists.in_force[0].path.stat().st_mtime_ns == 1_000


def test_a_delta_that_the_full_list_has_overtaken_is_passed_over(lists: Lists) -> None:
    lists.take(ROOT.crl(12, [1, 5]), None, ROOT.crl(11, [3], base=10))
    assert lists.revoked() == {1, 5}


def test_a_delta_whose_base_is_not_at_hand_is_refused_but_not_the_full_list(lists: Lists) -> None:
    delta = ROOT.crl(12, [3], base=11)
    assert lists.refuse(ROOT.crl(10, [1]), None, delta) == [("/2", "delta_without_base", False)]
    assert lists.revoked() == {1}


def test_a_delta_of_another_scope_is_refused(lists: Lists) -> None:
    delta = ROOT.crl(12, [3], base=10, users_only=True)
    assert lists.refuse(ROOT.crl(10, [1]), None, delta) == [("/2", "delta_without_base", False)]


def test_full_and_delta_in_each_others_place_are_refused(lists: Lists) -> None:
    assert lists.refuse(ROOT.crl(11, base=10)) == [("/0", "unasked_delta", False)]
    assert lists.refuse(ROOT.crl(10), None, ROOT.crl(11)) == [("/2", "not_a_delta", False)]


def test_partitions_are_an_index_each_and_two_for_the_same_are_refused(lists: Lists) -> None:
    lists.take(ROOT.crl(10, [1], points=[A]), ROOT.crl(20, [2], points=[B]))
    assert sorted(index.header.points for index in lists.in_force) == [(A,), (B,)]
    refused = lists.refuse(ROOT.crl(11, [1], points=[A]), ROOT.crl(21, [2], points=[A]))
    assert refused == [("/1", "same_scope", True)]
    assert lists.revoked() == {1, 2}


def test_a_bad_partition_keeps_its_last_good_one_and_holds_no_other_up(lists: Lists) -> None:
    lists.take(ROOT.crl(10, [1], points=[A]), ROOT.crl(20, [2], points=[B]))
    assert lists.refuse(ROOT.crl(11, [1, 5], points=[A]), b"<html>") == [("/1", "malformed", True)]
    assert lists.revoked() == {1, 2, 5}
    lists.take(ROOT.crl(12, [1, 5, 6], points=[A]), None)
    assert lists.revoked() == {1, 2, 5, 6}


@pytest.mark.parametrize(
    "newer",
    [
        ROOT.crl(9, [7], begins=NOW - 30),
        ROOT.crl(10, [7], begins=NOW - 60),
        ROOT.crl(10, [7], begins=NOW - 90),
    ],
    ids=["lower number", "same number, same date", "same number, earlier date"],
)
def test_a_rolled_back_list_is_refused_and_the_last_good_one_stays(lists: Lists, newer: bytes) -> None:
    lists.take(ROOT.crl(10, [1]))
    assert lists.refuse(newer) == [("/0", "rolled_back", True)]
    assert lists.revoked() == {1}


def test_a_list_of_the_same_number_with_a_later_date_is_taken(lists: Lists) -> None:
    lists.take(ROOT.crl(10, [1]))
    lists.take(ROOT.crl(10, [1, 2], begins=NOW - 30))
    assert lists.revoked() == {1, 2}


def test_a_delta_that_goes_back_or_vanishes_is_refused(lists: Lists) -> None:
    base = ROOT.crl(10, [1])
    lists.take(base, None, ROOT.crl(12, [2, 3], base=10))
    assert lists.refuse(base, None, ROOT.crl(11, [2], base=10)) == [("/2", "rolled_back", True)]
    earlier = ROOT.crl(12, [2], base=10, begins=NOW - 90)
    assert lists.refuse(base, None, earlier) == [("/2", "rolled_back", True)]
    assert lists.refuse(base, None, b"") == [("/2", "empty", True), ("/0", "rolled_back", True)]
    assert lists.revoked() == {1, 2, 3}
    # A full list that has caught up needs no delta.
    assert lists.refuse(ROOT.crl(12, [1, 2, 3, 4]), None, b"") == [("/2", "empty", True)]
    assert lists.revoked() == {1, 2, 3, 4}


def test_an_older_list_of_another_scope_does_not_take_the_place_of_the_one_in_force(lists: Lists) -> None:
    lists.take(ROOT.crl(100, [1]))
    assert lists.refuse(ROOT.crl(50, [], points=[A], begins=NOW - DAY)) == [("/0", "rolled_back", True)]
    assert lists.revoked() == {1}
    # Numbers grow within a scope: a lower one of another scope that is not older is no way back.
    lists.take(ROOT.crl(1, [1, 2], points=[A]))
    assert lists.revoked() == {1, 2}
    assert lists.refuse(ROOT.crl(101, [], begins=NOW - DAY)) == [("/0", "rolled_back", True)]
    assert lists.revoked() == {1, 2}


def test_a_list_that_gave_way_to_another_scope_does_not_come_back_older(lists: Lists) -> None:
    lists.take(None, ROOT.crl(20, [2], points=[A]))
    lists.take(None, ROOT.crl(1, [3], points=[B], begins=NOW - 40))
    assert lists.refuse(None, ROOT.crl(15, [], points=[A], begins=NOW - DAY)) == [("/1", "rolled_back", True)]
    assert lists.revoked() == {3}


def test_nothing_usable_at_all_is_nothing_in_force(lists: Lists) -> None:
    assert lists.compile(b"", b"<html>").files == ()
    assert lists.compile().files == ()


def test_an_entry_that_is_not_understood_is_refused_like_any_other_fault(lists: Lists) -> None:
    lists.take(ROOT.crl(10, [1]))
    assert lists.refuse(ROOT.crl(11, removed=[1])) == [("/0", "malformed", True)]
    assert lists.revoked() == {1}


def test_a_directory_that_cannot_be_written_leaves_the_last_good_one(lists: Lists) -> None:
    lists.take(ROOT.crl(10, [1]))
    lists.directory = lists.directory / "nowhere"
    compiled = compile_authority(lists.authority, {"/0": ROOT.crl(11, [1, 2])}, lists.in_force, lists.directory, NOW)
    assert [refusal.error.reason for refusal in compiled.refusals] == ["disk"]
    assert compiled.files == (lists.in_force[0].name,)


def test_lists_can_be_checked_without_compiling(lists: Lists) -> None:
    delta = ROOT.crl(11, [3], base=10)
    settings = (Crl(source="/0"), Crl(source="/2", delta=True))
    authority = lists.authority.settings.model_copy(update={"crls": settings})
    bank = Bank(lists.directory)
    bank.add("root", ROOT.certificate, crls=authority.crls)
    checked = check_all(next(iter(bank.bundle())), {"/0": ROOT.crl(10), "/2": delta}, NOW)
    assert [(base.source, [one.source for one in deltas]) for base, deltas in group(checked)] == [("/0", ["/2"])]
    with pytest.raises(TrustMaterialError, match="follows base 10"):
        group(checked[1:])
