"""Numbers as JSON can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def finite(value: Any, digits: int | None = None) -> Any:
    """The value with None for every number that is not finite, in nested mappings and lists too.

    Args:
        value: what is to be written as JSON.
        digits: decimals to round floats to; None: not rounded.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else round(value, digits)
    if isinstance(value, Mapping):
        return {key: finite(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item, digits) for item in value]
    return value
