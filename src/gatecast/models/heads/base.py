"""What every head can do: from raw numbers to a predictive distribution, and its loss.

A decoder hands every head the same two things: raw numbers (..., P), and a ``centre`` (...) in normalised units that
the location adds to. The head makes parameters of them, scores these, and reduces them to the one grid of levels.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from gatecast.core.forecast import QUANTILES
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import Frame, normalise, to_space

NARROWEST = 0.01  # scale of a distribution, in normalised units
_LIMIT = 10.0  # normalised units beyond which a target is not believed


class Head(nn.Module):
    """What every head can do; as it stands, for heads whose first raw number is a location.

    Args:
        settings: of the head.
        spec: sizes of the model.

    Attributes:
        width: P, raw numbers of a step.
        middle: which of them is the location.
    """

    width: int
    middle = 0

    def __init__(self, settings: Any, spec: InputSpec) -> None:
        super().__init__()
        self.spec = spec

    def bias(self, spread: float) -> Tensor:
        """(P,) raw numbers that start as a distribution of this spread."""
        raise NotImplementedError

    def forward(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        """(..., P), (...) -> (..., P') parameters."""
        raise NotImplementedError

    def median(self, raw: Tensor, centre: Tensor, frame: Frame) -> Tensor:
        """(..., P), (...) -> (...) in normalised units: what a decoder feeds back."""
        return raw[..., self.middle] + centre

    def target(self, y: Tensor, known: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
        """What the loss compares with, and where it is known.

        Args:
            y, known: (B, K, H) in units of the target, and 1 where there is one.
            frame: of the K origins.
        """
        return normalise(to_space(y, self.spec), known, frame.base, frame.unit, _LIMIT), known

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """(..., P'), (...) -> (...)."""
        raise NotImplementedError

    def quantiles(self, parameters: Tensor) -> Tensor:
        """(..., P') -> (..., Q) in normalised units."""
        raise NotImplementedError


class DistributionHead(Head):
    """A distribution that can be inverted: :meth:`icdf` is its quantiles, and of uniform numbers its samples."""

    def icdf(self, parameters: Tensor, level: Tensor) -> Tensor:
        """(..., P'), and levels (...) that broadcast with them -> (...) in normalised units."""
        raise NotImplementedError

    def quantiles(self, parameters: Tensor) -> Tensor:
        levels = torch.tensor(QUANTILES, device=parameters.device)
        return self.icdf(parameters.unsqueeze(-2).float(), levels)


def inverse_softplus(x: float) -> float:
    return math.log(math.expm1(x))
