"""Why many rows given at once were refused: every reason, with the place of the row that it is about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import StateError

#: Values in one ``IN``: below every database's limit of parameters.
_PORTION = 500


class Problem(NamedTuple):
    """What is wrong with the row at ``place``, counted from 0 in the order given."""

    place: int
    cause: str


class Refused(StateError):
    """Nothing was written; ``problems`` says why, in the order of the rows."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = sorted(problems)
        more = len(self.problems) - 1
        super().__init__(self.problems[0].cause + (f" (and {more} more)" if more else ""))


async def in_portions(
    connection: AsyncConnection,
    column: ColumnElement[Any],
    values: Collection[str],
    *conditions: ColumnElement[bool],
    of: ColumnElement[Any] | None = None,
) -> set[str]:
    """What ``column`` holds in rows that fit the conditions and where ``of`` (else ``column``) is one of ``values``."""
    key = column if of is None else of
    found: set[str] = set()
    wanted = list(set(values))
    for start in range(0, len(wanted), _PORTION):
        query = select(column).where(key.in_(wanted[start : start + _PORTION]), *conditions)
        found.update((await connection.execute(query)).scalars())
    return found
