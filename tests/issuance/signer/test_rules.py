from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mtls_gateway.errors import SignerRefused
from mtls_gateway.issuance.orders import IntendedCertificate
from mtls_gateway.issuance.signer.desk import Desk
from mtls_gateway.issuance.signer.rules import check_finished
from mtls_gateway.issuance.validity import one_calendar_year

from .world import NOW, World, public_key

YEAR = one_calendar_year(NOW)
FIRST, LAST = (moment.timestamp() for moment in YEAR)
SERIAL = x509.random_serial_number()


def _outcome(desk: Desk, order: IntendedCertificate) -> object:
    (outcome,) = desk.sign_certificates([order])
    return outcome


def _spki(key: Any, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    octets: bytes = key.public_key().public_bytes(Encoding.DER, form)
    return octets


def _compressed() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    return b"\x30\x39" + algorithm + b"\x03\x22\x00" + point


def _off_the_curve() -> bytes:
    octets = bytearray(public_key())
    octets[-1] ^= 1
    return bytes(octets)


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        ("serial", {"serial": 1}),
        ("serial", {"serial": 0}),
        ("serial", {"serial": (1 << 64) - 1}),
        ("serial", {"serial": 1 << 159}),
        ("user_id", {"user_id": ""}),
        ("user_id", {"user_id": "taro yamada"}),
        ("user_id", {"user_id": "太郎"}),
        ("user_id", {"user_id": "a" * 65}),
        ("common_name", {"common_name": ""}),
        ("common_name", {"common_name": " taro"}),
        ("common_name", {"common_name": "ta\x00ro"}),
        ("common_name", {"common_name": "ta\u202ero"}),
        ("common_name", {"common_name": "\ud800"}),
        ("common_name", {"common_name": "太" * 22}),
        ("organisation", {"organisation": ""}),
        ("organisation", {"organisation": "社" * 65}),
        ("organisation", {"organisation": "a\nb"}),
        ("key_malformed", {"public_key": b""}),
        ("key_malformed", {"public_key": b"\x30\x03\x02\x01\x00"}),
        ("key_malformed", {"public_key": public_key() + b"\x00"}),
        ("key_malformed", {"public_key": _compressed()}),
        ("key_malformed", {"public_key": _off_the_curve()}),
        ("key_type", {"public_key": _spki(ec.generate_private_key(ec.SECP384R1()))}),
        ("key_type", {"public_key": _spki(ec.generate_private_key(ec.SECP256K1()))}),
        ("key_type", {"public_key": _spki(ed25519.Ed25519PrivateKey.generate())}),
        ("key_type", {"public_key": _spki(rsa.generate_private_key(65_537, 2_048))}),
        ("validity", {"not_after": LAST + 1}),
        ("validity", {"not_after": FIRST}),
        ("validity", {"not_after": FIRST - 1}),
        ("begins_too_early", {"not_before": FIRST - 301, "not_after": LAST - 86_400}),
        ("begins_in_the_future", {"not_before": FIRST + 61}),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_by_its_name_and_leaves_no_record(
    world: World, rule: str, changed: dict[str, Any]
) -> None:
    world.begin()
    desk = world.desk()
    try:
        outcome = _outcome(desk, world.order(**{"serial": SERIAL, **changed}))
        assert isinstance(outcome, SignerRefused)
        assert outcome.rule == rule
        assert rule in str(outcome)
        assert "\n" not in str(outcome)
        assert desk.records == 0
    finally:
        desk.close()


@pytest.mark.parametrize(
    "changed",
    [
        {"serial": 1 << 64},
        {"serial": (1 << 159) - 1},
        {"user_id": "A.b_c@d+e-1"},
        {"common_name": "太" * 21},
        {"organisation": "社" * 64},
        {"not_before": FIRST - 300, "not_after": LAST},
        {"not_before": FIRST + 60, "not_after": FIRST + 61},
    ],
)
def test_what_is_just_within_the_rules_is_signed(world: World, changed: dict[str, Any]) -> None:
    world.clock.set(NOW - 3_600)
    world.begin()
    world.clock.set(NOW)
    desk = world.desk()
    try:
        assert isinstance(_outcome(desk, world.order(**changed)), bytes)
    finally:
        desk.close()


@pytest.mark.parametrize(
    ("allowed", "key"),
    [
        ("P-384", ec.generate_private_key(ec.SECP384R1())),
        ("RSA-2048", rsa.generate_private_key(65_537, 2_048)),
        ("RSA-3072", rsa.generate_private_key(65_537, 3_072)),
    ],
)
def test_other_keys_are_signed_where_the_settings_allow_them(
    world: World, allowed: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> None:
    world.begin()
    world.settings["key_types"] = [allowed]
    desk = world.desk()
    try:
        made = _outcome(desk, world.order(public_key=public_key(key)))
        assert isinstance(made, bytes)
        assert x509.load_der_x509_certificate(made).public_key() == key.public_key()
        refused = _outcome(desk, world.order())
        assert isinstance(refused, SignerRefused)
        assert refused.rule == "key_type"
    finally:
        desk.close()


def test_an_rsa_key_with_a_small_exponent_is_refused(world: World) -> None:
    world.begin()
    world.settings["key_types"] = ["RSA-2048"]
    desk = world.desk()
    try:
        outcome = _outcome(desk, world.order(public_key=public_key(rsa.generate_private_key(3, 2_048))))
        assert isinstance(outcome, SignerRefused)
        assert outcome.rule == "key_parameters"
    finally:
        desk.close()


def test_the_cas_own_key_is_not_certified(world: World) -> None:
    world.begin()
    own = world.certificate("issuing-1").public_key()
    desk = world.desk()
    try:
        encoded = own.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        outcome = _outcome(desk, world.order(public_key=encoded))
        assert isinstance(outcome, SignerRefused)
        assert outcome.rule == "key_is_the_issuers"
    finally:
        desk.close()


def test_no_certificate_outlives_its_issuer(world: World) -> None:
    world.begin()
    ends = world.certificate("issuing-1").not_valid_after_utc.timestamp()
    clock = world.clock
    clock.advance(ends - 364 * 86_400 - clock.now())
    desk = world.desk()
    try:
        outcome = _outcome(desk, world.order())
        assert isinstance(outcome, SignerRefused)
        assert outcome.rule == "outlives_issuer"
        assert isinstance(_outcome(desk, world.order(not_after=ends)), bytes)
    finally:
        desk.close()


def test_what_is_not_what_was_ordered_does_not_leave(world: World) -> None:
    """The second look would see any field that differs: held against certificates of other orders."""
    world.begin()
    desk = world.desk()
    try:
        order = world.order()
        made = _outcome(desk, order)
        assert isinstance(made, bytes)
        issuer = desk.active
        check_finished(made, order, issuer)
        others: list[dict[str, Any]] = [
            {"serial": order.serial + 1},
            {"user_id": "jiro"},
            {"common_name": "山田 二郎"},
            {"organisation": "別会社"},
            {"not_before": order.not_before + 1},
            {"not_after": order.not_after - 1},
            {"public_key": public_key()},
        ]
        for other in others:
            values = {name: getattr(order, name) for name in order.__dataclass_fields__}
            with pytest.raises(SignerRefused, match="finished"):
                check_finished(made, IntendedCertificate(**{**values, **other}), issuer)
        for broken in (made[:-1], made[:-1] + bytes([made[-1] ^ 1]), b""):
            with pytest.raises(SignerRefused, match="finished"):
                check_finished(broken, order, issuer)
    finally:
        desk.close()
