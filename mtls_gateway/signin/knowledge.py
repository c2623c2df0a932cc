"""What one worker knows of the store, and until when that may be relied on.

A worker that does not hear of changes cannot know what was revoked, suspended or ended meanwhile. For
``store.silence`` seconds it goes on with what it knows; then it admits nobody until it hears again. Nor does it while
the bank has closed the service, at once or for a window that it announced.
"""

from __future__ import annotations

from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration
from mtls_gateway.model import Closure, ClosureKind
from mtls_gateway.signin.another_certificate import Unwanted
from mtls_gateway.signin.cookie_names import CookieNames
from mtls_gateway.signin.identity import Identities
from mtls_gateway.signin.ports import WorkerStore
from mtls_gateway.signin.session import Sessions


class Knowledge:
    """See the module. Knows nothing, and admits nobody, until the feed was heard for the first time."""

    __slots__ = (
        "_clock",
        "_heard_until",
        "_silence",
        "_store",
        "closures",
        "identities",
        "sessions",
        "steady_until",
        "unwanted",
    )

    def __init__(self, configuration: Configuration, store: WorkerStore, clock: Clock) -> None:
        self._clock = clock
        self._store = store
        self._silence = configuration.store.silence
        names = CookieNames(configuration.legacy.session_cookies, configuration.sessions.cookie)
        self.identities = Identities(store)
        self.sessions = Sessions(store, configuration.sessions, names)
        self.unwanted = Unwanted(clock)
        #: Those that hold now or are to come.
        self.closures: tuple[Closure, ...] = ()
        #: Monotonic seconds from which on nothing here may be relied on.
        self._heard_until = float("-inf")
        #: The same, or the next closure's beginning if that comes first: the one thing to look at on every request.
        self.steady_until = float("-inf")

    def heard(self, asked: float) -> None:
        """The feed was asked at ``asked`` (monotonic seconds), and everything that it told was applied."""
        self._heard_until = self.steady_until = asked + self._silence
        now = self._clock.now()
        for closure in self.closures:
            if closure.holds(now):
                self.steady_until = float("-inf")
            elif closure.begins > now:
                self.steady_until = min(self.steady_until, self._clock.monotonic() + closure.begins - now)

    @property
    def is_reliable(self) -> bool:
        """Whether the feed was heard lately."""
        return self._clock.monotonic() < self._heard_until

    def closure(self, now: float) -> Closure | None:
        """What closes the service at ``now``; an emergency stop comes first."""
        held = [closure for closure in self.closures if closure.holds(now)]
        return min(held, key=lambda closure: closure.kind is not ClosureKind.EMERGENCY, default=None)

    async def read_closures(self) -> None:
        """Ask the store for them.

        Raises:
            StoreUnavailable: what was known of them stays.
        """
        self.closures = tuple(await self._store.closures())

    def forget(self) -> None:
        """Forget everything that can be asked for again."""
        self.identities.evict_all()
        self.sessions.evict_all()
