"""Events: whether the target has crossed a threshold by each step of the horizon."""

from __future__ import annotations

import torch
from torch import Tensor

from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import Frame, to_space


def labels(y: Tensor, known: Tensor, event: dict[str, float]) -> tuple[Tensor, Tensor]:
    """Whether the event has happened by each step.

    A gap leaves open what happened in it. To leave out every window with a gap but those in which the event was seen
    would teach that it comes with gaps: a few unknown steps are taken to be without it.

    Args:
        y, known: (..., H) targets in their units, and 1 where there is one.
        event: ``{above: …}`` or ``{below: …}``, crossed strictly.

    Returns:
        (..., H) 1 from the first known crossing on; and (..., H) 1 where that is known: from a crossing on, and where
        at least half of the steps so far are known.
    """
    ((side, threshold),) = event.items()
    crossed = (y > threshold) if side == "above" else (y < threshold)
    happened = (crossed & (known > 0)).cummax(-1).values
    seen = (known > 0).cumsum(-1) * 2 > torch.arange(y.shape[-1], device=y.device)
    return happened.to(y.dtype), (happened | seen).to(known.dtype)


def limit(spec: InputSpec, frame: Frame) -> Tensor:
    """(B, K, H or 1) where the threshold lies in the normalised units of each origin, within ±10."""
    (threshold,) = spec.event.values()
    space = to_space(torch.full_like(frame.unit, threshold), spec)
    return ((space - frame.base) / frame.unit).clamp(-10, 10)
