"""What a user may not do for a while after a reissue, and until when (clause D.6)."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field

from mtls_gateway.config.values import PathPattern, Section


class BusinessDays(Section):
    """When a reissue's cooling-off ends (clause D.6): weekends, holidays and the year end are closed anyway."""

    #: The hour in Japan at which a business day begins.
    opening_hour: Annotated[int, Field(ge=0, le=23)] = 0
    #: Further days on which the bank is closed, as 2027-02-01.
    closed: tuple[datetime.date, ...] = ()


class CoolingOffRule(Section):
    """Requests that are refused to a user until the next business day after a reissue (clause D.6)."""

    #: Left out: every method.
    methods: tuple[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], ...] = ()
    #: In every spelling of these patterns, as with ``legacy.guarded``.
    paths: tuple[PathPattern, ...] = Field(min_length=1)


class CoolingOff(Section):
    """What a user may not do for a while after a reissue; ``business_days`` says for how long (clause D.6)."""

    rules: tuple[CoolingOffRule, ...] = ()
