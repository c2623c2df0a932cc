"""A disk that is full or fails: nothing is acknowledged that was not written, readers go on, and it is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.material import Material
from mtls_gateway.demo.run import end, process, wait_until_it_answers
from mtls_gateway.demo.visit import place
from tests.promises.small_disk import SmallDisk, small_disk
from tests.promises.whole_gateway import Person, WholeGateway, eventually, mtls_gateway, whole_gateway

pytestmark = pytest.mark.needs("disks")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("disk"), 48) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(disk: SmallDisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    """Its state lies on the small disk, and nothing else."""

    def settings(material: Material) -> Mapping[str, Any]:
        state = disk.folder / "state"
        shutil.copytree(material.directory / "state", state)
        state.chmod(0o700)
        return {"state": str(state), "operations": {"disk_reserve": 1 << 20}}

    with whole_gateway(tmp_path_factory.mktemp("gateway"), settings) as running:
        yield running


def readiness(gateway: WholeGateway) -> tuple[int, Mapping[str, str]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.ports.operations}/readyz", timeout=10) as answer:
            return 200, json.load(answer)["checks"]
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)["checks"]


def emptied(disk: SmallDisk) -> bool:
    """Whether the database's log of writes has gone into the database, and takes no room."""
    database = sqlite3.connect(disk.folder / "state" / "gateway.sqlite3", timeout=5)
    try:
        busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return bool(busy == 0)
    finally:
        database.close()


def try_to_sign_in(gateway: WholeGateway, person: Person) -> tuple[Browser, int]:
    """The browser, and the status of what it was led to."""
    browser = gateway.browser(person)
    page = browser.get(CERTIFICATE_HOST, "/")
    if page.status != 200:
        return browser, page.status
    return browser, browser.submit(page, page.form("password"), password=person.password).status


def test_a_full_disk_admits_nobody_whose_session_was_not_written_and_loses_nobody_who_was(
    gateway: WholeGateway, disk: SmallDisk
) -> None:
    workers = gateway.workers()
    here = gateway.newcomer()
    browser = gateway.signed_in(here)
    newcomers = [gateway.newcomer() for _ in range(6)]
    stopped = gateway.newcomer()
    # What is in the log of writes already could be written over.
    assert eventually(lambda: emptied(disk))
    disk.fill()
    try:
        assert eventually(lambda: readiness(gateway)[0] == 503)
        assert "the disk is full" in readiness(gateway)[1]["state"]
        assert eventually(lambda: gateway.metric("mtls_gateway_ready", check="state") == 0)
        tried = [(person, *try_to_sign_in(gateway, person)) for person in newcomers]
        # What still fits into files that are there already is good; nothing is half done.
        assert {status for _, _, status in tried} <= {200, 503}
        assert any(status == 503 for _, _, status in tried)
        assert place(browser.get(CERTIFICATE_HOST, "/home")) == f"home of {here.user_id}"
        told = mtls_gateway(gateway.material.configuration, "user", "stop", stopped.user_id)
        assert told.returncode == 0 or (len(told.stderr.splitlines()) == 1 and "full" in told.stderr), told
    finally:
        disk.free()
    assert eventually(lambda: readiness(gateway)[0] == 200)
    for person, admitted, status in tried:
        if status == 200:
            assert place(admitted.get(CERTIFICATE_HOST, "/home")) == f"home of {person.user_id}"
        else:
            gateway.signed_in(person)
    assert place(browser.get(CERTIFICATE_HOST, "/home")) == f"home of {here.user_id}"
    # As the operator was told: done, or not done at all.
    assert (gateway.browser(stopped).get(CERTIFICATE_HOST, "/").status == 403) == (told.returncode == 0)
    assert gateway.workers() == workers
    gateway.cli("audit", "verify")


def test_a_disk_that_turns_read_only_takes_no_reader_with_it_and_after_its_repair_all_is_there(
    gateway: WholeGateway, disk: SmallDisk
) -> None:
    here, late = gateway.newcomer(), gateway.newcomer()
    browser = gateway.signed_in(here)
    workers = gateway.workers()
    disk.fail()
    assert eventually(lambda: readiness(gateway)[0] == 503)
    assert "Read-only file system" in readiness(gateway)[1]["state"]
    assert try_to_sign_in(gateway, late)[1] == 503
    # For several heart-beats: that they could not be written was once the end of every worker.
    until = time.monotonic() + 4.0
    while time.monotonic() < until:
        assert place(browser.get(CERTIFICATE_HOST, "/home")) == f"home of {here.user_id}"
    assert gateway.workers() == workers
    assert gateway.metric("mtls_gateway_worker_exits_total", cause="died") == 0
    assert "Traceback" not in gateway.log
    # One that dies is not replaced before its database can be written; the master tries again, the others serve.
    os.kill(workers[0], signal.SIGKILL)
    assert eventually(lambda: "gateway ended before it served; it is started again in" in gateway.log, 20)
    assert place(browser.get(CERTIFICATE_HOST, "/home")) == f"home of {here.user_id}"
    end(gateway.process)
    assert gateway.process.returncode == 0
    disk.repair()
    log = gateway.material.directory / "again.log"
    with ExitStack() as stack:
        again = stack.enter_context(
            process(log, ["-m", "mtls_gateway", "--config", str(gateway.material.configuration), "serve"])
        )
        wait_until_it_answers("the gateway", again, gateway.ports.operations, "/readyz", log)
        assert place(browser.get(CERTIFICATE_HOST, "/home")) == f"home of {here.user_id}"
        gateway.signed_in(late)
        gateway.cli("audit", "verify")
