"""A CRL is taken while running when it is good; else the last good one stays and a metric says so (C.2, C.4)."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.material import Material
from mtls_gateway.demo.visit import place, within_a_second
from mtls_gateway.model import Code
from mtls_gateway.store.certificates import NewCertificate
from tests.promises.authority import Authority
from tests.promises.whole_gateway import (
    Person,
    WholeGateway,
    authorities,
    configure,
    eventually,
    mtls_gateway,
    prepared,
    whole_gateway,
)

REFUSALS = "mtls_gateway_crl_refusals_total"
SMALL = 4_096


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which it is published."""
    folder = tmp_path_factory.mktemp("published")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture(scope="module")
def feeds(
    tmp_path_factory: pytest.TempPathFactory, published: tuple[Path, str]
) -> Iterator[tuple[WholeGateway, Mapping[str, Authority]]]:
    """A gateway whose authorities are fed by a file, over HTTP, and by a full CRL with a delta beside it."""
    made: dict[str, Authority] = {}

    def settings(material: Material) -> Mapping[str, Any]:
        folder, address = published
        for name in ("file", "delta"):
            made[name] = Authority.made(material.directory, name)
        made["http"] = Authority.made(folder, "http")
        delta = material.directory / "delta.delta.pem"
        made["delta"].publish(made["delta"].crl(1, base=1), delta)
        file = {"source": str(made["file"].crl_file), "refresh": 0.1, "maximum_octets": SMALL}
        full = {"source": str(made["delta"].crl_file), "refresh": 0.1}
        fed = [
            made["file"].settings(file),
            made["http"].settings({"source": f"{address}/http.crl.pem", "refresh": 0.1, "maximum_octets": SMALL}),
            made["delta"].settings(full, {"source": str(delta), "refresh": 0.1, "delta": True}),
        ]
        return {"trust": {"authorities": [*authorities(material.configuration), *fed]}}

    with whole_gateway(tmp_path_factory.mktemp("feeds"), settings) as running:
        yield running, made


Fed = tuple[WholeGateway, Mapping[str, Authority]]


def person_of(fed: Fed, authority: str) -> Person:
    gateway, made = fed
    identity, pem = made[authority].leaf(gateway.folder())
    user_id = gateway.new_user()
    gateway.register(NewCertificate(identity, user_id))
    return Person(user_id, identity, pem)


def seen(gateway: WholeGateway, person: Person) -> str:
    return place(gateway.browser(person).get(CERTIFICATE_HOST, "/"))


NUMBERS = iter(range(10, 10_000, 10))


def next_number() -> int:
    """Higher than all before it."""
    return next(NUMBERS)


def test_a_new_crl_in_a_file_is_taken_while_running(feeds: Fed) -> None:
    gateway, made = feeds
    person, other = person_of(feeds, "file"), person_of(feeds, "file")
    assert seen(gateway, person) == "password page"
    made["file"].publish(made["file"].crl(next_number(), [person.certificate.serial]))
    revoked = Code.CERTIFICATE_REVOKED.value
    assert within_a_second(lambda: seen(gateway, person), revoked) == revoked
    assert seen(gateway, other) == "password page"
    assert gateway.metric_reaches(1, "mtls_gateway_crl_taken_total", authority="file")
    # In DER, and that certificate no longer on it.
    made["file"].publish(made["file"].crl(next_number()).public_bytes(Encoding.DER))
    assert eventually(lambda: seen(gateway, person) == "password page")


def _rolled_back(authority: Authority, number: int) -> bytes:
    return authority.crl(number - 5).public_bytes(Encoding.PEM)


def _another_of_that_number(authority: Authority, number: int) -> bytes:
    return authority.crl(number, age=timedelta(minutes=2)).public_bytes(Encoding.PEM)


def _wrong_issuer(authority: Authority, number: int) -> bytes:
    other = Authority.made(authority.crl_file.parent, "other")
    return other.crl(number + 1).public_bytes(Encoding.PEM)


def _wrong_signature(authority: Authority, number: int) -> bytes:
    signer = authority.signer
    key = Authority.made(authority.crl_file.parent, "forger").signer.key
    forger = Authority(authority.crl_file.parent, "forger", type(signer)(signer.certificate, key))
    return forger.crl(number + 1).public_bytes(Encoding.PEM)


