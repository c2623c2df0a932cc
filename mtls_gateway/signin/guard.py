"""What a request target is to the gateway: its own page, the guarded legacy login, or any other path (clause A.4).

Whatever the backend *could* take for a guarded path is guarded; a path is public only if it can be taken
for nothing else. What cannot be decided is refused. Where only a parameter tells the login from what else is at
a path, that is looked at each time; no other path pays for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from mtls_gateway.config import GuardedRequest
from mtls_gateway.signin.parameters import Looked, looked_for, names
from mtls_gateway.signin.readings import Ambiguous, fold, readings

#: The enrolment interface (RFC 7030, section 3.2.2), the portal's on both hosts beside its own prefix.
EST = "/.well-known/est/"

_REMEMBERED = 8_192
_LONGEST_REMEMBERED = 256


class Place(Enum):
    """Where a target leads. What comes first here wins when several apply."""

    #: Nobody can tell: 400.
    AMBIGUOUS = "ambiguous"
    #: A page of the portal.
    PORTAL = "portal"
    #: The legacy backend's own login.
    GUARDED = "guarded"
    #: The query, or the form that is sent, decides: see :meth:`Guard.by_query`.
    BY_PARAMETER = "by_parameter"
    #: The legacy backend's own sign-out.
    SIGN_OUT = "sign_out"
    #: Open without a session.
    PUBLIC = "public"
    #: Anything else of the legacy backend's.
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class _Parameters:
    """What decides over a path, and what it is when none of it is named."""

    query: Looked
    form: Looked | None
    otherwise: Place


class Guard:
    """The places of one configuration."""

    __slots__ = (
        "_by_parameter",
        "_guarded",
        "_own",
        "_public",
        "_public_as_sent",
        "_requests",
        "_sign_out",
        "known",
    )

    def __init__(
        self,
        guarded: Iterable[str | GuardedRequest],
        *,
        public: Iterable[str] = (),
        sign_out: Iterable[str] = (),
        prefix: str = "/gateway/",
    ) -> None:
        """``guarded``, ``public`` and ``sign_out`` are path patterns, see ``config.PathPattern``."""
        guarded, public = tuple(guarded), tuple(public)
        self._guarded = _compile((each for each in guarded if isinstance(each, str)), wide=True)
        requests = [each for each in guarded if not isinstance(each, str)]
        self._requests = [(_compile([each.path], wide=True), each) for each in requests]
        self._sign_out = _compile(sign_out, wide=True)
        self._public = _compile(public, wide=False)
        self._public_as_sent = re.compile("|".join(_expression(pattern, wide=False) for pattern in public) or r"(?!)")
        self._own = (prefix, EST)
        #: Path to place; looked into directly on the path of a request. Bounded, as paths come from outside.
        self.known: dict[bytes, Place] = {}
        self._by_parameter: dict[bytes, _Parameters] = {}

    def place_of(self, target: bytes) -> Place:
        """The place of a request target in origin-form; any other form is ambiguous."""
        path = target.partition(b"?")[0]
        return self.known.get(path) or self._learn(path)

    def by_query(self, target: bytes) -> tuple[Place, Looked | None]:
        """The place of a target that is ``BY_PARAMETER``, by its query; and what a form must not name to get there."""
        path = target.partition(b"?")[0]
        parameters = self._by_parameter.get(path)
        if parameters is None:
            # Forgotten meanwhile, or too long to be remembered.
            self._learn(path)
            parameters = self._by_parameter[path]
        try:
            # All of the target: a server that decodes first finds a query in ``/path%3Fname=value``.
            place = Place.GUARDED if names(target, parameters.query) else parameters.otherwise
        except Ambiguous:
            place = Place.AMBIGUOUS
        return place, parameters.form

    def _learn(self, path: bytes) -> Place:
        found = self._find(path)
        place = Place.BY_PARAMETER if isinstance(found, _Parameters) else found
        known = self.known if len(path) <= _LONGEST_REMEMBERED else {}
        if len(self.known) >= _REMEMBERED or len(self._by_parameter) >= _REMEMBERED:
            self.known.clear()
            self._by_parameter.clear()
        known[path] = place
        if isinstance(found, _Parameters):
            self._by_parameter[path] = found
        return place

    def _find(self, path: bytes) -> Place | _Parameters:
        try:
            read = readings(path)
        except Ambiguous:
            return Place.AMBIGUOUS
        place = self._by_path(path, read)
        if place in (Place.PORTAL, Place.GUARDED, Place.AMBIGUOUS):
            return place
        requests = [each for pattern, each in self._requests if any(pattern.fullmatch(reading) for reading in read)]
        if not requests:
            return place
        forms = [each.field for each in requests if each.field is not None]
        # Servers give programs the parameters of query and form as one.
        queries = [*forms, *(each.query for each in requests if each.query is not None)]
        return _Parameters(looked_for(queries), looked_for(forms) if forms else None, place)

    def _by_path(self, path: bytes, read: frozenset[str]) -> Place:
        if any((reading + "/").startswith(self._own) for reading in read):
            sent = path.decode("ascii", "replace") + "/"
            return Place.PORTAL if sent.startswith(self._own) else Place.AMBIGUOUS
        if any(self._guarded.fullmatch(reading) for reading in read):
            return Place.GUARDED
        if any(self._sign_out.fullmatch(reading) for reading in read):
            return Place.SIGN_OUT
        as_sent = path.decode("ascii", "replace").rstrip("/") or "/"
        if self._public_as_sent.fullmatch(as_sent) and all(self._public.fullmatch(reading) for reading in read):
            return Place.PUBLIC
        return Place.LEGACY


def _compile(patterns: Iterable[str], *, wide: bool) -> re.Pattern[str]:
    return re.compile("|".join(_expression(fold(pattern), wide=wide) for pattern in patterns) or r"(?!)")


def _expression(pattern: str, *, wide: bool) -> str:
    """The regular expression of one path pattern; ``wide``: with what a server appends to a script's path."""
    if pattern.endswith("/**") and pattern != "**/**":
        # What is below a directory includes the directory.
        return (_translate(pattern[:-3]) if len(pattern) > 3 else "") + r"(?:/.*)?"
    pattern = pattern.rstrip("/") or "/"
    directory, _, name = pattern.rpartition("/")
    head = _translate(directory + "/")
    tail = _translate(name)
    if not wide or "**" in name:
        return head + tail
    if "." in name:
        # PATH_INFO: /login.php/anything runs login.php.
        return head + tail + r"(?:/.*)?"
    if "*" in name:
        return rf"{head}(?:{tail}|(?=[^/]*\.){tail}/.*)"
    return head + tail


def _translate(pattern: str) -> str:
    expression = ""
    rest = pattern
    if rest.startswith("**/"):
        expression, rest = r"/(?:.*/)?", rest[3:]
    for piece in re.split(r"(\*\*/|\*\*|\*)", rest):
        expression += {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*"}.get(piece) or re.escape(piece)
    return expression
