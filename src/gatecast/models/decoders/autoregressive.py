"""The autoregressive decoder: trajectories, each step drawn given those before it (DeepAR, Salinas et al. 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gatecast.core.forecast import QUANTILES
from gatecast.models.decoders.base import Origins
from gatecast.models.decoders.sequential import LIMIT, SequenceSettings, SequentialDecoder
from gatecast.models.heads.base import DistributionHead, Head
from gatecast.models.inputs import InputSpec


class Autoregressive(SequenceSettings):
    """Settings of the autoregressive decoder."""

    name: Literal["autoregressive"] = "autoregressive"
    """Which decoder this is."""

    n_paths: int = Field(100, ge=1)
    """Trajectories that a forecast samples; its time grows with them."""


class AutoregressiveDecoder(SequentialDecoder):
    """Trajectories, each step drawn given those before it; trained by the likelihood of the true one.

    Draws invert the distribution of the head at levels drawn once, when the net is built, and kept with its weights:
    the same input gives the same forecast, alone or in any batch. At every step the levels are the midpoints of equal
    shares in an order of their own (Latin hypercube, McKay et al. 1979), which needs fewer paths.
    """

    levels: Tensor  # (H, S)
    head: DistributionHead

    def __init__(
        self,
        settings: Autoregressive,
        head: Head,
        spec: InputSpec,
        n_state: int,
        n_step: int,
        dropout: float,
    ) -> None:
        super().__init__(settings, head, spec, n_state, n_step, dropout)
        generator = torch.Generator().manual_seed(0)
        order = torch.rand(spec.horizon, settings.n_paths, generator=generator).argsort(-1)
        self.register_buffer("levels", (order + 0.5) / settings.n_paths)

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        """As :meth:`Decoder.forward`; ``truth`` must be given: without it there is no one set of parameters."""
        assert truth is not None
        return self.teacher_forced(origins, truth)

    def quantiles(self, origins: Origins) -> Tensor:
        return _path_quantiles(self.paths(origins))

    def paths(self, origins: Origins) -> Tensor:
        """(B, K, H, S) trajectories in normalised units."""
        frame = origins.frame
        n_paths = self.levels.shape[1]
        centre = frame.x @ self.skip.T  # (B, K, H)
        shape = (*centre.shape[:2], n_paths)
        state = origins.state.flatten(0, 1).repeat_interleave(n_paths, 0)  # (N S, n_state)
        hidden = self.cell.start(state)
        error = centre.new_zeros(shape)  # (B, K, S)
        drawn = []
        for k, features in enumerate(self.features(origins)):
            shared = features.repeat_interleave(n_paths, 0)  # (N S, n_step + 8)
            x = torch.cat([error.reshape(-1, 1), shared], -1)
            out, hidden = self.cell(x.unsqueeze(0), hidden)
            raw = self.out(out[0]).unflatten(0, shape)  # (B, K, S, P)
            expected = centre[..., k : k + 1]
            parameters = self.head(raw, expected, frame).float()
            drawn.append(self.head.icdf(parameters, self.levels[k]))
            error = drawn[-1].clamp(-LIMIT, LIMIT) - expected
        return torch.stack(drawn, 2)


def _path_quantiles(paths: Tensor) -> Tensor:
    """(..., S) -> (..., Q): level q lies at rank q S + 1/2 of the sorted paths (Hazen 1914), between two linearly."""
    n = paths.shape[-1]
    rank = (paths.new_tensor(QUANTILES) * n - 0.5).clamp(0, n - 1)
    ordered, low = paths.sort(-1).values, rank.floor().long()
    return torch.lerp(ordered[..., low], ordered[..., (low + 1).clamp_max(n - 1)], rank - low)
