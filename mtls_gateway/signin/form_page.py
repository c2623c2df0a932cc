"""What a browser would read in a page of the legacy backend: its forms, and where it moves on to.

Sources: HTML Living Standard, "constructing the entry list", "implicit submission" and the ``refresh``
pragma; URL Living Standard, ``application/x-www-form-urlencoded``. No script is run: what a form
needs beyond its markup is given in ``legacy.login.fields``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus, urljoin

from lxml import etree

from mtls_gateway.signin.charset import decode_page, submission_codec

_BUTTONS = ("submit", "image")
_NOT_SENT = ("submit", "image", "button", "reset", "file")
_REFRESH = re.compile(r"^\s*(\d+)(?:\.\d*)?\s*[;,\s]\s*(?:url\s*=\s*)?[\"']?([^\"']+)", re.IGNORECASE)
#: A page that moves on later than this is one that a person reads, such as a time-out notice. Seconds.
_PROMPT = 10


@dataclass(frozen=True, slots=True)
class Form:
    """A form as a browser would send it untouched: its first button pressed."""

    #: Absolute.
    action: str
    method: str
    enctype: str
    codec: str
    entries: tuple[tuple[str, str], ...]

    def filled(self, values: Mapping[str, str], without: Collection[str] = ()) -> Form:
        """The form with ``values`` put in place of its own, or added, and the fields ``without`` left out."""
        kept = [(name, values.get(name, value)) for name, value in self.entries if name not in without]
        present = {name for name, _ in self.entries}
        kept += [(name, value) for name, value in values.items() if name not in present]
        return Form(self.action, self.method, self.enctype, self.codec, tuple(kept))

    def encoded(self) -> bytes:
        """The entries as ``application/x-www-form-urlencoded``, in the form's character encoding."""
        return "&".join(f"{self._escape(name)}={self._escape(value)}" for name, value in self.entries).encode("ascii")

    def _escape(self, text: str) -> str:
        # A character that the encoding lacks is sent as a browser does: as a character reference.
        lines = re.sub(r"\r\n|\r|\n", "\r\n", text)
        return quote_plus(lines.encode(self.codec, "xmlcharrefreplace"), safe="*").replace("~", "%7E")


class FormPage:
    """One page of the legacy backend. What is not HTML is a page without forms."""

    __slots__ = ("_codec", "_root", "_url", "base", "text")

    def __init__(self, body: bytes, content_type: str, url: str) -> None:
        self.text, self._codec = decode_page(body, content_type)
        self._root = _parse(self.text) if _is_html(content_type) else None
        self._url = url
        self.base = url
        if self._root is not None:
            for base in self._root.iter("base"):
                self.base = urljoin(url, base.get("href") or "")
                break

    def form_with(self, *names: str) -> Form | None:
        """The first form that has a field of each of these names."""
        for form in self._forms():
            entries = [(control.get("name"), control) for control in self._controls(form)]
            if all(any(name == wanted for name, _ in entries) for wanted in names):
                return self._read(form)
        return None

    def form_to(self, path: str) -> Form | None:
        """The first form whose action has this path."""
        for form in self._forms():
            read = self._read(form)
            if re.sub(r"^[a-z]+://[^/]*|[;?#].*$", "", read.action) == path:
                return read
        return None

    def refresh(self) -> str | None:
        """Where ``<meta http-equiv=refresh>`` leads at once, absolute; None: it stays.

        One inside ``noscript`` is not for the browsers that customers use.
        """
        if self._root is None:
            return None
        for meta in self._root.iter("meta"):
            if (meta.get("http-equiv") or "").strip().lower() != "refresh":
                continue
            if any(parent.tag == "noscript" for parent in meta.iterancestors()):
                continue
            return read_refresh(meta.get("content") or "", self.base)
        return None

    def _forms(self) -> Iterator[etree._Element]:
        return iter(()) if self._root is None else self._root.iter("form")

    def _controls(self, form: etree._Element) -> Iterator[etree._Element]:
        """The controls that belong to ``form``, in tree order, disabled ones left out."""
        if self._root is None:
            return
        identity = form.get("id")
        for control in self._root.iter("input", "select", "textarea", "button"):
            owner = control.get("form")
            if owner is not None:
                belongs = bool(identity) and owner == identity
            else:
                belongs = next(control.iterancestors("form"), None) is form
            disabled = control.get("disabled") is not None or any(
                fieldset.get("disabled") is not None for fieldset in control.iterancestors("fieldset")
            )
            if belongs and not disabled:
                yield control

    def _read(self, form: etree._Element) -> Form:
        controls = list(self._controls(form))
        button = next((control for control in controls if _kind(control) in _BUTTONS), None)
        pressed = form if button is None else button
        action = re.sub(r"[\t\r\n]", "", pressed.get("formaction") or form.get("action") or "").strip()
        codec = submission_codec(form.get("accept-charset") or "", self._codec)
        entries: list[tuple[str, str]] = []
        for control in controls:
            if control is button or _kind(control) not in _NOT_SENT:
                entries += _entries(control, codec)
        return Form(
            # An empty action is the page's own address, not that of <base>.
            action=urljoin(self.base, action) if action else self._url,
            method="GET"
            if (pressed.get("formmethod") or form.get("method") or "").strip().lower() != "post"
            else "POST",
            enctype=(form.get("enctype") or "application/x-www-form-urlencoded").strip().lower(),
            codec=codec,
            entries=tuple(entries),
        )


