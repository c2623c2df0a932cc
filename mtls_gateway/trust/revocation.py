"""The compiled revocation lists in force: a manifest names them, replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.model import CertificateId
from mtls_gateway.trust.index import RevocationIndex, write_atomically

_MANIFEST = "manifest.json"
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Manifest:
    """Which indexes are in force: file names by authority."""

    generation: int
    files: Mapping[str, tuple[str, ...]]


def read_manifest(directory: Path) -> Manifest:
    """The manifest of ``directory``; generation 0 and no files when there is none yet.

    Raises:
        TrustMaterialError: it cannot be read.
    """
    path = directory / _MANIFEST
    try:
        fields = json.loads(path.read_bytes())
        files = {str(name): tuple(_file_name(file) for file in found) for name, found in fields["files"].items()}
        return Manifest(int(fields["generation"]), files)
    except FileNotFoundError:
        return Manifest(0, {})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TrustMaterialError(str(path), f"cannot be read: {error}", "manifest") from error


def _file_name(name: str) -> str:
    if Path(name).name != name:
        raise ValueError(f"{name!r} is no file name")
    return name


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Put a manifest in force. Raises ``OSError``."""
    fields = {"generation": manifest.generation, "files": {name: list(found) for name, found in manifest.files.items()}}
    write_atomically(directory / _MANIFEST, json.dumps(fields, indent=1, sort_keys=True).encode())


class Revocation:
    """Every index in force, by authority; immutable, swapped as a whole."""

    __slots__ = ("_by_authority", "_by_issuer", "generation")

    def __init__(self, generation: int, by_authority: Mapping[str, tuple[RevocationIndex, ...]]) -> None:
        self.generation = generation
        self._by_authority = by_authority
        self._by_issuer: dict[str, list[RevocationIndex]] = {}
        for indexes in by_authority.values():
            for index in indexes:
                self._by_issuer.setdefault(index.header.issuer, []).append(index)

    def of(self, authority: str) -> tuple[RevocationIndex, ...]:
        """The indexes of an authority."""
        return self._by_authority.get(authority, ())

    def is_revoked(self, certificate: CertificateId) -> bool:
        """Whether any index of the certificate's issuer holds its serial: whichever key signed it, whatever its scope.

        What a CA has once called revoked is not let in because another of its lists does not speak of it.
        """
        return any(certificate.serial in index for index in self._by_issuer.get(certificate.issuer, ()))

    def mapped(self, authority: str, file: str) -> RevocationIndex | None:
        """The index of that file name, if it is mapped already."""
        return next((index for index in self.of(authority) if index.name == file), None)


def load_revocation(directory: Path, previous: Revocation | None = None, *, check_records: bool = True) -> Revocation:
    """Map every index of the manifest in force. A swap under way is followed.

    What ``previous`` has mapped is not mapped and checked again: an index never changes, its name says its contents.

    Raises:
        TrustMaterialError: the manifest or an index cannot be used.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        manifest = read_manifest(directory)
        try:
            mapped = {
                name: tuple(_map(directory, name, file, previous, check_records) for file in files)
                for name, files in manifest.files.items()
            }
        except TrustMaterialError:
            # Collected between the two reads: then there is a newer manifest by now.
            if attempt == _ATTEMPTS or read_manifest(directory).generation == manifest.generation:
                raise
            continue
        return Revocation(manifest.generation, mapped)
    raise TrustMaterialError(str(directory), "changes faster than it can be read", "manifest")


def _map(
    directory: Path, authority: str, file: str, previous: Revocation | None, check_records: bool
) -> RevocationIndex:
    known = None if previous is None else previous.mapped(authority, file)
    if known is not None:
        return known
    index = RevocationIndex(directory / file)
    if index.header.authority != authority:
        raise TrustMaterialError(str(index.path), f"is of {index.header.authority}, not of {authority}", "index")
    if check_records:
        index.check_records()
    return index
