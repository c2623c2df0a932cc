"""What pages and letters say of the bank."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtls_gateway.config.values import Count, File, Section


class Pages(Section):
    """What the portal's pages say of the bank."""

    bank_name_ja: str = "〇〇信用組合"
    bank_name_en: str = "Credit Cooperative"
    service_name_ja: str = "法人向けインターネットバンキング"
    service_name_en: str = "Corporate Internet Banking"
    help_desk_ja: str = "お取引店までお問い合わせください。"
    help_desk_en: str = "Please contact your branch."
    #: The gateway's own pages are below this path on both hosts; never forwarded to the legacy backend.
    prefix: Annotated[str, Field(pattern=r"^/[a-z0-9-]+/$")] = "/gateway/"
    #: The expiry notice page is shown after sign-in from so many days before expiry.
    notice_days: Count = 40


class Letter(Section):
    """The procedure letter (clause D.1): who sends it and whom to call; the names are those of ``pages``."""

    department: str = ""
    postal_code: str = ""
    #: The sender's postal address, line by line.
    address: tuple[str, ...] = ()
    telephone: str = ""
    #: When the telephone is answered.
    hours: str = ""
    #: TrueType fonts for characters of names that BIZ UDGothic has not, the first that has one wins.
    extra_fonts: tuple[File, ...] = ()
    letters_per_file: Count = 10_000
