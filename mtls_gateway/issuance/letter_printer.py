"""Makes the procedure letters of one user or of a whole company, as one PDF file (clause D.1).

A letter can only be made while the code is known, which is when it is made: stored is nothing but its digest. So
whoever makes codes asks :meth:`LetterPrinter.problem` first, and makes none for a letter that could not be printed.
The file holds codes in the clear: keep it at mode 0600, print it at once, then remove it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import datetime

import pydyf

from mtls_gateway.errors import ConfigurationError, UsageError
from mtls_gateway.issuance.code import UnreadableCode, read_code
from mtls_gateway.issuance.letter import (
    VARYING,
    Letter,
    LetterSettings,
    UnprintableLetter,
    common_values,
    own_values,
    problem_of_text,
    problem_of_values,
)
from mtls_gateway.issuance.letter_layout import PAGE_HEIGHT, PAGE_WIDTH, Element, read_layout, sort_page
from mtls_gateway.issuance.typeface import FaceInDocument, Typeface, built_in_face, read_face
from mtls_gateway.issuance.validity import JST


class LetterPrinter:
    """Makes letters of one bank; may be kept and used again. Equal letters give equal octets."""

    def __init__(self, settings: LetterSettings) -> None:
        """Read the layout and the fonts, and set what all letters have in common once to see that it fits.

        Raises:
            ConfigurationError: a font cannot be used, or a setting cannot be printed.
        """
        self._settings = settings
        self._layout = read_layout()
        self._typeface = Typeface([built_in_face(), *(read_face(path) for path in settings.extra_fonts)])
        self._common = common_values(settings, self._layout)
        self._pages = [sort_page(self._layout, page, VARYING) for page in self._layout.pages]
        for name, value in self._common.items():
            for line in value.split("\n"):
                cause = problem_of_text(line, self._typeface)
                if cause:
                    raise ConfigurationError("the procedure letter", name, cause)
        for element in (element for page in self._pages for element in page.fixed if element.kind == "text"):
            try:
                element.set(self._common, self._typeface)
            except ValueError as error:
                cause = f"{error}: {element.text.strip()[:40]!r}; shorten the setting"
                raise ConfigurationError("the procedure letter", "", cause) from error

    def problem(self, letter: Letter) -> str | None:
        """Why ``letter`` could not be printed, in one line; None: it can. Its code is not looked at."""
        problem = problem_of_values(letter, self._typeface)
        if problem:
            return problem
        values = self._common | own_values(letter, "", self._layout)
        for element in (element for page in self._pages for element in page.varying):
            try:
                element.set(values, self._typeface)
            except ValueError as error:
                return f"{error}: {element.text.strip()!r}"
        return None

    def pdf(self, letters: Iterable[Letter]) -> bytes:
        """One PDF file with the pages of each letter in turn.

        Raises:
            UnprintableLetter: a value of one letter cannot be printed whole; nothing is.
            UsageError: there is none, or more than ``letters_per_file``.
        """
        pdf = pydyf.PDF()
        faces = [FaceInDocument(face, pdf) for face in self._typeface.faces]
        forms = [self._form(page.fixed, pdf, faces) for page in self._pages]
        resources = pydyf.Dictionary({
            "Font": pydyf.Dictionary({f"F{place}": face.reference for place, face in enumerate(faces)}),
            "XObject": pydyf.Dictionary({f"P{place}": form for place, form in enumerate(forms)}),
        })  # fmt: skip
        pdf.add_object(resources)
        first: Letter | None = None
        companies: set[str] = set()
        for count, letter in enumerate(letters, start=1):
            if count > self._settings.letters_per_file:
                raise UsageError(f"more than {self._settings.letters_per_file} letters for one file; divide them")
            first = first or letter
            companies.add(letter.company_name)
            self._add_pages(letter, pdf, faces, resources.reference)
        if first is None:
            raise UsageError("no letter to print; name a user, or a company that has some")
        for face in faces:
            face.embed(pdf)
        self._describe(pdf, first, companies)
        output = io.BytesIO()
        pdf.write(output)
        return output.getvalue()

    def _form(self, elements: Iterable[Element], pdf: pydyf.PDF, faces: list[FaceInDocument]) -> bytes:
        drawn = [element.draw(self._common, self._typeface, lambda place, run: faces[place].encode(run))
                 for element in elements]  # fmt: skip
        fonts = pydyf.Dictionary({f"F{place}": face.reference for place, face in enumerate(faces)})
        form = pydyf.Stream(
            drawn,
            {
                "Type": "/XObject",
                "Subtype": "/Form",
                "BBox": pydyf.Array([0, 0, PAGE_WIDTH, PAGE_HEIGHT]),
                "Resources": pydyf.Dictionary({"Font": fonts}),
            },
            compress=True,
        )
        pdf.add_object(form)
        return bytes(form.reference)

    def _add_pages(self, letter: Letter, pdf: pydyf.PDF, faces: list[FaceInDocument], resources: bytes) -> None:
        problem = self.problem(letter)
        if problem:
            raise UnprintableLetter(letter.user_id, problem)
        try:
            printed = read_code(letter.code).printed
        except UnreadableCode as error:
            raise UnprintableLetter(letter.user_id, str(error)) from None
        values = self._common | own_values(letter, printed, self._layout)
        for place, page in enumerate(self._pages):
            content = pydyf.Stream([f"/P{place} Do"], compress=True)
            content.stream += [
                element.draw(values, self._typeface, lambda face, run: faces[face].encode(run))
                for element in page.varying
            ]
            pdf.add_object(content)
            pdf.add_page(
                pydyf.Dictionary(
                    {
                        "Type": "/Page",
                        "Parent": pdf.pages.reference,
                        "MediaBox": pydyf.Array([0, 0, PAGE_WIDTH, PAGE_HEIGHT]),
                        "Resources": resources,
                        "Contents": content.reference,
                    }
                )
            )

    def _describe(self, pdf: pydyf.PDF, first: Letter, companies: set[str]) -> None:
        title = self._layout.title + (f"　{first.company_name.strip()}" if len(companies) == 1 else "")
        moment = datetime.fromtimestamp(first.issued, JST)
        written = pydyf.String(f"D:{moment:%Y%m%d%H%M%S}+09'00'")
        pdf.info.update({
            "Title": pydyf.String(title), "Author": pydyf.String(self._settings.bank_name),
            "Creator": pydyf.String("mtls-gateway"), "CreationDate": written, "ModDate": written,
        })  # fmt: skip
        pdf.catalog.update({
            "Lang": pydyf.String("ja-JP"),
            "ViewerPreferences": pydyf.Dictionary({"DisplayDocTitle": "true", "PrintScaling": "/None"}),
        })  # fmt: skip
