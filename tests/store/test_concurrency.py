"""Several processes on one file, as the workers, the portal and an operator's command are."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from mtls_gateway.clock import ManualClock
from mtls_gateway.model import CertificateId, NewSession, SessionState
from mtls_gateway.store.opening import Store, open_store

#: Prints "ready", waits for a line on standard input, then does its part and prints one word for each.
_PROCESS = """
import asyncio, sys
from mtls_gateway.clock import ManualClock
from mtls_gateway.model import CertificateId, ChangeKind, NewSession
from mtls_gateway.store.opening import Store, open_store

async def main(url, name):
    store = await open_store(url, ManualClock({now!r}), busy_timeout=30)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    {body}
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


def _processes(count: int, url: str, body: str, now: float) -> list[subprocess.Popen[str]]:
    program = _PROCESS.format(now=now, body=body)
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for number in range(count)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return started


def _go(processes: list[subprocess.Popen[str]]) -> list[str]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said: list[str] = []
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        said += output.split()
    return said


async def test_fifty_parallel_wrong_passwords_are_counted_exactly(store: Store, url: str, clock: ManualClock) -> None:
    body = """
    attempts = [store.attempts.begin_attempt("taro", limit=1000, suspension=1, suspensions=3) for _ in range(25)]
    print(*(one.allowed for one in await asyncio.gather(*attempts)))
    """
    said = await asyncio.to_thread(_go, _processes(2, url, body.strip(), clock.now()))
    assert said == ["True"] * 50
    (taro,) = [one for one in await store.users.all() if one.user.user_id == "taro"]
    assert taro.wrong_passwords == 50


async def test_of_fifty_parallel_guesses_no_more_than_the_limit_are_let_through(
    store: Store, url: str, clock: ManualClock
) -> None:
    body = """
    attempts = [store.attempts.begin_attempt("taro", limit=5, suspension=1800, suspensions=3) for _ in range(25)]
    print(*(one.allowed for one in await asyncio.gather(*attempts)))
    """
    said = await asyncio.to_thread(_go, _processes(2, url, body.strip(), clock.now()))
    assert (said.count("True"), said.count("False")) == (5, 45)


async def test_of_twenty_sessions_opened_at_once_exactly_one_is_live(
    store: Store, url: str, clock: ManualClock
) -> None:
    body = """
    one = CertificateId("CN=Demo Issuing CA,O=Demo Shinkumi,C=JP", 1)
    new = [NewSession(bytes([int(name), n]) * 16, "taro", one, {now}, {now} + 9, b"") for n in range(10)]
    print(*(state.value for state in await asyncio.gather(*(store.sessions.open_session(n, idle=9) for n in new))))
    """.replace("{now}", repr(clock.now()))
    said = await asyncio.to_thread(_go, _processes(2, url, body.strip(), clock.now()))
    assert (said.count("live"), said.count("pending")) == (1, 19)
    assert len(await store.sessions.all(state=SessionState.LIVE)) == 1


async def test_of_ten_take_overs_at_once_exactly_one_is_live(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    now = clock.now()
    digests = [bytes([number]) * 32 for number in range(11)]
    for digest in digests:
        new = NewSession(digest, "taro", certificate, now, now + 9, b"")
        await store.sessions.open_session(new, idle=900)
    taken = await asyncio.gather(
        *(store.sessions.take_over(digest, not_before=now) for digest in digests[1:]), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in taken) == 1
    assert len(await store.sessions.all(state=SessionState.LIVE)) == 1


async def test_changes_of_several_writers_have_no_holes_and_are_seen_in_order(
    store: Store, url: str, clock: ManualClock
) -> None:
    body = """
    for _ in range(50):
        await store.changes.announce(ChangeKind.REVOCATION, name)
    """
    before = await store.worker.latest_change()
    running = asyncio.create_task(asyncio.to_thread(_go, _processes(3, url, body.strip(), clock.now())))
    seen: list[int] = []
    while len(seen) < 150:
        seen += [one.sequence for one in await store.worker.changes_since(seen[-1] if seen else before)]
    await running
    assert seen == list(range(before + 1, before + 151))


async def test_kill_9_of_a_writer_loses_nothing_that_it_was_told_is_written(
    store: Store, url: str, clock: ManualClock
) -> None:
    body = """
    while True:
        await store.attempts.begin_attempt("taro", limit=10**6, suspension=1, suspensions=3)
        print("counted", flush=True)
    """
    (process,) = await asyncio.to_thread(_processes, 1, url, body.strip(), clock.now())
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    for _ in range(40):
        await asyncio.to_thread(process.stdout.readline)
    os.kill(process.pid, signal.SIGKILL)
    # Not communicate(): it would leave out what readline has read ahead.
    acknowledged = 40 + len((await asyncio.to_thread(process.stdout.read)).split())
    await asyncio.to_thread(process.communicate)
    reopened = await open_store(url, clock)
    (taro,) = [one for one in await reopened.users.all() if one.user.user_id == "taro"]
    # One more may have been written than was acknowledged, never one less.
    assert taro.wrong_passwords in (acknowledged, acknowledged + 1)
    await reopened.users.release("taro", actor="test")  # and the dead writer's lock is gone
    await reopened.close()
