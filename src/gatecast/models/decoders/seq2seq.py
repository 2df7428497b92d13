"""The sequence-to-sequence decoder: one recurrent step per step of the horizon, fed its own median."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gatecast.models.decoders.base import Origins
from gatecast.models.decoders.sequential import (
    LIMIT,
    SequenceSettings,
    SequentialDecoder,
)
from gatecast.models.heads.base import Head
from gatecast.models.inputs import InputSpec


class Seq2Seq(SequenceSettings):
    """Settings of the sequence-to-sequence decoder."""

    name: Literal["seq2seq"] = "seq2seq"
    """Which decoder this is."""

    attention: Literal["none", "additive", "dot"] = "none"
    """Scores by which a step attends to the encoder's states up to the origin."""

    teacher_forcing: float = Field(0.0, ge=0, le=1)
    """Share of training batches in which a step reads the true value before it."""


class Seq2SeqDecoder(SequentialDecoder):
    """Step by step; forecasting feeds back the own median. Source: Sutskever et al. 2014.

    Training shows the true values to a share of its batches only; the others are decoded as in forecasting. Shown
    nothing else, a decoder learns to trust the value before more than its own will deserve (Bengio et al. 2015).
    """

    def __init__(
        self,
        settings: Seq2Seq,
        head: Head,
        spec: InputSpec,
        n_state: int,
        n_step: int,
        dropout: float,
    ) -> None:
        super().__init__(settings, head, spec, n_state, n_step, dropout, settings.attention)
        self.teacher_forcing = settings.teacher_forcing

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        if truth is not None and self.training and torch.rand(()) < self.teacher_forcing:
            return self.teacher_forced(origins, truth)
        frame = origins.frame
        centre = frame.x @ self.skip.T  # (B, K, H)
        hidden = self.cell.start(origins.state.flatten(0, 1))
        error = torch.zeros_like(centre[..., :1])  # (B, K, 1)
        raws = []
        for k, features in enumerate(self.features(origins)):
            x = torch.cat([error.flatten(0, 1), features], -1)
            out, hidden = self.cell(x.unsqueeze(0), hidden)
            raws.append(self.raw(out, origins))  # (B, K, 1, P)
            expected = centre[..., k : k + 1]
            value = self.head.median(raws[-1], expected, frame)
            error = value.clamp(-LIMIT, LIMIT) - expected
        return self.head(torch.cat(raws, 2), centre, frame)
