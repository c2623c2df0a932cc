"""How ``make test`` deals the tests out to two processes.

The promises start whole gateways and time what they do: one at a time, all in one process, and never beside each
other. So with the issuing app, which starts Windows programs. Beside them the rooms' tests run, a file at a time.
"""

from __future__ import annotations

from xdist.scheduler.loadscope import LoadScopeScheduling

_ONE_AT_A_TIME = ("tests/promises/", "tests/issuing_app/")


class Schedule(LoadScopeScheduling):  # type: ignore[misc]
    """See the module."""

    def _split_scope(self, nodeid: str) -> str:
        alone = next((folder for folder in _ONE_AT_A_TIME if nodeid.startswith(folder)), None)
        return alone or nodeid.partition("::")[0]
