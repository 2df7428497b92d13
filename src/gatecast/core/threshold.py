"""The event of a source or a model: the target above or below a threshold."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator


def _one_threshold(event: Any) -> Any:
    """Refuse anything but no event, or one finite threshold."""
    if event == {}:
        return event
    one = isinstance(event, dict) and len(event) == 1 and event.keys() <= {"above", "below"}
    limits: list[Any] = [*event.values()] if one else [""]
    if not all(type(limit) in (int, float) and math.isfinite(limit) for limit in limits):
        raise ValueError("one finite threshold: {above: …} or {below: …}")
    return event


Threshold = Annotated[dict[str, float], BeforeValidator(_one_threshold)]
"""An event: ``{above: …}`` or ``{below: …}`` in units of the target; empty: none."""
