"""Large CRLs are compiled in a process of their own.

To check and sort a million entries takes seconds, most of them in calls that do not let another thread run: the
clerk's heartbeat, or the loop of whoever starts the gateway, would stand still, and the memory would stay theirs.
What is small is done in a thread, because a new process takes longer than that.

The child is told everything through its standard input: one line of JSON, then the octets of the CRLs one after the
other. It answers with one line of JSON. It touches nothing but files of a name of their own in the revocation
directory, so it may be killed at any moment, and what its parent no longer waits for does no harm.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.config import Authority
from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.trust.authority import BundledAuthority, ListSigner, inspect_authority
from mtls_gateway.trust.compiler import Compiled, Refusal, compile_authority
from mtls_gateway.trust.index import RevocationIndex

#: Octets of CRLs up to which a thread is used: 200,000 entries, of which no single call takes a quarter of a second. A
#: new process takes longer to start than that, and a revocation should be in force within a second.
SMALL = 8 * 1024**2


async def compile_aside(
    authority: BundledAuthority,
    fetched: Mapping[str, bytes],
    previous: tuple[str, ...],
    directory: Path,
    now: float,
) -> Compiled:
    """:func:`~mtls_gateway.trust.compiler.compile_authority`, without standing in anybody's way.

    ``previous`` are the file names of the authority's indexes in force.

    Raises:
        TrustMaterialError: the process did not answer, with reason ``compiler``.
    """
    if sum(map(len, fetched.values())) <= SMALL:
        opened = open_indexes(directory, previous)
        return await asyncio.to_thread(compile_authority, authority, fetched, opened, directory, now)
    # The modules come from wherever this process has found its own.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # Waited for in a thread (ASYNC220); the words of the command are our own (S603).
    process = subprocess.Popen(  # noqa: ASYNC220, S603
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        # Control-C in a terminal ends the gateway, which ends this.
        process_group=0,
    )
    try:
        told = _encode(authority, fetched, previous, directory, now)
        answer, _ = await asyncio.to_thread(process.communicate, told)
    except asyncio.CancelledError:
        process.kill()
        raise
    # The answer alone counts: a master that reaps its children at once leaves no exit status to look at.
    try:
        return _read_answer(json.loads(answer))
    except (ValueError, KeyError, TypeError) as error:
        cause = f"the process that compiles the CRLs of {authority.name} ended without an answer"
        raise TrustMaterialError(str(directory), cause, "compiler") from error


def open_indexes(directory: Path, files: tuple[str, ...]) -> list[RevocationIndex]:
    """Map those of ``files`` that are whole; one that is not is left out, and so compiled again."""
    opened = []
    for file in files:
        try:
            index = RevocationIndex(directory / file)
            index.check_records()
        except TrustMaterialError:
            continue
        opened.append(index)
    return opened


def _encode(
    authority: BundledAuthority, fetched: Mapping[str, bytes], previous: tuple[str, ...], directory: Path, now: float
) -> bytes:
    job = {
        "settings": authority.settings.model_dump_json(),
        "certificate": _encode_certificate(authority.certificate),
        "signers": [_encode_certificate(signer.certificate) for signer in authority.signers],
        "fetched": [[source, len(octets)] for source, octets in fetched.items()],
        "previous": list(previous),
        "directory": str(directory),
        "now": now,
    }
    return b"".join((json.dumps(job).encode(), b"\n", *fetched.values()))


def _encode_certificate(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _read_certificate(encoded: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(encoded.encode())


def _read_answer(answer: dict[str, Any]) -> Compiled:
    refusals = tuple(
        Refusal(TrustMaterialError(source, cause, reason), bool(kept))
        for source, cause, reason, kept in answer["refusals"]
    )
    return Compiled(tuple(str(name) for name in answer["files"]), refusals)


def work(told: BinaryIO, answer: BinaryIO) -> None:
    """What the child does."""
    job = json.loads(told.readline())
    fetched = {source: told.read(length) for source, length in job["fetched"]}
    settings = Authority.model_validate_json(job["settings"])
    authority = inspect_authority(settings, _read_certificate(job["certificate"]))
    known = tuple(inspect_authority(settings, _read_certificate(one)) for one in job["signers"])
    signers = tuple(ListSigner(one.certificate, one.key_digest) for one in known)
    directory = Path(job["directory"])
    opened = open_indexes(directory, tuple(job["previous"]))
    compiled = compile_authority(replace(authority, signers=signers), fetched, opened, directory, job["now"])
    refusals = [
        [refusal.error.source, refusal.error.cause, refusal.error.reason, refusal.kept] for refusal in compiled.refusals
    ]
    answer.write(json.dumps({"files": compiled.files, "refusals": refusals}).encode() + b"\n")


if __name__ == "__main__":
    work(sys.stdin.buffer, sys.stdout.buffer)
