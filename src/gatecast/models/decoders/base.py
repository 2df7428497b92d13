"""What decoders share: what is known at an origin, the layer per step, and the linear skip of the look-back.

All decode every origin of every sequence as one batch, and answer (B, K, H, P') parameters of their head.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import relu

from gatecast.core.schema import Schema
from gatecast.models.heads.base import Head
from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import Frame, widths

EMBEDDING = 8  # width of the embedding of a step or a patch


class SkipSettings(Schema):
    """Settings of a decoder that adds a linear skip of the look-back."""

    linear_skip: Literal["trained", "fixed"] = "trained"
    """Whether the linear skip of the look-back is trained, or stays the seasonal mean it starts as."""


class Origins(NamedTuple):
    """What is known at K origins of each sequence.

    Attributes:
        states: (B, T, n_state) of the encoder, or (B, K, n_state) where nothing attends to earlier ones; the last K are
            those of the origins.
        step: (B, K, H, n_step) what is known ahead of each step of the horizon, and lags.
        frame: normalisation of the K origins.
    """

    states: Tensor
    step: Tensor
    frame: Frame

    @property
    def state(self) -> Tensor:
        """(B, K, n_state), the newest state at each origin."""
        return self.states[:, -self.step.shape[1] :]


class Decoder(nn.Module):
    """What every decoder can do.

    Args:
        head: makes parameters of what is decoded.

    Attributes:
        reads_targets: whether a step reads the value before it, so that training shows it the true one.
    """

    reads_targets = False

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        """Decode.

        Args:
            origins: what is known.
            truth: (B, K, H) targets in normalised units, NaN where unknown, which training may show to later steps.

        Returns:
            (B, K, H, P') parameters of the head.
        """
        raise NotImplementedError

    def quantiles(self, origins: Origins) -> Tensor:
        """(B, K, H, Q) in normalised units."""
        return self.head.quantiles(self(origins))


class StepLayer(nn.Module):
    """A hidden layer per step of the horizon, from the state, the step's inputs and an embedding of the step.

    Args:
        n_state: width of the encoder state.
        n_step: features of a horizon step (known covariates, calendar, lags).
        horizon: H.
        n_out: outputs of a step.
        dropout: on the hidden layer.
    """

    def __init__(self, n_state: int, n_step: int, horizon: int, n_out: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Parameter(0.3 * torch.randn(horizon, EMBEDDING))
        self.from_state = nn.Linear(n_state, n_state)
        self.from_embedding = nn.Linear(EMBEDDING, n_state, bias=False)
        self.from_step = nn.Linear(n_step, n_state)
        self.dropout = dropout
        self.out = nn.Linear(n_state, n_out)
        with torch.no_grad():
            self.out.weight.mul_(0.3)

    def forward(self, state: Tensor, step: Tensor) -> Tensor:
        """(B, K, n_state), (B, K, H, n_step) -> (B, K, H, n_out)."""
        of_origin = self.from_state(state).unsqueeze(-2)  # (B, K, 1, n_state)
        hidden = relu(of_origin + self.from_embedding(self.embedding) + self.from_step(step))
        if self.training:
            # one mask per origin: drawing one per step costs a third of the time
            hidden = hidden * drop(
                hidden.new_ones(*state.shape[:2], 1, hidden.shape[-1]), self.dropout
            )
        out: Tensor = self.out(hidden)
        return out


def linear_skip(spec: InputSpec, trained: bool) -> nn.Parameter:
    """(H, D) weights of a linear skip of the look-back: at first, or for good, between last season and mean."""
    if spec.normalisation == "seasonal":  # the base is the last season already
        weights = torch.zeros(spec.horizon, widths(spec)[0])
    else:
        weights = seasonal_mean(spec.context_length, spec.horizon, spec.season_length)
    return nn.Parameter(weights, requires_grad=trained)


def seasonal_mean(
    context_length: int, horizon: int, season_length: int, newest: float = 0.5
) -> Tensor:
    """(H, W) weights of the forecast "``newest`` the last season, the rest the mean of all" (same phase)."""
    weights = torch.zeros(horizon, context_length)
    for k in range(horizon):
        same_phase = torch.arange(
            context_length - season_length + k % season_length, -1, -season_length
        )
        if len(same_phase):
            weights[k, same_phase] = (1 - newest) / len(same_phase)
            weights[k, same_phase[0]] += newest
    return weights
