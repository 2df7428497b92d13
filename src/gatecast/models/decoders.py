"""Direct multi-horizon decoder: every step of the horizon at once, from the last state."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import relu

from gatecast.config import QUANTILES
from gatecast.models.heads import initial_bias, monotone_quantiles


class DirectDecoder(nn.Module):
    """Quantiles of each step from the state, the step's own inputs, and a linear skip of the look-back.

    Args:
        units: width of the encoder state.
        n_step: features of a horizon step (known covariates, calendar, lags).
        window: W, rows of the linear skip.
        horizon: H.
        season_length: m; the skip starts out as a mean of seasonal naive forecasts.
        dropout: on the hidden layer.
    """

    def __init__(
        self, units: int, n_step: int, window: int, horizon: int, season_length: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Parameter(0.3 * torch.randn(horizon, 8))
        self.from_state = nn.Linear(units, units)
        self.from_step = nn.Linear(n_step + 8, units)
        self.dropout = dropout
        self.out = nn.Linear(units, len(QUANTILES))
        self.skip = nn.Parameter(seasonal_mean(window, horizon, season_length))
        with torch.no_grad():
            self.out.weight.mul_(0.3)
            self.out.bias.copy_(initial_bias(0.5))

    def forward(self, state: Tensor, step: Tensor, x: Tensor) -> Tensor:
        """(B, K, units), (B, K, H, n_step), (B, K, W) -> (B, K, H, Q) in normalised units."""
        embedding = self.embedding.expand(*step.shape[:-1], -1)
        hidden = relu(
            self.from_state(state).unsqueeze(-2) + self.from_step(torch.cat([step, embedding], -1))
        )
        keep = drop(
            hidden.new_ones(*hidden.shape[:2], 1, hidden.shape[-1]), self.dropout, self.training
        )
        raw = self.out(
            hidden * keep
        )  # (B, K, H, Q); one mask an origin: drawing one a step costs a third of the time
        return monotone_quantiles(raw) + (x @ self.skip.T).unsqueeze(-1)


def seasonal_mean(window: int, horizon: int, season_length: int) -> Tensor:
    """(H, W) weights of the forecast "half the last season, half the mean of all seasons" (same phase)."""
    weights = torch.zeros(horizon, window)
    for k in range(horizon):
        same_phase = torch.arange(window - season_length + k % season_length, -1, -season_length)
        if len(same_phase):
            weights[k, same_phase] = 0.5 / len(same_phase)
            weights[k, same_phase[0]] += 0.5
    return weights
