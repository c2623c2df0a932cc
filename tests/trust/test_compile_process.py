"""Large lists are compiled in a process of their own, with the same outcome and without standing in the way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mtls_gateway.config import Crl
from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.trust import compile_process
from mtls_gateway.trust.authority import BundledAuthority
from mtls_gateway.trust.compile_process import compile_aside, open_indexes
from mtls_gateway.trust.compiler import compile_authority
from tests.trust.authority_maker import NOW, Bank, Ca, key_named

OLD = Ca.root("root")
NEW = OLD.ca("root", key=key_named("second"))


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    made = Bank(tmp_path)
    made.add("old", OLD.certificate, crls=[Crl(source="/full"), Crl(source="/other")])
    made.add("new", NEW.certificate)
    return made


@pytest.fixture
def authority(bank: Bank) -> BundledAuthority:
    return next(iter(bank.bundle()))


@pytest.fixture
def aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a list is, it is compiled in another process."""
    monkeypatch.setattr(compile_process, "SMALL", -1)


@pytest.mark.usefixtures("aside")
async def test_another_process_comes_to_the_same_as_this_one(bank: Bank, authority: BundledAuthority) -> None:
    # Signed with the CA's other key, so that the child must know that too.
    first = {"/full": NEW.crl(10, [1, 2])}
    compiled = await compile_aside(authority, first, (), bank.directory, NOW)
    assert compiled == compile_authority(authority, first, (), bank.directory, NOW)
    (index,) = open_indexes(bank.directory, compiled.files)
    assert [serial in index for serial in (1, 2, 3)] == [True, True, False]
    assert index.header.signers[0] != authority.key_digest
    rolled_back = {"/full": NEW.crl(9), "/other": b"<html>"}
    refused = await compile_aside(authority, rolled_back, compiled.files, bank.directory, NOW)
    assert refused.files == compiled.files
    assert [(one.error.reason, one.kept) for one in refused.refusals] == [("malformed", False), ("rolled_back", True)]
    assert [str(one.error) for one in refused.refusals][1] == "/full: has the number 9, but 10 is in force"


def _children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        # A thread may end while it is looked at.
        with contextlib.suppress(FileNotFoundError):
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it never came about")


@pytest.mark.usefixtures("aside")
async def test_a_process_that_dies_is_an_error_and_not_a_hang(bank: Bank, authority: BundledAuthority) -> None:
    before = _children()
    # As large as may be: it is still being read when the process dies.
    waiting = asyncio.ensure_future(compile_aside(authority, {"/full": b"\0" * 2**27}, (), bank.directory, NOW))
    await until(lambda: bool(_children() - before))
    for child in _children() - before:
        os.kill(child, signal.SIGKILL)
    with pytest.raises(TrustMaterialError, match="ended without an answer") as refused:
        await waiting
    assert refused.value.reason == "compiler"
    assert list(bank.directory.glob("*.index")) == []


@pytest.mark.usefixtures("aside")
async def test_a_master_that_reaps_its_children_at_once_still_hears_the_answer(
    bank: Bank, authority: BundledAuthority
) -> None:
    # By the kernel, so that nobody ever learns how the child ended; gateways that other tests have started go on.
    others = _children()
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        compiled = await compile_aside(authority, {"/full": OLD.crl(10, [1])}, (), bank.directory, NOW)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert len(compiled.files) == 1
    assert _children() <= others


@pytest.mark.usefixtures("aside")
async def test_who_stops_waiting_leaves_no_process(bank: Bank, authority: BundledAuthority) -> None:
    before = _children()
    waiting = asyncio.ensure_future(compile_aside(authority, {"/full": b"\0" * 2**27}, (), bank.directory, NOW))
    await until(lambda: bool(_children() - before))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: _children() <= before)


@pytest.mark.usefixtures("aside")
async def test_the_loop_goes_on_while_a_large_list_is_compiled(bank: Bank, authority: BundledAuthority) -> None:
    large = {"/full": OLD.crl(10, range(1, 60_000))}
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - began)

    beating = asyncio.ensure_future(beat())
    compiled = await compile_aside(authority, large, (), bank.directory, NOW)
    beating.cancel()
    (index,) = open_indexes(bank.directory, compiled.files)
    assert index.header.count == 59_999
    assert longest < 1.0


def test_an_index_that_is_damaged_is_not_opened(bank: Bank, authority: BundledAuthority) -> None:
    compiled = compile_authority(authority, {"/full": OLD.crl(10, [1])}, (), bank.directory, NOW)
    path = bank.directory / compiled.files[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert open_indexes(bank.directory, (*compiled.files, "nothing.index")) == []
