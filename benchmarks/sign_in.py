"""A sign-in and sign-out through everything: ``python -m benchmarks.sign_in [COUNT]``; 60.

The demo's bank and gateway, one browser after the other: TLS connection, password page, the bank's own login form
replayed, the session, the first page, and the sign-out that ends both sessions. Processor seconds are counted process
by process: a busy machine changes them least.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.enrolment import processor_by_role
from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.material import Material, Ports, make_material
from mtls_gateway.demo.run import process, wait_until_it_answers
from mtls_gateway.demo.visit import place

_CERTIFICATE = "good"
_SETTINGS = "\n[lockout]\nattempts_per_address = 1000000\n"


def _once(material: Material, port: int) -> None:
    certificates, user = material.certificates, cast.user(cast.certificate(_CERTIFICATE).user_id)
    browser = Browser(port, certificates.server_ca, certificates.user(_CERTIFICATE))
    page = browser.get(CERTIFICATE_HOST, "/")
    home = browser.submit(page, page.form("password"), password=user.password)
    if not place(home).startswith("home"):
        raise RuntimeError(f"the sign-in got to: {place(home)}")
    page = browser.get(CERTIFICATE_HOST, "/gateway/sign-out")
    browser.submit(page, page.form_to("/sign-out"))


def measure(folder: Path, count: int) -> dict[str, float]:
    """Figures by name."""
    gateway, operations, bank = free_ports(3)
    material = make_material(folder, Ports(gateway=gateway, operations=operations, bank=bank), fresh=True)
    with material.configuration.open("a", encoding="utf-8") as file:
        file.write(_SETTINGS)
    words = ["-m", "mtls_gateway.demo.bank", "--port", str(bank), "--accounts", str(material.accounts)]
    with process(material.log("bank"), words) as running_bank:
        wait_until_it_answers("the bank", running_bank, bank, "/login", material.log("bank"))
        words = ["-m", "mtls_gateway", "--config", str(material.configuration), "serve"]
        with process(material.log("gateway"), words) as running:
            wait_until_it_answers("the gateway", running, operations, "/readyz", material.log("gateway"))
            for _ in range(3):
                _once(material, gateway)
            before, began = processor_by_role(running.pid), time.monotonic()
            for _ in range(count):
                _once(material, gateway)
            seconds = time.monotonic() - began
            after = processor_by_role(running.pid)
            used = {role: spent - before.get(role, 0.0) for role, spent in after.items()}
            # What it does when nobody comes, over as long, is not the sign-ins'.
            time.sleep(seconds)
            idle = {role: spent - after.get(role, 0.0) for role, spent in processor_by_role(running.pid).items()}
    each = {role: max(0.0, spent - idle.get(role, 0.0)) / count * 1_000 for role, spent in used.items()}
    return {"wall_ms": seconds / count * 1_000, "processor_ms": sum(each.values())} | {
        f"{role}_ms": spent for role, spent in sorted(each.items())
    }


def main() -> int:
    """Print the figures; the last line is JSON."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder) / "demo", count)
    for name, figure in found.items():
        print(f"{name:<24}{figure:>10.2f}")
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
