"""Enrolment codes as they are ordered, printed, tried and used up (clause D.1)."""

from __future__ import annotations

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError
from mtls_gateway.model import CodeOutcome, CodePurpose, CodeState, CodeTry
from mtls_gateway.store.codes import PrintedCode
from mtls_gateway.store.opening import Store
from tests.store.issuing import DAY, LIMIT, actions, intention, populate, printed

RIGHT, WRONG = b"d" * 32, b"x" * 32


@pytest.fixture
async def store(empty: Store) -> Store:
    await populate(empty)
    return empty


@pytest.fixture
async def code(store: Store, clock: ManualClock) -> int:
    """Taro's, in his letter."""
    return await printed(store, expires=clock.now() + 80 * DAY)


async def attempt(store: Store, digest: bytes = RIGHT, user_id: str = "taro", locator: str = "AAAA") -> CodeTry:
    return await store.codes.begin_try(user_id, locator, digest, limit=LIMIT)


async def state(store: Store, code_id: int) -> tuple[CodeState, int]:
    (row,) = [one for one in await store.codes.all() if one.code_id == code_id]
    return row.state, row.tries


# --- letters ----------------------------------------------------------------------------------------


async def test_a_code_can_be_used_only_once_its_letter_is_printed(store: Store, clock: ManualClock) -> None:
    await store.codes.order("taro", CodePurpose.FIRST, actor="operator")
    assert (await attempt(store)).outcome is CodeOutcome.WRONG
    (due,) = await store.codes.due_letters(company_id="acme")
    assert (due.user_id, due.user_name, due.company_name) == ("taro", "アクメ 太郎", "株式会社アクメ")
    await store.codes.printed([PrintedCode(due.code_id, "AAAA", RIGHT, clock.now() + DAY)], actor="operator")
    assert await store.codes.due_letters() == []
    assert await attempt(store) == CodeTry(
        CodeOutcome.MATCHED, due.code_id, CodePurpose.FIRST, expires=clock.now() + DAY
    )


async def test_a_letter_is_printed_once(store: Store, code: int, clock: ManualClock) -> None:
    again = PrintedCode(code, "BBBB", WRONG, clock.now() + DAY)
    with pytest.raises(StateError, match="destroy what was just written"):
        await store.codes.printed([again], actor="operator")
    assert (await attempt(store)).outcome is CodeOutcome.MATCHED


async def test_of_several_letters_all_are_noted_or_none(store: Store, code: int, clock: ManualClock) -> None:
    await store.codes.order("hanako", CodePurpose.FIRST, actor="operator")
    (due,) = await store.codes.due_letters()
    both = [PrintedCode(due.code_id, "BBBB", WRONG, clock.now() + DAY), PrintedCode(code, "CCCC", WRONG, clock.now())]
    with pytest.raises(StateError):
        await store.codes.printed(both, actor="operator")
    assert (await state(store, due.code_id))[0] is CodeState.ORDERED


async def test_a_new_code_makes_the_one_before_void(store: Store, code: int, clock: ManualClock) -> None:
    newer = await printed(store, locator="BBBB", digest=b"n" * 32, expires=clock.now() + DAY)
    assert (await attempt(store)).outcome is CodeOutcome.WRONG
    assert (await state(store, code))[0] is CodeState.VOID
    assert (await attempt(store, b"n" * 32, locator="BBBB")).code_id == newer


async def test_a_code_that_was_taken_back_is_wrong(store: Store, code: int) -> None:
    await store.codes.withdraw("taro", actor="operator")
    assert (await attempt(store)).outcome is CodeOutcome.WRONG
    with pytest.raises(StateError, match="no enrolment code"):
        await store.codes.withdraw("taro", actor="operator")


async def test_nobody_orders_a_code_for_nobody(store: Store) -> None:
    with pytest.raises(StateError, match="nobody"):
        await store.codes.order("nobody", CodePurpose.FIRST, actor="operator")


# --- tries --------------------------------------------------------------------------------------------


