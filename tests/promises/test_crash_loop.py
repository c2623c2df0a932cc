"""What cannot start is tried again, slower and slower, and serves as soon as it can; the others serve all the while."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.visit import place
from tests.promises.test_kill_9 import processes
from tests.promises.whole_gateway import eventually, whole_gateway


def test_a_portal_that_cannot_start_is_not_forked_as_fast_as_it_ends(tmp_path: Path) -> None:
    with whole_gateway(tmp_path, {"store": {"silence": 60.0}}) as gateway:
        person = gateway.newcomer()
        browser = gateway.signed_in(person)
        # Both workers read the session as soon as they hear of it, whichever of them the browser has met.
        assert gateway.metric_reaches(2, "mtls_gateway_sessions_known")
        database = gateway.material.directory / "state" / "gateway.sqlite3"
        away = database.with_name("away")
        database.rename(away)
        os.kill(processes(gateway, "portal")[0], signal.SIGKILL)
        said = "portal ended before it served; it is started again in"
        assert eventually(lambda: f"{said} 2 s" in gateway.log, 30.0)
        assert f"{said} 0.5 s" in gateway.log and f"{said} 1 s" in gateway.log
        # What the workers know goes on: no portal is needed for the bank's own pages.
        for _ in range(12):
            assert place(browser.get(CERTIFICATE_HOST, "/home")) == f"home of {person.user_id}"
        away.rename(database)
        assert eventually(lambda: bool(gateway.metric("mtls_gateway_fork_pauses_total", role="portal") >= 3), 30.0)
        assert eventually(lambda: "電子証明書ログイン" in gateway.browser().get(PUBLIC_HOST, "/").text, 30.0)
