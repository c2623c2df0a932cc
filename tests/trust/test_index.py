"""The mapped file of a compiled list: what is found in it, and that damage shows."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.model import MAXIMUM_SERIAL
from mtls_gateway.trust.index import IndexHeader, RevocationIndex, record_of, write_atomically, write_index
from mtls_gateway.trust.scope import Scope
from tests.trust.authority_maker import NOW

HEADER = IndexHeader(
    authority="issuing",
    issuer="CN=issuing,C=JP",
    sources=("/crl",),
    digests=("d",),
    signers=("k",),
    number=7,
    delta_number=None,
    this_update=NOW - 60,
    next_update=NOW + 60,
    count=0,
    points=("http://crl.example/a",),
    users_only=True,
    authorities_only=False,
    records="",
)
SERIALS = [1, 2, 255, 256, 1 << 64, MAXIMUM_SERIAL]


def written(directory: Path, serials: Iterable[int]) -> Path:
    return write_index(directory, HEADER, map(record_of, serials))


def test_exactly_the_serials_written_are_found(tmp_path: Path) -> None:
    generator = random.Random(7)
    serials = {generator.getrandbits(152) for _ in range(1_000)} | set(SERIALS)
    index = RevocationIndex(written(tmp_path, serials))
    assert all(serial in index for serial in serials)
    assert not any(serial + 1 in index for serial in serials if serial + 1 not in serials)
    assert not any(serial in index for serial in (0, -1, MAXIMUM_SERIAL + 1, 1 << 200))
    assert index.header.count == len(serials)
    assert index.scope == Scope(frozenset({"http://crl.example/a"}), users_only=True)
    index.check_records()


def test_an_empty_list_has_an_index_too(tmp_path: Path) -> None:
    index = RevocationIndex(written(tmp_path, []))
    assert 1 not in index
    index.check_records()


def test_a_serial_that_is_written_twice_counts_once(tmp_path: Path) -> None:
    index = RevocationIndex(written(tmp_path, [*SERIALS, *SERIALS[2:]]))
    assert index.header.count == len(SERIALS)
    assert all(serial in index for serial in SERIALS)
    assert written(tmp_path, SERIALS).name == index.name


def test_the_same_list_has_the_same_name_and_any_other_another(tmp_path: Path) -> None:
    names = [written(tmp_path, serials).name for serials in ([1, 2], [2, 1], [1, 3])]
    assert names[0] == names[1] != names[2]


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_single_flipped_bit_anywhere_is_found(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    directory = tmp_path_factory.mktemp("flipped")
    path = written(directory, SERIALS)
    octets = bytearray(path.read_bytes())
    octets[place % len(octets)] ^= 1 << bit
    path.write_bytes(octets)
    with pytest.raises(TrustMaterialError):
        RevocationIndex(path).check_records()


@pytest.mark.parametrize("length", [0, 1, 11, 12, 200, -1, -20, -21])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    path = written(tmp_path, SERIALS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(TrustMaterialError) as refused:
        RevocationIndex(path)
    assert refused.value.reason == "index"
    assert str(path) in str(refused.value)


def test_a_file_that_is_missing_or_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrustMaterialError, match="cannot be mapped"):
        RevocationIndex(tmp_path / "nothing.index")
    other = tmp_path / "other.index"
    other.write_bytes(b"MTLSGWR1" + b"\0" * 100)
    with pytest.raises(TrustMaterialError, match="is no revocation index"):
        RevocationIndex(other)


def test_records_that_vanished_cannot_be_checked(tmp_path: Path) -> None:
    index = RevocationIndex(written(tmp_path, SERIALS))
    index.path.unlink()
    assert 255 in index
    with pytest.raises(TrustMaterialError, match="cannot be read"):
        index.check_records()


def test_a_file_is_replaced_as_a_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    with pytest.raises(OSError, match="No such file"):
        write_atomically(tmp_path / "nowhere" / "file", b"new")


def test_what_two_lists_may_both_speak_of() -> None:
    a, b = Scope(frozenset({"a"})), Scope(frozenset({"b"}))
    assert Scope().overlaps(a)
    assert a.overlaps(Scope())
    assert not a.overlaps(b)
    assert not Scope(users_only=True).overlaps(Scope(authorities_only=True))
    assert a.overlaps(Scope(frozenset({"a", "b"}), users_only=True))


_READER = """
import random, sys
from pathlib import Path
from mtls_gateway.trust.index import RevocationIndex

def own() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

index = RevocationIndex(Path(sys.argv[1]))
index.check_records()
before = own()
index = RevocationIndex(Path(sys.argv[2]))
index.check_records()
found = sum(random.getrandbits(120) in index for _ in range(10_000))
print(own() - before, index.header.count, found)
"""


def test_a_reader_needs_no_memory_of_its_own_however_many_serials_there_are(tmp_path: Path) -> None:
    small = written(tmp_path, [1])
    large = written(tmp_path, (serial << 64 for serial in range(1, 300_001)))
    reader = subprocess.run([sys.executable, "-c", _READER, small, large], check=True, stdout=subprocess.PIPE)
    grown, count, found = map(int, reader.stdout.split())
    assert (count, found) == (300_000, 0)
    assert large.stat().st_size > 6_000_000
    assert grown < 512
