from __future__ import annotations

import hashlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.issuance.signer.journal import Intent, Journal, JournalUnusable

from .world import NOW

CLOCK = ManualClock(NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = Journal(path, CLOCK)
    yield opened
    opened.close()


def _intent(serial: int, content: str = "taro") -> Intent:
    return Intent(serial, "issuing-1", hashlib.sha256(content.encode()).digest(), content.encode() * 40)


def _fill(journal: Journal, count: int) -> None:
    for serial in range(1, count + 1):
        journal.intend([_intent(serial)])
        journal.signed([(_intent(serial), b"certificate %d" % serial)])


def test_what_was_intended_first_stands(journal: Journal) -> None:
    (first,) = journal.intend([_intent(7)])
    (second,) = journal.intend([_intent(7, "jiro")])
    assert first == second
    assert second.ordered == _intent(7).ordered
    assert second.certificate is None
    assert journal.records == 1


def test_the_certificate_that_was_written_first_is_the_one_that_leaves(journal: Journal, path: Path) -> None:
    other = Journal(path, CLOCK)
    journal.intend([_intent(7)])
    assert other.signed([(_intent(7), b"theirs")]) == [b"theirs"]
    assert journal.signed([(_intent(7), b"ours")]) == [b"theirs"]
    other.close()


def test_everything_is_there_after_it_is_opened_again(journal: Journal, path: Path) -> None:
    _fill(journal, 5)
    journal.intend_crl("issuing-1", 3, b"digest")
    again = Journal(path, CLOCK)
    assert (again.records, again.head) == (11, journal.head)
    standing = again.standing(5)
    assert standing is not None
    assert standing.certificate == b"certificate 5"
    assert again.standing(6) is None
    crl = again.crl_standing("issuing-1")
    assert crl is not None
    assert (crl.number, crl.signature) == (3, None)
    assert again.crl_standing("issuing-2") is None
    again.close()


def test_a_journal_is_nobody_elses(journal: Journal, path: Path) -> None:
    _fill(journal, 1)
    assert {one.stat().st_mode & 0o777 for one in path.parent.iterdir()} == {0o600}


def test_no_record_can_be_changed_or_removed(journal: Journal, path: Path) -> None:
    _fill(journal, 2)
    connection = sqlite3.connect(path)
    for statement in ("UPDATE records SET content = x'00'", "DELETE FROM records"):
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE records SET content = x'00' WHERE sequence = 4",
        "UPDATE records SET at = at + 1 WHERE sequence = 1",
        "UPDATE records SET number = 'ff' WHERE sequence = 2",
        "UPDATE records SET issuer = 'other' WHERE sequence = 2",
        "DELETE FROM records WHERE sequence = 1",
        "DELETE FROM records WHERE sequence = 3",
        "UPDATE records SET sequence = 99 WHERE sequence = 6",
        "INSERT INTO records SELECT 7, at, kind, issuer, '63', ordered, content, chain FROM records WHERE sequence = 6",
    ],
)
def test_a_record_that_was_changed_anyway_is_found_when_it_starts(journal: Journal, path: Path, change: str) -> None:
    _fill(journal, 3)
    connection = sqlite3.connect(path)
    connection.executescript(f"DROP TRIGGER no_change; DROP TRIGGER no_removal; {change};")
    connection.close()
    with pytest.raises(JournalUnusable, match=r"record \d is not what was written; restore the journal"):
        Journal(path, CLOCK)


def test_a_file_that_is_no_journal_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(JournalUnusable, match=r"journal\.sqlite3 cannot be used"):
        Journal(path, CLOCK)


def test_a_page_that_the_disk_has_spoilt_is_found_when_it_starts(tmp_path: Path, path: Path) -> None:
    journal = Journal(path, CLOCK)
    _fill(journal, 200)
    journal.close()
    whole = path.read_bytes()
    size = 4_096
    spoilt_and_found = 0
    for page in range(2, len(whole) // size):
        copy = tmp_path / "copy.sqlite3"
        copy.write_bytes(whole[: page * size] + b"\x5a" * size + whole[(page + 1) * size :])
        try:
            opened = Journal(copy, CLOCK)
        except JournalUnusable:
            spoilt_and_found += 1
            continue
        # A page of an index: not part of the records themselves. It must not give an answer that is wrong.
        try:
            for serial in range(1, 201):
                standing = opened.standing(serial)
                assert standing is not None
                assert standing.certificate == b"certificate %d" % serial
        except JournalUnusable:
            pass
        finally:
            opened.close()
    assert spoilt_and_found > 5


def test_the_end_that_a_crash_has_torn_is_mended_and_what_was_acknowledged_is_there(
    tmp_path: Path, journal: Journal, path: Path
) -> None:
    """Cut the write-ahead log anywhere: what remains is a journal of whole records."""
    _fill(journal, 3)
    log = path.with_name(f"{path.name}-wal")
    before = log.stat().st_size
    journal.intend([_intent(99)])
    octets = log.read_bytes()
    assert len(octets) > before
    for length in range(before, len(octets), 97):
        folder = tmp_path / str(length)
        folder.mkdir()
        shutil.copy(path, folder / path.name)
        (folder / log.name).write_bytes(octets[:length])
        mended = Journal(folder / path.name, CLOCK)
        assert mended.records == 6
        assert mended.standing(99) is None
        mended.intend([_intent(99)])
        mended.close()
        again = Journal(folder / path.name, CLOCK)
        assert again.records == 7
        again.close()


def test_two_signers_that_overlap_never_give_one_serial_twice(path: Path) -> None:
    first, second = Journal(path, CLOCK), Journal(path, CLOCK)
    released: list[list[bytes]] = [[], []]

    def work(place: int, journal: Journal) -> None:
        for serial in range(1, 101):
            journal.intend([_intent(serial)])
            released[place] += journal.signed([(_intent(serial), b"%d by %d" % (serial, place))])

    threads = [threading.Thread(target=work, args=(0, first)), threading.Thread(target=work, args=(1, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.close()
    second.close()
    assert len(released[0]) == 100
    assert released[0] == released[1]
    again = Journal(path, CLOCK)
    assert again.records == 200
    again.close()


def test_what_was_intended_in_the_last_minute_is_counted_again_after_a_start(path: Path) -> None:
    clock = ManualClock(NOW)
    journal = Journal(path, clock)
    journal.intend([_intent(1), _intent(2)])
    clock.advance(61)
    journal.intend([_intent(3)])
    assert journal.intended_since(clock.now() - 60) == 1
    assert journal.intended_since(clock.now() - 120) == 3
    journal.close()
