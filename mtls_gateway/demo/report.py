"""What was expected and what was got, as a table a person reads and a last line a program reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Row(NamedTuple):
    """One case."""

    case: str
    expected: str
    got: str

    @property
    def passed(self) -> bool:
        """Whether it came as expected."""
        return self.expected == self.got


class Report:
    """Cases in the order in which they were met; each is shown at once."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.notes: list[str] = []

    def expect(self, case: str, expected: object, got: object) -> bool:
        """Note a case; whether it passed."""
        row = Row(case, _shown(expected), _shown(got))
        self.rows.append(row)
        print(f"{'ok  ' if row.passed else 'FAIL'} {row.case}", file=sys.stderr, flush=True)
        return row.passed

    def note(self, line: str) -> None:
        """A figure beside the cases, printed above the last line."""
        self.notes.append(line)

    @contextmanager
    def guarded(self, case: str) -> Iterator[None]:
        """An exception within the block is a failed case, and the walk goes on behind it."""
        try:
            yield
        except Exception as error:
            self.expect(case, "no error", f"{type(error).__name__}: {error}")

    @property
    def failed(self) -> int:
        """How many did not come as expected."""
        return sum(not row.passed for row in self.rows)

    def table(self) -> str:
        """All cases, then ``N passed, N failed``."""
        heading = Row("case", "expected", "got")
        widths = [min(72, max(len(row[column]) for row in (heading, *self.rows))) for column in range(2)]
        lines = []
        for row in (heading, *self.rows):
            mark = "    " if row is heading else "ok  " if row.passed else "FAIL"
            lines.append(f"{mark} {row.case:<{widths[0]}}  {row.expected:<{widths[1]}}  {row.got}")
        lines.insert(1, "-" * len(lines[0]))
        lines += [f"     {note}" for note in self.notes]
        lines.append(f"{len(self.rows) - self.failed} passed, {self.failed} failed")
        return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(part) for part in value) or "nothing"
    return str(value)
