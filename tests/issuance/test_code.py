from __future__ import annotations

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.errors import UsageError
from mtls_gateway.issuance.code import (
    ALPHABET,
    KEY_PURPOSE,
    Code,
    UnreadableCode,
    digest,
    matches,
    new_code,
    read_code,
)
from mtls_gateway.signin.instance_secret import derive

#: The first nineteen symbols of the alphabet: the sum of i * (i - 1) is 2280, and 2280 = 73 * 31 + 17, which is K.
PRINTED = "2345-6789-ABCD-EFGH-JKMK"
KEY = bytes(range(32))

first_nineteen = st.text(alphabet=ALPHABET, min_size=19, max_size=19)


def _with_check_symbol(first: str) -> str:
    total = 0
    for place in range(19):
        total += (place + 1) * "23456789ABCDEFGHJKMNPQRSTUVWXYZ".index(first[place])
    return first + "23456789ABCDEFGHJKMNPQRSTUVWXYZ"[total % 31]


def test_a_code_is_five_groups_of_four_of_the_alphabet() -> None:
    for _ in range(1_000):
        assert re.fullmatch(r"[2-9A-HJKMNP-Z]{4}(-[2-9A-HJKMNP-Z]{4}){4}", new_code())


def test_a_new_code_reads_back_as_it_was_printed() -> None:
    printed = new_code()
    code = read_code(printed)
    assert code.printed == printed
    assert code.locator + code.secret == printed.replace("-", "")[:-1]
    assert (len(code.locator), len(code.secret)) == (4, 15)


def test_the_check_symbol_is_the_weighted_sum_modulo_31() -> None:
    assert _with_check_symbol("23456789ABCDEFGHJKM") == PRINTED.replace("-", "")
    assert read_code(PRINTED).printed == PRINTED


def test_a_hundred_thousand_codes_are_distinct_and_use_every_symbol_in_every_place() -> None:
    codes = {new_code() for _ in range(100_000)}
    assert len(codes) == 100_000
    for place in range(20):
        assert {code.replace("-", "")[place] for code in codes} == set(ALPHABET)


@pytest.mark.parametrize(
    "typed",
    [
        PRINTED.lower(),
        PRINTED.replace("-", ""),
        f"  {PRINTED.replace('-', '  ')}\r\n",
        PRINTED.replace("-", "\u3000"),
        "２３４５－６７８９－ＡＢＣＤ－ＥＦＧＨ－ＪＫＭＫ",
        "２３４５ー６７８９ー ａｂｃｄーｅｆｇｈーｊｋｍｋ",
        *(PRINTED.replace("-", hyphen) for hyphen in "‐‑‒–—―−－﹣ｰー─━⁃\u00ad\u200b"),
        "\ufeff" + PRINTED,
    ],
)
def test_case_spaces_hyphens_and_full_width_do_not_matter(typed: str) -> None:
    assert read_code(typed) == read_code(PRINTED)


@given(first_nineteen, st.integers(0, 19), st.sampled_from(ALPHABET))
def test_every_single_wrong_symbol_is_found(first: str, place: int, other: str) -> None:
    right = _with_check_symbol(first)
    assert read_code(right).symbols == right
    wrong = right[:place] + other + right[place + 1 :]
    if other != right[place]:
        with pytest.raises(UnreadableCode) as refused:
            read_code(wrong)
        assert refused.value.reason == "check"


def test_every_single_wrong_symbol_of_one_code_is_found_all_600_of_them() -> None:
    right = read_code(PRINTED).symbols
    wrong = [right[:place] + other + right[place + 1 :] for place in range(20) for other in ALPHABET]
    refused = 0
    for typed in wrong:
        if typed != right:
            with pytest.raises(UnreadableCode, match="compare it with the letter"):
                read_code(typed)
            refused += 1
    assert refused == 600


@given(first_nineteen, st.integers(0, 18))
def test_every_pair_of_neighbours_exchanged_is_found(first: str, place: int) -> None:
    right = _with_check_symbol(first)
    wrong = right[:place] + right[place + 1] + right[place] + right[place + 2 :]
    if wrong != right:
        with pytest.raises(UnreadableCode) as refused:
            read_code(wrong)
        assert refused.value.reason == "check"


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "length"),
        (" -ー", "length"),
        (PRINTED[:-1], "length"),
        (PRINTED + "2", "length"),
        ("2" * 201, "length"),
        ("2" * 1_000_000, "length"),
        (PRINTED.replace("J", "0"), "symbol"),
        (PRINTED.replace("J", "O"), "symbol"),
        (PRINTED.replace("J", "1"), "symbol"),
        (PRINTED.replace("J", "ß"), "symbol"),
        (PRINTED.replace("J", "\x00"), "symbol"),
        (PRINTED.replace("J", "\ud800"), "symbol"),
        (PRINTED.replace("J", "あ"), "symbol"),
        (PRINTED.replace("-", "_"), "symbol"),
        (PRINTED[:-1] + "Z", "check"),
    ],
)
def test_what_is_no_code_is_refused_with_its_reason(typed: str, reason: str) -> None:
    with pytest.raises(UnreadableCode) as refused:
        read_code(typed)
    assert refused.value.reason == reason
    assert isinstance(refused.value, UsageError)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=300))
def test_whatever_is_typed_reads_as_a_code_or_is_refused(typed: str) -> None:
    try:
        code = read_code(typed)
    except UnreadableCode as refused:
        assert refused.reason in {"length", "symbol", "check"}
    else:
        assert read_code(code.printed) == code


def test_neither_the_repr_nor_an_error_tells_a_code() -> None:
    code = read_code(PRINTED)
    assert code.secret not in repr(code)
    with pytest.raises(UnreadableCode) as refused:
        read_code(PRINTED[:-1] + "Z")
    assert not any(group in str(refused.value) for group in PRINTED.split("-"))


def test_the_digest_is_hmac_sha_256_of_the_twenty_symbols() -> None:
    expected = hmac.new(KEY, b"23456789ABCDEFGHJKMK", hashlib.sha256).digest()
    assert digest(read_code(PRINTED), KEY) == expected
    assert matches(read_code(PRINTED), KEY, expected)


def test_another_code_another_key_or_a_cut_digest_does_not_match() -> None:
    code = read_code(PRINTED)
    stored = digest(code, KEY)
    assert not matches(read_code(new_code()), KEY, stored)
    assert not matches(code, bytes(32), stored)
    assert not matches(code, KEY, stored[:-1])
    assert not matches(code, KEY, b"")


def test_the_key_is_derived_from_the_instance_secret_and_a_short_one_is_refused() -> None:
    code = Code(PRINTED.replace("-", ""))
    assert len(digest(code, derive(bytes(32), KEY_PURPOSE))) == 32
    for key in (b"", KEY[:-1], KEY + b"\x00"):
        with pytest.raises(ValueError, match="32 octets"):
            digest(code, key)
