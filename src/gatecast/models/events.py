"""Events: the probability that the target has crossed a threshold by step k of the horizon.

    P(by step k) = 1 - (1 - p_1) … (1 - p_k),    p_j the hazard of step j: non-decreasing by construction

Source: discrete-time survival with one hazard per step, as in Gensheimer & Narasimhan 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gatecast.core.errors import ConfigError
from gatecast.models.config import Model
from gatecast.models.heads import Head
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


class Event(Head):
    """A hazard per step; parameters are its logit.

    How far the decoder's linear forecast lies beyond the threshold, in normalised units, moves the logit: the net sees
    scaled values only, and would not know where the threshold is.
    """

    width = 1

    def __init__(self, model: Model, spec: InputSpec) -> None:
        super().__init__(model, spec)
        self.above, self.weight = "above" in spec.event, model.event_weight
        self.slope = nn.Parameter(torch.ones(()))

    def bias(self, spread: float) -> Tensor:
        return torch.full((1,), -2.0)

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        beyond = centre - limit(self.spec, frame)
        return raw + (self.slope * (beyond if self.above else -beyond)).unsqueeze(-1)

    def target(self, y: Tensor, known: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
        return labels(y, known, self.spec.event)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of P(by step k), steps by which it has happened counting ``event_weight`` times."""
        survived = softplus(parameters.squeeze(-1)).cumsum(-1)  # -log(1 - P)
        happened = -torch.log(-torch.expm1(-survived.clamp_min(1e-6)))
        return torch.where(target > 0, self.weight * happened, survived)

    def quantiles(self, parameters: Tensor) -> Tensor:
        """Refuse.

        Raises:
            ConfigError: EVENT, always.
        """
        raise ConfigError(
            "EVENT",
            "a model with `head: event` forecasts a probability, it has no quantiles of the target.",
            "Ask it for `probabilities(batch)`; to promote and score choose another `head`.",
        )

    def by_step(self, parameters: Tensor) -> Tensor:
        """(..., H, 1) -> (..., H) P(by step k)."""
        return -torch.expm1(-softplus(parameters.squeeze(-1)).cumsum(-1))
