from __future__ import annotations

import pytest

from mtls_gateway.cli.times import print_time, read_time
from mtls_gateway.errors import UsageError


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("2027-04-01", "2027-04-01T00:00:00+09:00"),
        ("2027-04-01T09:30", "2027-04-01T09:30:00+09:00"),
        ("2027-04-01 09:30:15", "2027-04-01T09:30:15+09:00"),
        ("2027-04-01T00:00:00Z", "2027-04-01T09:00:00+09:00"),
        ("2027-04-01T00:00:00-05:00", "2027-04-01T14:00:00+09:00"),
    ],
)
def test_a_time_without_an_offset_is_japans(written: str, printed: str) -> None:
    assert print_time(read_time(written)) == printed


@pytest.mark.parametrize("written", ["", "tomorrow", "2027-13-01", "1800000000", "2027/04/01"])
def test_what_is_no_time_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        read_time(written)
