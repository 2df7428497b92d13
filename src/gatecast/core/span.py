"""A span of time as users write it: ``12h``, ``1D``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def _above_zero(span: str) -> str:
    # what is plainly a span needs no pandas
    if span == "1D":
        return span
    import pandas as pd

    try:
        ok = bool(pd.Timedelta(span) > pd.Timedelta(0))
    except ValueError:
        ok = False
    if not ok:
        raise ValueError("a span above 0, like 12h or 1D")
    return span


Span = Annotated[str, AfterValidator(_above_zero)]
"""A span above 0, as pandas reads it."""