def read_refresh(content: str, base: str) -> str | None:
    """Where a ``Refresh`` header or pragma leads at once, absolute; None: it stays, or only after a while."""
    found = _REFRESH.match(content)
    if found is None or int(found[1]) > _PROMPT:
        return None
    return urljoin(base, str(found[2]).strip())


def _is_html(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media in ("", "text/html", "application/xhtml+xml")


def _parse(text: str) -> etree._Element | None:
    # libxml2 ends a document at NUL; a browser reads on.
    octets = text.replace("\0", "\ufffd").encode("utf-8", "replace")
    try:
        return etree.fromstring(octets, etree.HTMLParser(encoding="utf-8", remove_comments=True))
    except etree.ParseError:
        return None


def _kind(control: etree._Element) -> str:
    if control.tag == "input":
        return (control.get("type") or "text").strip().lower()
    if control.tag == "button":
        return (control.get("type") or "submit").strip().lower()
    return str(control.tag)


def _entries(control: etree._Element, codec: str) -> list[tuple[str, str]]:
    name = control.get("name") or ""
    kind = _kind(control)
    if kind == "image":
        # Pressed from the keyboard, an image button sends the corner.
        stem = f"{name}." if name else ""
        return [(f"{stem}x", "0"), (f"{stem}y", "0")]
    if not name:
        return []
    if kind in ("checkbox", "radio"):
        return [(name, control.get("value") or "on")] if control.get("checked") is not None else []
    if kind == "select":
        return _selected(control, name)
    if kind == "textarea":
        return [(name, "".join(str(text) for text in control.itertext()).removeprefix("\n"))]
    if kind == "hidden" and name.lower() == "_charset_":
        return [(name, "Shift_JIS" if codec == "cp932" else codec.replace("_", "-").upper())]
    return [(name, control.get("value") or "")]


def _selected(select: etree._Element, name: str) -> list[tuple[str, str]]:
    options = [option for option in select.iter("option") if option.get("disabled") is None]
    chosen = [option for option in options if option.get("selected") is not None]
    if select.get("multiple") is None:
        # The last one marked wins; a list that marks none shows its first.
        chosen = chosen[-1:] or options[:1]
    return [(name, _option_value(option)) for option in chosen]


def _option_value(option: etree._Element) -> str:
    if option.get("value") is not None:
        return str(option.get("value"))
    return " ".join("".join(str(text) for text in option.itertext()).split())
