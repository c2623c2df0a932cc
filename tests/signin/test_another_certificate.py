from __future__ import annotations

from mtls_gateway.clock import ManualClock
from mtls_gateway.model import PeerCertificate
from mtls_gateway.signin.another_certificate import (
    NO_CERTIFICATE,
    NONE_REMEMBERED_SECONDS,
    REMEMBERED_SECONDS,
    Unwanted,
)

ONE, OTHER = PeerCertificate(b"one"), PeerCertificate(b"other")


def subject(certificate: PeerCertificate, address: str) -> str:
    return f"{certificate.fingerprint.hex()} {address}"


def test_an_address_that_asked_is_asked_again_for_a_few_seconds_only() -> None:
    clock = ManualClock(0.0)
    marks = Unwanted(clock)
    assert not marks.must_ask_again("127.0.0.1")
    marks.mark(subject(ONE, "127.0.0.1"))
    assert marks.must_ask_again("127.0.0.1")
    assert marks.is_unwanted("127.0.0.1", ONE)
    assert not marks.is_unwanted("127.0.0.1", OTHER)
    assert not marks.must_ask_again("127.0.0.2")
    assert not marks.is_unwanted("127.0.0.2", ONE)
    clock.advance(REMEMBERED_SECONDS)
    assert not marks.is_unwanted("127.0.0.1", ONE)
    assert not marks.must_ask_again("127.0.0.1")


def test_two_people_behind_one_address_may_both_ask() -> None:
    clock = ManualClock(0.0)
    marks = Unwanted(clock)
    marks.mark(subject(ONE, "::1"))
    clock.advance(REMEMBERED_SECONDS / 2)
    marks.mark(subject(OTHER, "::1"))
    clock.advance(REMEMBERED_SECONDS / 2)
    assert not marks.is_unwanted("::1", ONE)
    assert marks.is_unwanted("::1", OTHER)
    assert marks.must_ask_again("::1")


def test_once_the_browser_has_asked_any_certificate_may_be_chosen() -> None:
    marks = Unwanted(ManualClock(0.0))
    marks.mark(subject(ONE, "127.0.0.1"))
    marks.mark(subject(ONE, "127.0.0.2"))
    marks.mark(" 127.0.0.1")
    assert not marks.must_ask_again("127.0.0.1")
    assert not marks.is_unwanted("127.0.0.1", ONE)
    assert marks.is_unwanted("127.0.0.2", ONE)
    marks.mark(" 127.0.0.3")
    assert not marks.must_ask_again("127.0.0.3")


def test_having_shown_none_is_a_choice_that_can_be_unwanted_for_a_shorter_while() -> None:
    clock = ManualClock(0.0)
    marks = Unwanted(clock)
    marks.mark(f"{NO_CERTIFICATE.hex()} 127.0.0.1")
    assert marks.must_ask_again("127.0.0.1")
    assert marks.is_unwanted("127.0.0.1", None)
    assert not marks.is_unwanted("127.0.0.1", ONE)
    assert not marks.is_unwanted("127.0.0.2", None)
    clock.advance(NONE_REMEMBERED_SECONDS)
    assert not marks.is_unwanted("127.0.0.1", None)
    assert not marks.must_ask_again("127.0.0.1")


def test_marks_are_bounded_and_nonsense_is_ignored() -> None:
    marks = Unwanted(ManualClock(0.0))
    marks.mark("not hexadecimal 127.0.0.1")
    assert not marks.must_ask_again("127.0.0.1")
    for number in range(12_000):
        marks.mark(subject(ONE, f"address {number}"))
    for number in range(100):
        marks.mark(subject(PeerCertificate(b"%d" % number), "many"))
    assert not marks.must_ask_again("address 0")
    assert marks.must_ask_again("address 11999")
    assert not marks.is_unwanted("many", PeerCertificate(b"0"))
    assert marks.is_unwanted("many", PeerCertificate(b"99"))
