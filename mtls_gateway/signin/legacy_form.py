"""The legacy backend's own login form decides: fetched, filled in, sent, and its answer read (clause A.3).

Settings only; there is no code per backend. A password is right only on positive evidence, in this order:

1. an answer of 5xx, 408 or 429, one that does not come, or more redirects than allowed decides nothing;
2. an answer that fits one of ``failures``, a last page that shows the login form again, or 401: wrong;
3. another 4xx decides nothing: the backend refused the request, not the password;
4. ``success`` is given and no answer fits it: wrong;
5. ``proof_page`` is given and, fetched with the new session, still refuses or shows the login form: wrong.

Anything else is right. What decides nothing raises LegacyUnavailable, so the attempt does not count.
Settings that could not tell right from wrong are noticed and admit nobody: a ``success`` that the login
page itself fits, a ``proof_page`` that is shown to anybody.
"""

from __future__ import annotations

import asyncio
import logging
import re

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.config import Answer, Legacy, LegacyForm
from mtls_gateway.errors import LegacyUnavailable
from mtls_gateway.signin.form_page import Form
from mtls_gateway.signin.legacy_dialogue import LegacyDialogue, Reply
from mtls_gateway.signin.legacy_view import LegacyView
from mtls_gateway.signin.ports import Caller, LegacyCookie, LegacyHttp, LegacySession
from mtls_gateway.signin.session_backend import end_at, open_at

_LOG = logging.getLogger(__name__)

_UNDECIDED = (408, 429)
_REFUSED = (401, 403)


