"""The brake by address."""

from __future__ import annotations

from mtls_gateway.clock import ManualClock
from mtls_gateway.signin.lockout import AddressThrottle

NOW = 1_780_282_800.0


def test_an_address_may_make_so_many_attempts_a_minute_and_then_waits() -> None:
    clock = ManualClock(NOW)
    throttle = AddressThrottle(3, clock)
    for _ in range(3):
        assert throttle.admit("192.0.2.1") == 0.0
        clock.advance(10)
    assert throttle.admit("192.0.2.1") == 30.0
    clock.advance(30)
    assert throttle.admit("192.0.2.1") == 0.0
    assert throttle.admit("192.0.2.1") == 10.0


def test_another_address_is_not_braked() -> None:
    throttle = AddressThrottle(1, ManualClock(NOW))
    assert throttle.admit("192.0.2.1") == 0.0
    assert throttle.admit("192.0.2.2") == 0.0
    assert throttle.admit("192.0.2.1") > 0.0


def test_a_customers_whole_ipv6_network_counts_as_one_address() -> None:
    throttle = AddressThrottle(1, ManualClock(NOW))
    assert throttle.admit("2001:db8::1") == 0.0
    assert throttle.admit("2001:db8::ffff:2") > 0.0
    assert throttle.admit("2001:db8:0:1::1") == 0.0
    assert throttle.admit("::ffff:192.0.2.1") == 0.0
    assert throttle.admit("192.0.2.1") > 0.0


def test_setting_the_wall_clock_back_lifts_nothing() -> None:
    clock = ManualClock(NOW)
    throttle = AddressThrottle(1, clock)
    throttle.admit("192.0.2.1")
    clock.set(NOW - 86_400)
    assert throttle.admit("192.0.2.1") > 0.0


def test_a_flood_of_addresses_is_braked_as_a_whole_and_forgotten() -> None:
    clock = ManualClock(NOW)
    throttle = AddressThrottle(1, clock)
    for number in range(100_000):
        throttle.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert throttle.admit("192.0.2.1") == 60.0
    clock.advance(60)
    assert throttle.admit("192.0.2.1") == 0.0
