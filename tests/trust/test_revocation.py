"""The lists in force: read while they are replaced, and let go of when they are not wanted any more."""

from __future__ import annotations

import gc
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.model import CertificateId
from mtls_gateway.trust.bundle import Bundle
from mtls_gateway.trust.index import record_of, write_index
from mtls_gateway.trust.revocation import Manifest, Revocation, load_revocation, read_manifest, write_manifest
from mtls_gateway.trust.verdict import Judge
from tests.trust.test_index import HEADER

ISSUER = HEADER.issuer


def publish(directory: Path, generation: int, *serials: int, authority: str = "issuing") -> str:
    """Put an index in force; returns its file name."""
    header = replace(HEADER, number=generation, authority=authority)
    file = write_index(directory, header, map(record_of, serials)).name
    write_manifest(directory, Manifest(generation, {authority: (file,)}))
    return file


def test_without_a_manifest_nothing_is_in_force(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == Manifest(0, {})
    revocation = load_revocation(tmp_path)
    assert revocation.generation == 0
    assert revocation.of("issuing") == ()


def test_a_serial_is_revoked_for_its_issuer_only(tmp_path: Path) -> None:
    publish(tmp_path, 1, 5)
    revocation = load_revocation(tmp_path)
    assert revocation.is_revoked(CertificateId(ISSUER, 5))
    assert not revocation.is_revoked(CertificateId(ISSUER, 6))
    assert not revocation.is_revoked(CertificateId("CN=other,C=JP", 5))


@pytest.mark.parametrize(
    "octets", [b"", b"{", b"[]", b'{"generation": 1}', b'{"generation": 1, "files": {"a": ["../../etc/passwd"]}}']
)
def test_a_manifest_that_cannot_be_read_is_refused_by_name(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(octets)
    with pytest.raises(TrustMaterialError, match=r"manifest\.json: cannot be read"):
        load_revocation(tmp_path)


def test_an_index_that_is_missing_for_good_is_refused(tmp_path: Path) -> None:
    (tmp_path / publish(tmp_path, 1, 5)).unlink()
    with pytest.raises(TrustMaterialError, match="cannot be mapped"):
        load_revocation(tmp_path)


def test_damaged_records_are_found_when_they_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / publish(tmp_path, 1, 5)
    octets = bytearray(path.read_bytes())
    octets[-1] ^= 1
    path.write_bytes(octets)
    with pytest.raises(TrustMaterialError, match="has damaged records"):
        load_revocation(tmp_path)


def test_an_index_of_another_authority_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    file = publish(tmp_path, 1, 5, authority="other")
    write_manifest(tmp_path, Manifest(2, {"issuing": (file,)}))
    with pytest.raises(TrustMaterialError, match="is of other, not of issuing"):
        load_revocation(tmp_path)


def test_what_is_mapped_already_is_not_mapped_again(tmp_path: Path) -> None:
    file = publish(tmp_path, 1, 5)
    before = load_revocation(tmp_path)
    write_manifest(tmp_path, Manifest(2, {"issuing": (file,)}))
    after = load_revocation(tmp_path, before)
    assert after.generation == 2
    assert after.of("issuing")[0] is before.of("issuing")[0]


def test_a_reader_sees_whole_generations_while_they_are_replaced_and_collected(tmp_path: Path) -> None:
    publish(tmp_path, 1, 1)
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        revocation = load_revocation(tmp_path)
        last = 0
        while not done.is_set():
            try:
                revocation = load_revocation(tmp_path, revocation)
            except TrustMaterialError as error:
                # Replaced more often than a reader can follow: then what was there before stays.
                if "faster" not in str(error) and "cannot be mapped" not in str(error):
                    wrong.append(str(error))
                continue
            if not revocation.is_revoked(CertificateId(ISSUER, revocation.generation)):
                wrong.append(f"generation {revocation.generation} without its serial")
            if revocation.generation < last:
                wrong.append("back in time")
            last = revocation.generation

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    old = publish(tmp_path, 1, 1)
    for generation in range(2, 200):
        new = publish(tmp_path, generation, generation)
        (tmp_path / old).unlink()
        old = new
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _maps(directory: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(directory))


def test_a_thousand_swaps_leave_no_file_and_no_map_open(tmp_path: Path) -> None:
    judge = Judge(Bundle(()), Revocation(0, {}))
    files = [publish(tmp_path, generation, *range(1, 1_000)) for generation in (1, 2)]
    judge.take(load_revocation(tmp_path))
    # What other tests have left to the collector would otherwise be closed under way.
    gc.collect()
    before = _open_files(), _maps(tmp_path)
    for swap in range(1_000):
        write_manifest(tmp_path, Manifest(swap + 3, {"issuing": (files[swap % 2],)}))
        judge.take(load_revocation(tmp_path, judge.revocation))
        assert judge.revoked_among([CertificateId(ISSUER, 5)])
    files_open, maps_open = _open_files(), _maps(tmp_path)
    assert files_open <= before[0]
    assert maps_open == before[1]
    assert before[1] == 1
