"""The pages that ``wire`` answers with by itself: made once at start, so that a dead portal still gives one.

Whole documents in both languages, Japanese first: nobody is there to ask which language is wanted. They
carry their style with them and load nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from mtls_gateway.config import Configuration
from mtls_gateway.web.front import make_environment
from mtls_gateway.web.stylesheet import read_style_sheet
from mtls_gateway.web.texts import read_texts


def render_error_pages(configuration: Configuration) -> Mapping[int, bytes]:
    """The page of each status that the gateway answers by itself, UTF-8."""
    texts = read_texts()
    template = make_environment().get_template("static_error.html")
    style = Markup(read_style_sheet().octets.decode("utf-8"))  # noqa: S704 - the file of this package, not input
    statuses = [key for key in texts["ja"]["errors"] if key.isdigit()]
    return {
        int(status): template.render(
            status=status,
            ja=texts["ja"],
            en=texts["en"],
            pages=configuration.pages,
            home=configuration.public.origin + configuration.pages.prefix,
            style=style,
        ).encode("utf-8")
        for status in statuses
    }
