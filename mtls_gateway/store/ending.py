"""Ending sessions as part of something else: a revocation, a suspension, an operator's word."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import ColumnElement, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.model import ChangeKind, SessionState
from mtls_gateway.store.schema import sessions


async def end_sessions(
    connection: AsyncConnection, now: float, which: ColumnElement[Any], cause: str
) -> list[tuple[ChangeKind, str]]:
    """End those of ``which`` that have not ended; returns what is to be published of it.

    Their legacy cookies stay in the row until somebody takes them to end the legacy sessions too.
    """
    ended = await connection.execute(
        update(sessions)
        .where(which, sessions.c.state != SessionState.ENDED)
        .values(state=SessionState.ENDED, ended=now, cause=cause)
        .returning(sessions.c.digest)
    )
    digests = ended.scalars().all()
    if digests:
        _count(cause, len(digests))
    return [(ChangeKind.SESSION, digest.hex()) for digest in digests]


def _count(cause: str, ended: int) -> None:
    """Count, in the gateway's own processes: nobody sees a command's figures, and it would wait for their library."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from mtls_gateway import metrics

        metrics.SESSIONS_ENDED.labels(cause).inc(ended)
