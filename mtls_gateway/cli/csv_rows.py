"""CSV files that operators import: read whole, every bad line named."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from mtls_gateway.errors import StateError, UsageError

T = TypeVar("T")


class Row(NamedTuple):
    """A line of the file; every cell is stripped, an empty one is left out."""

    line: int
    cells: dict[str, str]

    def need(self, column: str) -> str:
        """The cell of a column that must be filled in.

        Raises:
            UsageError: it is empty.
        """
        value = self.cells.get(column)
        if value is None:
            raise UsageError(f"{column} is empty")
        return value

    def flag(self, column: str) -> bool:
        """Whether a cell says yes; an empty one says no.

        Raises:
            UsageError: it says neither.
        """
        value = self.cells.get(column, "no").lower()
        if value not in ("yes", "no", "true", "false", "1", "0"):
            raise UsageError(f"{column} is {value!r}; write yes or no")
        return value in ("yes", "true", "1")


class RowsRefused(StateError):
    """Nothing was imported; ``lines`` are what to print, one for each bad line of the file."""

    def __init__(self, file: Path, problems: Iterable[tuple[int, str]]) -> None:
        self.lines: Sequence[str] = [f"{file}:{line}: {cause}" for line, cause in sorted(problems)]
        self.lines = [*self.lines, f"nothing was imported: {file} has {len(self.lines)} bad rows"]
        super().__init__(self.lines[0])


def read_rows(file: Path, required: Sequence[str], optional: Sequence[str]) -> list[Row]:
    """The rows below the header, which must name ``required`` columns and may name ``optional`` ones.

    Raises:
        UsageError: the file cannot be read, is not CSV in UTF-8, or has other columns.
        RowsRefused: a row has more or fewer cells than the header.
    """
    try:
        # Excel begins UTF-8 with a byte order mark.
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f'{file} is not UTF-8; save it as "CSV UTF-8"') from error
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    rows: list[Row] = []
    problems: list[tuple[int, str]] = []
    try:
        header = [column.strip() for column in next(reader, [])]
        _check_header(file, header, required, optional)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                problems.append((reader.line_num, f"has {len(cells)} cells, the header has {len(header)}"))
                continue
            named = {column: cell.strip() for column, cell in zip(header, cells, strict=True) if cell.strip()}
            rows.append(Row(reader.line_num, named))
    except csv.Error as error:
        raise UsageError(f"{file}:{reader.line_num}: is not CSV: {error}") from error
    if problems:
        raise RowsRefused(file, problems)
    if not rows:
        raise UsageError(f"{file} has no rows below its header")
    return rows


def read_each(file: Path, rows: Sequence[Row], read: Callable[[Row], T]) -> list[T]:
    """Apply ``read`` to every row; its UsageErrors are gathered.

    Raises:
        RowsRefused: some rows cannot be read.
    """
    found: list[T] = []
    problems: list[tuple[int, str]] = []
    for row in rows:
        try:
            found.append(read(row))
        except (UsageError, ValueError) as error:
            problems.append((row.line, str(error)))
    if problems:
        raise RowsRefused(file, problems)
    return found


def _check_header(file: Path, header: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> None:
    missing = [column for column in required if column not in header]
    unknown = [column for column in header if column not in (*required, *optional)]
    if missing or unknown or len(set(header)) != len(header):
        may = f", and may also name {', '.join(optional)}" if optional else ""
        raise UsageError(f"{file}:1: the header must name {', '.join(required)}{may}; it is {','.join(header)!r}")
