"""The table that ``make demo-check`` prints."""

from __future__ import annotations

import pytest

from mtls_gateway.demo.report import Report


def test_the_last_line_counts_and_a_difference_is_a_failure() -> None:
    report = Report()
    assert report.expect("one", "200", 200)
    assert not report.expect("two", ["a", "b"], [])
    lines = report.table().splitlines()
    assert lines[-1] == "1 passed, 1 failed"
    assert report.failed == 1
    assert lines[0].split() == ["case", "expected", "got"]
    assert lines[-2].startswith("FAIL two")
    assert lines[-2].endswith("nothing")


def break_down() -> None:
    raise ValueError("broken")


def test_an_exception_is_a_failed_case_and_not_the_end() -> None:
    report = Report()
    with report.guarded("three"):
        break_down()
    assert report.rows[-1].got == "ValueError: broken"
    assert report.table().splitlines()[-1] == "0 passed, 1 failed"


def test_an_interruption_is_not_a_case() -> None:
    with pytest.raises(KeyboardInterrupt), Report().guarded("four"):
        raise KeyboardInterrupt
