"""The segment decoder: patches of the horizon, each one recurrent step from the same state (SegRNN)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from gatecast.models.decoders.base import EMBEDDING, Decoder, Origins, linear_skip
from gatecast.models.decoders.sequential import SequenceSettings, StepCell
from gatecast.models.heads.base import Head
from gatecast.models.inputs import InputSpec

_PER_STEP = 4  # width of the projected inputs of one step of a patch


class Segment(SequenceSettings):
    """Settings of the segment decoder."""

    name: Literal["segment"] = "segment"
    """Which decoder this is."""

    decoder_patches: int = Field(4, ge=1)
    """Patches of the horizon, each decoded by one step."""


class SegmentDecoder(Decoder):
    """Patches of the horizon, side by side: each is one step of the cell from the same state.

    A patch reads an embedding of its position and the projected inputs of its own steps. Nothing is fed back, so that
    errors do not add up. Source: SegRNN ("parallel multi-step forecasting"), Lin et al. 2023.
    """

    def __init__(
        self,
        settings: Segment,
        head: Head,
        spec: InputSpec,
        n_state: int,
        n_step: int,
        dropout: float,
    ) -> None:
        super().__init__(head)
        self.length = -(-spec.horizon // min(settings.decoder_patches, spec.horizon))
        self.n_patches = -(-spec.horizon // self.length)
        self.position = nn.Parameter(0.3 * torch.randn(self.n_patches, EMBEDDING))
        self.row = nn.Linear(n_step, _PER_STEP)
        self.cell = StepCell(settings.decoder_cell, EMBEDDING + self.length * _PER_STEP, n_state)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(n_state, self.length * head.width)
        self.skip = linear_skip(spec, settings.linear_skip == "trained")
        with torch.no_grad():
            self.out.weight.mul_(0.3)
            self.out.bias.copy_(head.bias(0.5).repeat(self.length))

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        frame, (*shape, horizon) = origins.frame, origins.step.shape[:3]
        rows = pad(self.row(origins.step), (0, 0, 0, self.n_patches * self.length - horizon))
        rows = rows.unflatten(2, (self.n_patches, self.length)).flatten(3)  # (B, K, M, L 4)
        x = torch.cat([rows, self.position.expand(*shape, -1, -1)], -1)
        state = origins.state.flatten(0, 1).repeat_interleave(self.n_patches, 0)  # (N M, n_state)
        hidden, _ = self.cell(x.flatten(0, 2).unsqueeze(0), self.cell.start(state))
        raw = self.out(self.dropout(hidden[0])).unflatten(-1, (self.length, -1))  # (N M, L, P)
        raw = raw.reshape(*shape, self.n_patches * self.length, -1)[:, :, :horizon]
        return self.head(raw, frame.x @ self.skip.T, frame)
