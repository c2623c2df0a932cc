"""What the one active clerk does, each duty by itself: one that fails is said, counted and done again.

=============  ==============================================================
expiry         notices that are due, certificates that have expired
mail           the outbox
crl            the CRLs of the signer's issuers, after each revocation and in time
prune          rows that nobody needs any more
=============  ==============================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from mtls_gateway import metrics
from mtls_gateway.app.first_crls import make_own_crl
from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration
from mtls_gateway.errors import ConfigurationError, FellBehind, GatewayError, StoreUnavailable
from mtls_gateway.issuance.expiry import Sweep
from mtls_gateway.issuance.own_crl import OwnCrl
from mtls_gateway.issuance.signer_client import SignerClient
from mtls_gateway.mail.postman import Postman
from mtls_gateway.mail.server import MailServer
from mtls_gateway.mail.texts import Texts
from mtls_gateway.model import ChangeKind
from mtls_gateway.store.changes import Changes
from mtls_gateway.store.leadership import Leadership
from mtls_gateway.store.opening import Store

_LOG = logging.getLogger(__name__)
_DAY = 86_400.0
_PRUNE_EVERY = 3_600.0
#: Seconds that a change or an ended session is kept; a worker that was asleep for longer begins anew.
_KEPT = 7 * _DAY
#: How often a clerk that does not lead asks, and one that leads makes sure of it.
_ASK_EVERY = 0.5
#: A duty that has failed is done again after so many seconds.
_AGAIN = 1.0

#: Seconds that a mail under way is given when the clerk stops; the master is not more patient.
_FINISH = 30.0


class Duty(Protocol):
    """Something that is done again and again."""

    async def step(self) -> None:
        """Do it once; finished even when the clerk is told to stop meanwhile."""
        ...

    async def rest(self) -> None:
        """Return when it is to be done again; cut short when the clerk is told to stop."""
        ...

    def stop(self) -> None:
        """The step under way shall come to its end soon."""
        ...


class Every:
    """A duty that is done every so many seconds."""

    def __init__(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        self._seconds = seconds
        self._work = work

    async def step(self) -> None:
        """Do it once."""
        await self._work()

    async def rest(self) -> None:
        """The seconds."""
        await asyncio.sleep(self._seconds)

    def stop(self) -> None:
        """It is short."""


class Duties:
    """Made once by a clerk."""

    def __init__(self, configuration: Configuration, store: Store, signer: SignerClient | None, clock: Clock) -> None:
        """``signer`` is None where certificates come from elsewhere."""
        self._configuration = configuration
        self._store = store
        self._clock = clock
        sweep = Sweep(store.expiry, configuration.notices, clock)
        self._duties: dict[str, Duty] = {
            "expiry": Every(configuration.notices.every, sweep.run),
            "prune": Every(_PRUNE_EVERY, self._prune),
        }
        if signer is not None:
            own = make_own_crl(configuration, store, signer, clock)
            self._duties |= {"crl": own, "crl_feed": RevocationNews(store.changes, own, configuration.store.poll)}

    async def run(self, leadership: Leadership) -> None:
        """Wait until this clerk leads, then do everything for as long as it does; for ever."""
        metrics.CLERK_LEADING.set(0)
        while True:
            try:
                leads = await leadership.take()
            except StoreUnavailable as error:
                _LOG.error("no clerk can lead here now: %s", error)
                leads = False
            if leads:
                await self._lead(leadership)
            await asyncio.sleep(_ASK_EVERY)

    async def _lead(self, leadership: Leadership) -> None:
        _LOG.info("this clerk is the active one")
        metrics.CLERK_LEADING.set(1)
        duties = {**self._duties, "mail": self._mail()}
        tasks = [asyncio.ensure_future(_repeat(name, duty)) for name, duty in duties.items()]
        try:
            # The lock tells nobody when it is taken away: it has to be asked.
            while await leadership.still_ours():  # noqa: ASYNC110
                await asyncio.sleep(_ASK_EVERY)
            _LOG.error("this clerk is no longer the active one: its lock was taken away")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            metrics.CLERK_LEADING.set(0)
            await leadership.give_back()

    def _mail(self) -> Duty:
        configuration = self._configuration
        settings = configuration.mail
        if settings is None:
            return Every(_AGAIN, self._let_mails_fail)
        texts = Texts(
            configuration.pages, renewable=configuration.issuance is not None, replies=settings.reply_to is not None
        )
        try:
            server = MailServer(settings)
        except ConfigurationError as error:
            # It was there when the generation was validated. All other duties go on.
            return Every(_AGAIN, partial(_raise, error))
        return Postman(self._store.outbox, server, texts, settings, configuration.pages.bank_name_ja, self._clock)

    async def _let_mails_fail(self) -> None:
        failed = await self._store.outbox.fail_all("no mail server is configured ([mail])")
        if failed:
            _LOG.warning("%d mails are not sent: no mail server is configured ([mail])", failed)

    async def _prune(self) -> None:
        now = self._clock.now()
        await self._store.prune(now - _KEPT)
        if self._configuration.mail is not None:
            await self._store.outbox.prune(now - self._configuration.mail.kept_days * _DAY)


class RevocationNews:
    """Wakes whoever signs the CRLs when a certificate's state has changed; it looks for itself whether to."""

    def __init__(self, changes: Changes, own: OwnCrl, poll: float) -> None:
        self._changes = changes
        self._own = own
        self._poll = poll
        self._last: int | None = None

    async def step(self) -> None:
        """Read what is new."""
        if self._last is None:
            self._last = await self._changes.latest_change()
        try:
            for change in await self._changes.changes_since(self._last):
                self._last = change.sequence
                if change.kind is ChangeKind.CERTIFICATE:
                    self._own.revoked()
        except FellBehind:
            self._last = None
            self._own.revoked()

    async def rest(self) -> None:
        """Until something may have been written."""
        await self._changes.wait_for_change(self._poll)

    def stop(self) -> None:
        """It is short."""


async def _raise(error: GatewayError) -> None:
    raise error


async def _repeat(name: str, duty: Duty) -> None:
    """Do a duty again and again, whatever comes of it."""
    while True:
        step = asyncio.ensure_future(_step(name, duty))
        try:
            # Not cut off: a mail whose answer is not waited for would go out twice.
            ended = await asyncio.shield(step)
        except asyncio.CancelledError:
            duty.stop()
            await asyncio.wait([step], timeout=_FINISH)
            step.cancel()
            raise
        await (duty.rest() if ended else asyncio.sleep(_AGAIN))


async def _step(name: str, duty: Duty) -> bool:
    outcome = "failed"
    try:
        await duty.step()
        outcome = "done"
    except GatewayError as error:
        _LOG.error("%s is put off: %s", name, error)
    except Exception:
        # What is wrong with one duty must not end the others.
        _LOG.exception("%s is put off", name)
    finally:
        with contextlib.suppress(OSError):
            metrics.CLERK_DUTIES.labels(name, outcome).inc()
    return outcome == "done"