def _bit_flipped(authority: Authority, number: int) -> bytes:
    octets = bytearray(authority.crl(number + 1).public_bytes(Encoding.DER))
    octets[len(octets) // 2] ^= 1
    return bytes(octets)


def _oversized(authority: Authority, number: int) -> bytes:
    return authority.crl(number + 1).public_bytes(Encoding.PEM) + b"\n" * SMALL


def _a_delta(authority: Authority, number: int) -> bytes:
    return authority.crl(number + 1, base=number).public_bytes(Encoding.PEM)


#: What takes the CRL's place, made for the authority and the number in force, and the reason of the metric.
BAD: dict[str, tuple[Callable[[Authority, int], bytes], tuple[str, ...]]] = {
    "empty": (lambda authority, number: b"", ("empty",)),
    "blank": (lambda authority, number: b"\n\n", ("empty",)),
    "no CRL": (lambda authority, number: b"<html>404 Not Found</html>", ("malformed",)),
    "cut off": (lambda authority, number: authority.crl(number + 1).public_bytes(Encoding.DER)[:-9], ("malformed",)),
    "with a tail": (
        lambda authority, number: authority.crl(number + 1).public_bytes(Encoding.DER) + b"\0",
        ("malformed",),
    ),
    "a certificate": (lambda authority, number: authority.certificate_file.read_bytes(), ("malformed",)),
    "of another issuer": (_wrong_issuer, ("wrong_issuer",)),
    "signed by somebody else": (_wrong_signature, ("wrong_signature",)),
    "with a bit flipped": (_bit_flipped, ("malformed", "wrong_signature", "wrong_issuer")),
    "rolled back": (_rolled_back, ("rolled_back",)),
    "another of the same number": (_another_of_that_number, ("rolled_back",)),
    "oversized": (_oversized, ("oversized",)),
    "a delta unasked": (_a_delta, ("unasked_delta",)),
}


#: Fetching differs by where a CRL comes from, what is made of it does not: not each of them again.
CASES = [*(("file", bad) for bad in BAD), *(("http", bad) for bad in ("empty", "no CRL", "rolled back", "oversized"))]


@pytest.mark.parametrize(("kind", "bad"), CASES)
def test_a_bad_crl_is_not_taken_and_the_last_good_one_stays(
    feeds: Fed, people: Mapping[str, tuple[Person, Person]], kind: str, bad: str
) -> None:
    gateway, made = feeds
    authority, (revoked, good) = made[kind], people[kind]
    make, reasons = BAD[bad]

    def refusals() -> float:
        return sum(gateway.metric(REFUSALS, authority=kind, reason=reason) for reason in reasons)

    def publish_a_good_one() -> int:
        taken = gateway.metric("mtls_gateway_crl_taken_total", authority=kind)
        number = next_number()
        authority.publish(authority.crl(number, [revoked.certificate.serial]))
        assert gateway.metric_reaches(taken + 1, "mtls_gateway_crl_taken_total", authority=kind), gateway.log[-2_000:]
        return number

    number = publish_a_good_one()
    before = refusals()
    authority.publish(make(authority, number))
    assert eventually(lambda: refusals() > before), gateway.log[-2_000:]
    # Neither is the revoked one let in again, nor is the good one shut out.
    assert seen(gateway, revoked) == Code.CERTIFICATE_REVOKED.value
    assert seen(gateway, good) == "password page"
    assert "the last good one stays" in gateway.log
    # And the next good one is taken as if nothing had been.
    publish_a_good_one()


@pytest.fixture(scope="module")
def people(feeds: Fed) -> Mapping[str, tuple[Person, Person]]:
    """For each kind of source one who stands on its CRL and one who does not."""
    return {kind: (person_of(feeds, kind), person_of(feeds, kind)) for kind in ("file", "http")}


def test_a_file_that_vanishes_changes_nothing_but_the_metric(feeds: Fed) -> None:
    gateway, made = feeds
    person = person_of(feeds, "file")
    made["file"].publish(made["file"].crl(next_number(), [person.certificate.serial]))
    assert eventually(lambda: seen(gateway, person) == Code.CERTIFICATE_REVOKED.value)
    before = gateway.metric(REFUSALS, authority="file", reason="missing")
    made["file"].crl_file.unlink()
    assert eventually(lambda: gateway.metric(REFUSALS, authority="file", reason="missing") > before)
    assert seen(gateway, person) == Code.CERTIFICATE_REVOKED.value
    made["file"].publish(made["file"].crl(next_number()))
    assert eventually(lambda: seen(gateway, person) == "password page")


def test_an_address_that_answers_an_error_changes_nothing_but_the_metric(feeds: Fed) -> None:
    gateway, made = feeds
    person = person_of(feeds, "http")
    made["http"].publish(made["http"].crl(next_number(), [person.certificate.serial]))
    assert eventually(lambda: seen(gateway, person) == Code.CERTIFICATE_REVOKED.value)
    before = gateway.metric(REFUSALS, authority="http", reason="http_status")
    made["http"].crl_file.unlink()
    assert eventually(lambda: gateway.metric(REFUSALS, authority="http", reason="http_status") > before)
    assert seen(gateway, person) == Code.CERTIFICATE_REVOKED.value
    made["http"].publish(made["http"].crl(next_number()))
    assert eventually(lambda: seen(gateway, person) == "password page")


def test_a_delta_adds_to_the_full_crl_and_may_not_go_back(feeds: Fed) -> None:
    gateway, made = feeds
    authority = made["delta"]
    delta = gateway.material.directory / "delta.delta.pem"
    first, second = person_of(feeds, "delta"), person_of(feeds, "delta")
    base = next_number()
    # One file after the other: whatever stands between the two is refused or good, never half taken.
    authority.publish(authority.crl(base + 1, [second.certificate.serial], base=base), delta)
    authority.publish(authority.crl(base, [first.certificate.serial]))
    assert eventually(lambda: seen(gateway, first) == Code.CERTIFICATE_REVOKED.value)
    assert eventually(lambda: seen(gateway, second) == Code.CERTIFICATE_REVOKED.value)
    before = gateway.metric(REFUSALS, authority="delta", reason="rolled_back")
    authority.publish(authority.crl(base, base=base), delta)
    assert eventually(lambda: gateway.metric(REFUSALS, authority="delta", reason="rolled_back") > before)
    assert seen(gateway, second) == Code.CERTIFICATE_REVOKED.value
    # A delta to a full one that is not at hand.
    before = gateway.metric(REFUSALS, authority="delta", reason="delta_without_base")
    authority.publish(authority.crl(base + 9, base=base + 8), delta)
    assert eventually(lambda: gateway.metric(REFUSALS, authority="delta", reason="delta_without_base") > before)
    assert seen(gateway, second) == Code.CERTIFICATE_REVOKED.value


def test_a_crl_past_its_next_update_shuts_out_at_that_very_second(feeds: Fed) -> None:
    gateway, made = feeds
    authority = made["file"]
    person = person_of(feeds, "file")
    authority.publish(authority.crl(next_number(), ends=timedelta(seconds=3)))
    assert eventually(lambda: gateway.metric("mtls_gateway_crl_seconds_left", authority="file") < 10)
    assert seen(gateway, person) == "password page"
    assert eventually(lambda: seen(gateway, person) == Code.REVOCATION_UNKNOWN.value, 6)
    assert eventually(lambda: gateway.metric("mtls_gateway_crl_seconds_left", authority="file") < 0)
    authority.publish(authority.crl(next_number()))
    assert eventually(lambda: seen(gateway, person) == "password page")


# --- at start ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration that nothing runs with, whose ``issuing`` CRL a test may spoil."""
    material, _ = prepared(tmp_path_factory.mktemp("stopped"), {})
    return material.configuration


AT_START: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "malformed": lambda file: file.write_bytes(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
}


@pytest.mark.parametrize("how", AT_START)
def test_a_crl_that_cannot_be_used_at_start_is_a_refusal_to_start_that_names_it(
    stopped: Path, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "ca"
    folder.mkdir()
    for file in (stopped.parent / "ca").glob("*.pem"):
        if not file.name.endswith("key.pem"):
            (folder / file.name).write_bytes(file.read_bytes())
    crl = folder / "issuing.crl.pem"
    x509.load_pem_x509_crl(crl.read_bytes())
    AT_START[how](crl)
    configuration = tmp_path / "gateway.toml"
    configuration.write_bytes(stopped.read_bytes())
    entries = [
        {"name": name, "certificate": f"ca/{name}.cert.pem", "crls": [{"source": f"ca/{name}.crl.pem"}]}
        for name in ("root", "issuing")
    ]
    hosts = {
        site: {
            "certificate": f"{stopped.parent}/hosts/{name}.cert.pem",
            "key": f"{stopped.parent}/hosts/{name}.key.pem",
        }
        for site, name in (("public", "bank.localhost"), ("certificate", "cert.bank.localhost"))
    }
    configure(configuration, hosts, {"trust": {"authorities": entries}, "state": str(tmp_path / "state")})
    done = mtls_gateway(configuration, "serve")
    assert done.returncode != 0
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"mtls-gateway: {crl}: ")
    assert "Traceback" not in done.stderr
