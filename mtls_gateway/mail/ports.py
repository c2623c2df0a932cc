"""What the postman asks of the outbox; the store satisfies it, and mypy checks the fit in ``app``.

Times are POSIX seconds. Every method may raise :class:`mtls_gateway.errors.StoreUnavailable`; nothing was done then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from mtls_gateway.clerical import Mail


class Outbox(Protocol):
    """The mails that are due, and how each try ended."""

    async def take(self, limit: int, *, lease: float, farthest: float) -> Sequence[Mail]:
        """Mails that are due, each now SENDING; given to nobody else for ``lease`` seconds.

        What is due in more than ``farthest`` seconds was posted while the clock was wrong: it is due now.
        """
        ...

    async def sent(self, mail_id: int) -> None:
        """The mail server has accepted it."""
        ...

    async def failed(self, mail_id: int, error: str) -> None:
        """It will never be accepted."""
        ...

    async def postpone(self, mail_id: int, until: float, error: str) -> None:
        """Try it again at ``until``; ``error`` says why."""
        ...

    async def give_back(self, mail_ids: Iterable[int], until: float, error: str) -> None:
        """Nothing was tried with these; again at ``until``."""
        ...

    async def fail_all(self, error: str) -> int:
        """Let mails fail that are due; returns how many, 0: there are no more."""
        ...

    async def waiting(self) -> tuple[int, float | None]:
        """How many mails are due and not sent, and since when the oldest is."""
        ...
