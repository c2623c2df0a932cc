"""What must happen by itself does: mail through kill -9, reload and outages; one active clerk (clauses D.5, E.4)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from mtls_gateway.clock import SystemClock
from mtls_gateway.demo.run import process
from mtls_gateway.model import CertificateId, CertificateState, MailState
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.users import NewUser
from tests.promises.mail_server import MailServer, mail_server
from tests.promises.test_kill_9 import kill, processes
from tests.promises.whole_gateway import WholeGateway, eventually, whole_gateway

ISSUER = "CN=Elsewhere,C=JP"
COMPANY = "clerks"
DAY = 86_400.0
LEADING = "mtls_gateway_clerk_leading"


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with mail_server() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, server: MailServer) -> Iterator[WholeGateway]:
    mail = {
        "host": "127.0.0.1",
        "port": server.port,
        "security": "none",
        "sender": "ib@bank.example",
        "timeout": 1.0,
        "batch": 1,
        "poll": 0.1,
        "retry_first": 1.0,
    }
    settings = {"mail": mail, "notices": {"every": 0.2, "hour": 0}}
    with whole_gateway(tmp_path_factory.mktemp("clerk"), settings) as running:
        # A company of the test's own: those of the demo have administrators, who are told as well.
        running.store(lambda store: store.companies.create(COMPANY, "株式会社書記", actor="test"))
        yield running


def new_certificate(gateway: WholeGateway, ends_in: float) -> CertificateId:
    """Of a new user with an address; it ends in so many seconds."""
    serial = int.from_bytes(os.urandom(8), "big")
    user_id = f"clerk{serial:x}"
    gateway.store(lambda store: store.users.add([NewUser(user_id, COMPANY, email=f"{user_id}@x.example")], actor="t"))
    not_after = float(int(SystemClock().now() + ends_in))
    certificate = CertificateId(ISSUER, serial)
    gateway.register(NewCertificate(certificate, user_id, not_after))
    return certificate


def revoke(gateway: WholeGateway, certificate: CertificateId) -> str:
    gateway.store(lambda store: store.certificates.revoke(certificate, actor="test"))
    return f"clerk{certificate.serial:x}"


def all_are(gateway: WholeGateway, user_id: str, state: MailState) -> bool:
    mails = gateway.store(lambda store: store.outbox.all(user_id=user_id))
    return bool(mails) and all(mail.state is state for mail in mails)


def test_a_revocation_is_mailed_at_once(gateway: WholeGateway, server: MailServer) -> None:
    before = len(server.arrived("失効"))
    user_id = revoke(gateway, new_certificate(gateway, 300 * DAY))
    assert eventually(lambda: len(server.arrived("失効")) == before + 1, 5.0)
    assert eventually(lambda: all_are(gateway, user_id, MailState.SENT))
    assert gateway.metric_reaches(1, "mtls_gateway_mails_total", kind="revoked", outcome="sent")


def test_a_certificate_that_ends_soon_is_told_of_and_one_that_has_ended_is_expired(
    gateway: WholeGateway, server: MailServer
) -> None:
    new_certificate(gateway, 5.5 * DAY)
    assert eventually(lambda: len(server.arrived("あと")) == 1, 5.0)
    certificate = new_certificate(gateway, 0.0)
    assert eventually(lambda: len(server.arrived("切れました")) == 1, 5.0)
    registration = gateway.store(lambda store: store.certificates.registration(certificate))
    assert registration is not None
    assert registration.state is CertificateState.EXPIRED
    assert gateway.metric_reaches(1, "mtls_gateway_expiry_notices_total", notice="0", outcome="mailed")


def test_a_clerk_killed_between_sending_and_marking_repeats_that_one_mail_with_the_same_message_id(
    gateway: WholeGateway, server: MailServer
) -> None:
    before = len(server.arrived())
    server.hold()
    user_id = revoke(gateway, new_certificate(gateway, 300 * DAY))
    # The server has it and has not said so.
    assert eventually(lambda: len(server.arrived()) == before + 1)
    kill(gateway, "clerk")
    server.release()
    assert eventually(lambda: all_are(gateway, user_id, MailState.SENT), 30.0)
    mails = server.arrived()[before:]
    assert len(mails) <= 2
    assert len(set(mails)) == 1
    if len(mails) == 2:
        assert f"may go out a second time, after a clerk that died: {mails[0]}" in gateway.log


def test_a_clerk_that_was_killed_has_a_successor_within_seconds_and_nothing_is_lost(
    gateway: WholeGateway, server: MailServer
) -> None:
    assert gateway.metric(LEADING) == 1
    before = len(server.arrived("失効"))
    (first,) = processes(gateway, "clerk")
    os.kill(first, signal.SIGKILL)
    revoke(gateway, new_certificate(gateway, 300 * DAY))
    assert eventually(lambda: len(server.arrived("失効")) == before + 1, 15.0)
    assert eventually(lambda: gateway.metric(LEADING) == 1)
    assert processes(gateway, "clerk") != [first]


def test_a_second_clerk_waits_and_when_the_active_one_is_killed_one_of_the_others_leads(
    gateway: WholeGateway, server: MailServer
) -> None:
    log = gateway.material.log("second-clerk")
    before = len(server.arrived("失効"))
    with process(log, ["-m", "mtls_gateway", "--config", str(gateway.material.configuration), "clerk"]):
        assert eventually(lambda: "the clerk is at work" in log.read_text(), 20.0)
        revoke(gateway, new_certificate(gateway, 300 * DAY))
        assert eventually(lambda: len(server.arrived("失効")) == before + 1)
        assert "is the active one" not in log.read_text()
        (first,) = processes(gateway, "clerk")
        os.kill(first, signal.SIGKILL)
        # The second, or the one that the master puts in the first's place: whichever asks first.
        assert eventually(lambda: "is the active one" in log.read_text() or gateway.metric(LEADING) == 1, 10.0)
        revoke(gateway, new_certificate(gateway, 300 * DAY))
        assert eventually(lambda: len(server.arrived("失効")) == before + 2)
    assert eventually(lambda: gateway.metric(LEADING) == 1, 20.0)
    assert len(server.arrived("失効")) == before + 2


def test_over_a_reload_there_is_one_active_clerk_and_each_mail_goes_out_once(
    gateway: WholeGateway, server: MailServer
) -> None:
    before = len(server.arrived("失効"))
    (old,) = processes(gateway, "clerk")
    certificates = [new_certificate(gateway, 300 * DAY) for _ in range(6)]
    for place, certificate in enumerate(certificates):
        revoke(gateway, certificate)
        if place == 2:
            gateway.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: old not in processes(gateway, "clerk") and len(processes(gateway, "clerk")) == 1, 40.0)
    assert eventually(lambda: len(server.arrived("失効")) >= before + 6, 20.0)
    assert eventually(lambda: gateway.metric(LEADING) == 1)
    arrived = server.arrived("失効")[before:]
    assert sorted(arrived) == sorted(set(arrived))
    assert len(arrived) == 6
