"""Events: a hazard per step, so that the probability that the event has happened never falls.

    P(by step k) = 1 - (1 - p_1) … (1 - p_k),    p_j the hazard of step j

Source: discrete-time survival with one hazard per step, as in Gensheimer & Narasimhan 2019.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from gatecast.core.errors import ConfigError
from gatecast.core.schema import Schema
from gatecast.core.threshold import Threshold
from gatecast.models.events import labels, limit
from gatecast.models.heads.base import Head
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import Frame


class Event(Schema):
    """Settings of the event head."""

    name: Literal["event"] = "event"
    """Which head this is."""

    event: Threshold = Field(default_factory=dict)
    """The event, `{above: …}` or `{below: …}` in units of the target; empty: the source's."""

    event_weight: float = Field(1.0, gt=0)
    """How much more a step counts by which the event has happened."""


class EventHead(Head):
    """A hazard per step; parameters are its logit.

    How far the decoder's linear forecast lies beyond the threshold, in normalised units, moves the logit: the net sees
    scaled values only, and would not know where the threshold is.
    """

    width = 1

    def __init__(self, settings: Event, spec: InputSpec) -> None:
        super().__init__(settings, spec)
        self.above = "above" in spec.event
        self.weight = settings.event_weight
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
