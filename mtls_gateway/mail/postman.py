"""Takes mails from the outbox, sends them, and writes down how that ended.

A mail is marked as being sent before the server sees it, and as sent once the server has accepted it. Whatever stops us
between the two leaves one mail of which nobody knows; it is sent again with the same Message-ID, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from mtls_gateway import metrics
from mtls_gateway.clerical import Mail
from mtls_gateway.clock import Clock
from mtls_gateway.config import Mail as MailSettings
from mtls_gateway.errors import MailServerAway, StateError
from mtls_gateway.mail.message import compose, message_id
from mtls_gateway.mail.ports import Outbox
from mtls_gateway.mail.server import Accepted, MailServer, NotNow, Refused
from mtls_gateway.mail.texts import Texts

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE = 1.0
#: A notice waits for the morning, at most a day; two, to be sure. Seconds.
_LONGEST_REST = 2 * 86_400.0


class Postman:
    """Made once by the clerk; one round at a time."""

    def __init__(
        self, outbox: Outbox, server: MailServer, texts: Texts, settings: MailSettings, sender_name: str, clock: Clock
    ) -> None:
        self._outbox = outbox
        self._server = server
        self._texts = texts
        self._settings = settings
        self._sender_name = sender_name
        self._clock = clock
        self._pause = _FIRST_PAUSE
        self._rest = settings.poll
        self._stopping = False
        #: Longer than a whole batch can take: nobody else takes what we are still at.
        self._lease = settings.timeout * (settings.batch + 1) + 5.0
        #: No mail waits longer: one that is due later was posted while the clock was wrong.
        self._farthest = max(_LONGEST_REST, settings.retry_longest) + self._lease

    async def step(self) -> None:
        """A round.

        Raises:
            StoreUnavailable: how a mail ended may not be written down; it is sent again after its lease.
        """
        taken = await self.round()
        if self._pause > _FIRST_PAUSE:
            self._rest = self._pause
        else:
            self._rest = 0.0 if taken == self._settings.batch else self._settings.poll

    async def rest(self) -> None:
        """Until the next round is worth while."""
        await asyncio.sleep(self._rest)

    def stop(self) -> None:
        """Finish the mail under way, so that nobody has to wonder, and give the others back."""
        self._stopping = True

    async def round(self) -> int:
        """Send what is due, at most a batch; returns how many were taken."""
        mails = await self._outbox.take(self._settings.batch, lease=self._lease, farthest=self._farthest)
        try:
            await self._send_all(mails)
        finally:
            waiting, oldest = await self._outbox.waiting()
            metrics.MAILS_WAITING.set(waiting)
            metrics.MAIL_OLDEST.set(0.0 if oldest is None else max(0.0, self._clock.now() - oldest))
        return len(mails) if self._pause == _FIRST_PAUSE else 0

    async def _send_all(self, mails: Sequence[Mail]) -> None:
        for place, mail in enumerate(mails):
            if self._stopping:
                await self._outbox.give_back([one.mail_id for one in mails[place:]], self._clock.now(), "")
                break
            try:
                await self._deliver(mail)
            except MailServerAway as away:
                await self._is_away(away, mails[place:])
                return
        if self._stopping or len(mails) < self._settings.batch:
            # Servers end connections that rest, and a mail would be thought lost on one of those.
            await self._server.close()

    async def _deliver(self, mail: Mail) -> None:
        try:
            message = self._compose(mail)
        except StateError as error:
            await self._fail(mail, "unsendable", str(error))
            return
        await self._server.connect()
        answer = await self._server.send(message, mail.address)
        self._pause = _FIRST_PAUSE
        match answer:
            case Accepted():
                await self._outbox.sent(mail.mail_id)
                metrics.MAILS.labels(mail.kind, "sent").inc()
            case Refused(cause):
                await self._fail(mail, "refused", cause)
            case NotNow(cause):
                await self._postpone(mail, cause)

    def _compose(self, mail: Mail) -> bytes:
        if mail.may_repeat:
            identity = message_id(mail.key, self._settings.sender)
            _LOG.warning("mail %d may go out a second time, after a clerk that died: %s", mail.mail_id, identity)
        now = self._clock.now()
        return compose(mail, self._texts.of(mail, now), self._settings, self._sender_name, now)

    async def _fail(self, mail: Mail, outcome: str, cause: str) -> None:
        await self._outbox.failed(mail.mail_id, cause)
        metrics.MAILS.labels(mail.kind, outcome).inc()
        _LOG.error("mail %d (%s, about %s) has failed: %s", mail.mail_id, mail.kind, mail.user_id, cause)

    async def _postpone(self, mail: Mail, cause: str) -> None:
        settings = self._settings
        waits = [min(settings.retry_first * 2**place, settings.retry_longest) for place in range(min(mail.tries, 64))]
        waited = sum(waits[:-1])
        if mail.tries > len(waits) or waited >= settings.give_up:
            await self._fail(mail, "gave_up", f"tried {mail.tries} times, at last: {cause}")
            return
        await self._outbox.postpone(mail.mail_id, self._clock.now() + waits[-1], cause)
        metrics.MAILS.labels(mail.kind, "postponed").inc()

    async def _is_away(self, away: MailServerAway, mails: Sequence[Mail]) -> None:
        """None of the mails has failed, and all wait; the first may have got there all the same."""
        metrics.MAIL_SERVER_FAILURES.labels(away.reason).inc()
        _LOG.error("%d mails wait, tried again in %g s: %s", len(mails), self._pause, away)
        first, *others = mails
        if away.may_have_it:
            identity = message_id(first.key, self._settings.sender)
            _LOG.warning("mail %d may go out a second time, its answer was lost: %s", first.mail_id, identity)
            # This one counts as tried: if it is what the server cannot stand, the others pass it by.
            await self._postpone(first, str(away))
        else:
            others = list(mails)
        until = self._clock.now() + self._pause
        await self._outbox.give_back([mail.mail_id for mail in others], until, str(away))
        self._pause = min(self._pause * 2, self._settings.pause_longest)