class LegacyFormChecker:
    """The password checker of clause A.3; satisfies ``ports.PasswordChecker``."""

    def __init__(self, login: LegacyForm, legacy: Legacy, view: LegacyView, http: LegacyHttp, clock: Clock) -> None:
        self._login = login
        self._legacy = legacy
        self._view = view
        self._http = http
        self._clock = clock
        self._proof_proves = False

    async def check(self, user_id: str, password: str, caller: Caller) -> LegacySession | None:
        """The legacy session that the right password opened; None: the password is wrong.

        Raises:
            LegacyUnavailable: it could not be decided; says which setting to look at.
        """
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._login.timeout):
                return await self._check(user_id, password, caller)
        except TimeoutError:
            raise LegacyUnavailable(
                f"the legacy login took longer than {self._login.timeout:g} s (legacy.login.timeout)"
            ) from None
        finally:
            metrics.LEGACY_LOGIN_SECONDS.observe(self._clock.monotonic() - started)

    async def _check(self, user_id: str, password: str, caller: Caller) -> LegacySession | None:
        login = self._login
        if login.proof_page and not self._proof_proves:
            await self._see_that_the_proof_proves(caller)
        dialogue = self._dialogue(caller)
        page = await self._follow_to_the_end(dialogue, await dialogue.get(login.page))
        form = self._login_form(page)
        added = {name: value for name, value in login.fields.items() if value}
        filled = form.filled(
            {**added, login.user_field: user_id, login.password_field: password}, login.fields.keys() - added.keys()
        )
        answers = [await dialogue.send(filled, page.target)]
        async for answer in dialogue.follow(answers[0], login.redirects, filled.encoded()):
            answers.append(answer)
        if not self._is_right(answers):
            return None
        if login.proof_page and not await self._is_proven(dialogue):
            _LOG.warning("legacy login: legacy.login.proof_page does not show the session; counted as wrong")
            return None
        return self._session(dialogue, caller)

    def _dialogue(
        self, caller: Caller, cookies: tuple[LegacyCookie, ...] = (), backends: tuple[str, ...] | None = None
    ) -> LegacyDialogue:
        return LegacyDialogue(
            self._http,
            self._view,
            self._clock,
            caller,
            backends=open_at(caller.backends, self._legacy) if backends is None else backends,
            maximum_octets=self._login.maximum_octets,
            cookies=cookies,
        )

    async def _follow_to_the_end(self, dialogue: LegacyDialogue, reply: Reply) -> Reply:
        last = reply
        async for answer in dialogue.follow(reply, self._login.redirects):
            last = answer
        return last

    def _login_form(self, page: Reply) -> Form:
        login = self._login
        form = page.page.form_with(login.user_field, login.password_field)
        if form is None or page.status in _UNDECIDED or page.status >= 500:
            raise LegacyUnavailable(
                f"{page.target} answered {page.status} without a form that has the fields "
                f"{login.user_field!r} and {login.password_field!r}; see legacy.login"
            )
        if login.success is not None and fits(login.success, page):
            raise LegacyUnavailable("legacy.login.success also fits the login page itself, so it proves nothing")
        return form

    def _shows_the_form(self, reply: Reply) -> bool:
        return reply.page.form_with(self._login.user_field, self._login.password_field) is not None

    def _is_right(self, answers: list[Reply]) -> bool:
        """Steps 1 to 4 of the module's order."""
        for answer in answers:
            if answer.status >= 500 or answer.status in _UNDECIDED:
                raise LegacyUnavailable(f"{answer.target} answered {answer.status} to the login form")
        if any(fits(failure, answer) for failure in self._login.failures for answer in answers):
            return False
        last = answers[-1]
        if self._shows_the_form(last) or last.status == 401:
            return False
        if last.status >= 400:
            raise LegacyUnavailable(
                f"{last.target} answered {last.status} to the login form; if this is how a wrong password is answered, "
                "name it in legacy.login.failures, else see legacy.seen"
            )
        if self._login.success is not None and not any(fits(self._login.success, answer) for answer in answers):
            _LOG.warning(
                "legacy login: the answers %s fit neither legacy.login.success nor failures; counted as wrong",
                [answer.status for answer in answers],
            )
            return False
        return True

    async def _is_proven(self, dialogue: LegacyDialogue) -> bool:
        proof = await self._follow_to_the_end(dialogue, await dialogue.get(self._login.proof_page))
        if proof.status in _REFUSED or (proof.status < 400 and self._shows_the_form(proof)):
            return False
        if not 200 <= proof.status < 300 or proof.leads_to is not None:
            raise LegacyUnavailable(f"{proof.target} answered {proof.status}; see legacy.login.proof_page")
        return True

    async def _see_that_the_proof_proves(self, caller: Caller) -> None:
        """Without a session ``proof_page`` must refuse or show the form: once in a process's life."""
        if await self._is_proven(self._dialogue(caller)):
            raise LegacyUnavailable("legacy.login.proof_page is shown without signing in, so it proves nothing")
        self._proof_proves = True

    def _session(self, dialogue: LegacyDialogue, caller: Caller) -> LegacySession:
        cookies = dialogue.cookies.all()
        if not any(cookie.name in self._legacy.session_cookies for cookie in cookies):
            raise LegacyUnavailable("the legacy login set none of legacy.session_cookies; name the right ones")
        return LegacySession(cookies, caller.user_agent, dialogue.backend)

    async def sign_out(self, session: LegacySession) -> None:
        """End the legacy session by ``legacy.sign_out``; without it the session ends by its own time-out.

        Raises:
            LegacyUnavailable: it may not have been ended.
        """
        sign_out = self._legacy.sign_out
        if sign_out is None:
            return
        caller = Caller(address="", user_agent=session.user_agent)
        dialogue = self._dialogue(caller, session.cookies, end_at(session.backend, self._legacy))
        try:
            async with asyncio.timeout(self._login.timeout):
                if sign_out.method == "GET":
                    answer = await dialogue.get(sign_out.path)
                elif not sign_out.page:
                    answer = await dialogue.post(sign_out.path, "", b"")
                else:
                    page = await self._follow_to_the_end(dialogue, await dialogue.get(sign_out.page))
                    form = page.page.form_to(sign_out.path.partition("?")[0])
                    if form is None:
                        if self._shows_the_form(page):
                            return  # It has ended already.
                        raise LegacyUnavailable(f"{page.target} has no form to {sign_out.path}; see legacy.sign_out")
                    answer = await dialogue.send(form, page.target)
        except TimeoutError:
            raise LegacyUnavailable("the legacy sign-out took too long") from None
        if answer.status >= 400 and answer.status not in _REFUSED:
            raise LegacyUnavailable(f"{answer.target} answered {answer.status} to the sign-out")


def fits(wanted: Answer, reply: Reply) -> bool:
    """Whether an answer is as described; every part that is given must fit."""
    if wanted.status and reply.status not in wanted.status:
        return False
    if wanted.location is not None and not (reply.location and re.search(wanted.location, reply.location)):
        return False
    if wanted.body is not None and not re.search(wanted.body, reply.page.text):
        return False
    return wanted.cookie is None or wanted.cookie in reply.cookies
