"""Debian's Prometheus on loopback, with the rules of ``deploy/`` and a data directory of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.alerts import PROMETHEUS, RULES
from tests.promises.whole_gateway import eventually


class PrometheusServer:
    """A running one."""

    def __init__(self, port: int, log: Path) -> None:
        self._port = port
        self._log = log

    def api(self, path: str, **query: str) -> Any:
        """``data`` of an answer of the HTTP API; fails where that is not a success."""
        address = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            whole = json.load(answer)
        assert whole["status"] == "success", whole
        return whole["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What an expression comes to now: labels and value of each series."""
        data = self.api("query", query=expression)
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            self.api("status/buildinfo")
        except OSError:
            return False
        return True

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def prometheus_server(directory: Path, port: int, target: int) -> Iterator[PrometheusServer]:
    """Scrape ``target``, a port of 127.0.0.1, each second by the example's own configuration."""
    whole = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    whole["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    # No signer runs beside the gateway of these tests.
    whole["scrape_configs"] = whole["scrape_configs"][:1]
    job = whole["scrape_configs"][0]
    job["scrape_timeout"] = "1s"
    job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    (directory / "rules").mkdir()
    for file in RULES:
        shutil.copy(file, directory / "rules")
    configuration = directory / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(whole), encoding="utf-8")
    log = directory / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = PrometheusServer(port, log)
    try:
        assert eventually(server.answers, 30.0), server.log
        yield server
    finally:
        child.terminate()
        child.wait(20)