async def test_the_last_wrong_try_exhausts_the_code(store: Store, code: int) -> None:
    for _ in range(LIMIT - 1):
        assert (await attempt(store, WRONG)).outcome is CodeOutcome.WRONG
    assert await state(store, code) == (CodeState.OPEN, LIMIT - 1)
    assert (await attempt(store, WRONG)).outcome is CodeOutcome.WRONG
    assert await state(store, code) == (CodeState.EXHAUSTED, LIMIT)
    # Who has the whole of it is told; who guesses is not.
    assert await attempt(store) == CodeTry(
        CodeOutcome.EXHAUSTED, code, CodePurpose.FIRST, expires=(await store.codes.all())[0].expires
    )
    assert (await attempt(store, WRONG)).outcome is CodeOutcome.WRONG
    assert await state(store, code) == (CodeState.EXHAUSTED, LIMIT)
    assert (await actions(store)).count("code.exhaust") == 1
    assert (await actions(store)).count("code.wrong") == LIMIT


@pytest.mark.parametrize(("user_id", "locator"), [("taro", "BBBB"), ("hanako", "AAAA"), ("nobody", "AAAA")])
async def test_who_has_not_seen_the_letter_cannot_use_up_its_tries(
    store: Store, code: int, user_id: str, locator: str
) -> None:
    for digest in (WRONG, RIGHT):
        for _ in range(3 * LIMIT):
            assert await attempt(store, digest, user_id, locator) == CodeTry(CodeOutcome.WRONG)
    assert await state(store, code) == (CodeState.OPEN, 0)
    assert "code.wrong" not in await actions(store)


async def test_a_right_code_counts_until_the_password_was_right_too(store: Store, code: int) -> None:
    for tries in range(1, LIMIT):
        assert (await attempt(store)).outcome is CodeOutcome.MATCHED
        await store.codes.try_was_wrong(code)
        assert await state(store, code) == (CodeState.OPEN, tries)
    # The last one exhausts it before the password is tried, and is still let through.
    assert (await attempt(store)).outcome is CodeOutcome.MATCHED
    assert await state(store, code) == (CodeState.EXHAUSTED, LIMIT)
    await store.codes.try_was_right(code)
    assert await state(store, code) == (CodeState.OPEN, 0)
    wrong = [line for line in await store.audit.lines() if line.action == "code.wrong"]
    assert [(line.subject, line.details["wrong"]) for line in wrong] == [("taro", "password")] * (LIMIT - 1)


async def test_a_try_that_could_not_be_decided_is_taken_back_and_so_is_what_it_exhausted(
    store: Store, code: int
) -> None:
    for _ in range(LIMIT - 1):
        await attempt(store, WRONG)
    await attempt(store)
    assert await state(store, code) == (CodeState.EXHAUSTED, LIMIT)
    await store.codes.try_did_not_count(code)
    assert await state(store, code) == (CodeState.OPEN, LIMIT - 1)


async def test_a_try_that_is_taken_back_twice_goes_no_lower_than_none(store: Store, code: int) -> None:
    await attempt(store)
    await store.codes.try_did_not_count(code)
    await store.codes.try_did_not_count(code)
    assert await state(store, code) == (CodeState.OPEN, 0)


async def test_a_code_ends_at_its_very_second(store: Store, code: int, clock: ManualClock) -> None:
    clock.advance(80 * DAY - 0.001)
    assert (await attempt(store)).outcome is CodeOutcome.MATCHED
    await store.codes.try_was_right(code)
    clock.advance(0.001)
    for _ in range(2 * LIMIT):
        assert (await attempt(store)).outcome is CodeOutcome.EXPIRED
    assert await state(store, code) == (CodeState.OPEN, 0)


async def test_a_used_code_is_still_known_and_its_passwords_are_still_counted(
    store: Store, code: int, clock: ManualClock
) -> None:
    await store.enrolments.intend_by_code(intention(clock.now()), code)
    for _ in range(LIMIT):
        assert (await attempt(store)).outcome is CodeOutcome.USED
    assert (await attempt(store)).outcome is CodeOutcome.EXHAUSTED
    assert (await state(store, code))[0] is CodeState.USED
    # Wrong guesses at a used code cost nobody anything.
    assert (await attempt(store, WRONG)).outcome is CodeOutcome.WRONG


async def test_two_letters_with_the_same_first_symbols_are_told_apart(
    store: Store, code: int, clock: ManualClock
) -> None:
    newer = await printed(store, digest=b"n" * 32, expires=clock.now() + DAY)
    assert (await attempt(store)).outcome is CodeOutcome.WRONG  # void, and no guess at the newer one either
    assert (await attempt(store, b"n" * 32)).code_id == newer
    assert await state(store, newer) == (CodeState.OPEN, 1)
