"""The state table of an exchange.

::

    ADMITTING ──▶ CONNECTING ◀─▶ WAITING ──▶ ANSWERING ──▶ DONE
        │          ▲   │            ├──────▶ TUNNEL ─────▶ DONE
        │   a page │   │            │
        ├──────────┼───┴────────────┼─── built-in answer ▶ DONE
        └──▶ RECALLED ◀─────────────┘
                └─────────────────────── built-in answer ▶ DONE

RECALLED is reached from ADMITTING, CONNECTING and WAITING, when what was admitted holds no longer.
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """How far an exchange has come."""

    #: The visitor was asked and has not answered.
    ADMITTING = "admitting"
    #: No connection to the backend yet.
    CONNECTING = "connecting"
    #: The request's head is out, no head of an answer is in.
    WAITING = "waiting"
    #: It was cut before it was answered: the visitor is asked again, and nothing more goes to the legacy backend.
    RECALLED = "recalled"
    #: Some of the answer is out: it can no longer be taken back, only finished or cut.
    ANSWERING = "answering"
    #: Both sides have left HTTP.
    TUNNEL = "tunnel"
    DONE = "done"

    #: What may come next. A tuple on the member: members hash slowly, and ``in`` compares a tuple's by identity.
    followers: tuple[Phase, ...]


Phase.ADMITTING.followers = (Phase.CONNECTING, Phase.RECALLED, Phase.DONE)
Phase.CONNECTING.followers = (Phase.WAITING, Phase.RECALLED, Phase.DONE)
# Back to CONNECTING: a pooled connection turned out to be closed, and the request may be repeated.
Phase.WAITING.followers = (Phase.ANSWERING, Phase.TUNNEL, Phase.CONNECTING, Phase.RECALLED, Phase.DONE)
# A page of the portal's is fetched like any other answer.
Phase.RECALLED.followers = (Phase.CONNECTING, Phase.DONE)
Phase.ANSWERING.followers = (Phase.DONE,)
Phase.TUNNEL.followers = (Phase.DONE,)
Phase.DONE.followers = ()

#: Nothing of an answer is out yet.
UNANSWERED = (Phase.ADMITTING, Phase.CONNECTING, Phase.WAITING, Phase.RECALLED)
