"""What both step-by-step decoders share: a small cell over the horizon, started from the encoder's state.

A step reads how far the value before it lies from the linear forecast of it. Fed the value itself, a decoder first has
to learn that forecast (demo, 450 steps: WAPE .125 in place of .106).

Axes as in :mod:`gatecast.models.inputs`; N = B K origins are one batch, and a loop runs over steps of the horizon only.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop

from gatecast.models.cells import CELLS
from gatecast.models.cells.base import State
from gatecast.models.choices import one_of
from gatecast.models.decoders.base import EMBEDDING, Decoder, Origins, SkipSettings, linear_skip
from gatecast.models.heads.base import Head
from gatecast.models.inputs import InputSpec

LIMIT = 10.0  # normalised units; what is fed back stays within what training has seen


class SequenceSettings(SkipSettings):
    """Settings of a decoder with a cell of its own."""

    decoder_cell: Annotated[str, one_of(CELLS)] = "gru"
    """The decoder's own recurrent cell."""


class StepCell(nn.Module):
    """A recurrent layer that starts from a state of the encoder.

    Args:
        cell: its name.
        n_inputs: features of a step.
        hidden_size: width of the state, of the encoder's too.
    """

    def __init__(self, cell: str, n_inputs: int, hidden_size: int) -> None:
        super().__init__()
        self.n_started = CELLS[cell].cell_type.n_started
        self.from_state = nn.Linear(hidden_size, self.n_started * hidden_size)
        self.recurrent = CELLS[cell](n_inputs, hidden_size)

    def start(self, state: Tensor) -> State:
        """(N, hidden_size) state of the encoder -> the first state of the cell."""
        first = self.from_state(state).tanh()  # (N, n_started hidden_size)
        return self.recurrent.cell.start(*first.chunk(self.n_started, -1))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """(steps, N, n_inputs) -> (steps, N, hidden_size), and the state after the last step."""
        return self.recurrent.proceed(x, state)


class Attention(nn.Module):
    """A mean of the encoder's states up to an origin, weighted by the query of each step of the decoder.

    Sources: scores of Bahdanau et al. 2015 (``additive``) or Luong et al. 2015 (``dot``); the query is taken after the
    decoder's cell, as Luong et al. do, so that training computes all steps at once.
    """

    def __init__(self, score: str, hidden_size: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(2))
        self.score = nn.Linear(hidden_size, 1, bias=False) if score == "additive" else None

    def forward(self, queries: Tensor, states: Tensor) -> Tensor:
        """(B, K, h, hidden_size) steps of the decoder, (B, T, hidden_size) -> (B, K, h, hidden_size)."""
        query = self.query(queries)
        key = self.key(states)
        if self.score is None:
            score = torch.einsum("bkhu,btu->bkht", query, key) / query.shape[-1] ** 0.5
        else:
            both = query.unsqueeze(3) + key[:, None, None]  # (B, K, h, T, hidden_size)
            score = self.score(both.tanh()).squeeze(-1)
        n_origins = queries.shape[1]
        steps = states.shape[1]
        last = torch.arange(steps - n_origins, steps, device=states.device)[:, None, None]
        later = torch.arange(steps, device=states.device) > last  # (K, 1, T)
        weight = score.masked_fill(later, -torch.inf).softmax(-1)
        return torch.einsum("bkht,btu->bkhu", weight, states)


class SequentialDecoder(Decoder):
    """What both step-by-step decoders share: a cell over the horizon, and the linear skip of the direct decoder.

    A step reads the error of the step before (0 at the first), its own inputs and an embedding of the step.
    """

    reads_targets = True

    def __init__(
        self,
        settings: SequenceSettings,
        head: Head,
        spec: InputSpec,
        n_state: int,
        n_step: int,
        dropout: float,
        attention: str = "none",
    ) -> None:
        super().__init__(head)
        self.embedding = nn.Parameter(0.3 * torch.randn(spec.horizon, EMBEDDING))
        self.cell = StepCell(settings.decoder_cell, 1 + n_step + EMBEDDING, n_state)
        self.attention = None if attention == "none" else Attention(attention, n_state)
        self.dropout = dropout
        self.out = nn.Linear(n_state * (1 if self.attention is None else 2), head.width)
        self.skip = linear_skip(spec, settings.linear_skip == "trained")
        with torch.no_grad():
            self.out.weight.mul_(0.3)
            self.out.bias.copy_(head.bias(0.5))

    def features(self, origins: Origins) -> Tensor:
        """(H, N, n_step + 8): what a step reads beside the value before it."""
        step = origins.step.flatten(0, 1).transpose(0, 1)  # (H, N, n_step)
        embedding = self.embedding.unsqueeze(1).expand(-1, step.shape[1], -1)
        return torch.cat([step, embedding], -1)

    def raw(self, hidden: Tensor, origins: Origins) -> Tensor:
        """(h, N, hidden_size) of the cell -> (B, K, h, P)."""
        out = hidden.transpose(0, 1).unflatten(0, origins.step.shape[:2])
        if self.attention is not None:
            out = torch.cat([out, self.attention(out, origins.states)], -1)
        parameters: Tensor = self.out(drop(out, self.dropout, self.training))
        return parameters

    def teacher_forced(self, origins: Origins, truth: Tensor) -> Tensor:
        """(B, K, H, P') parameters where every step reads the true value before it."""
        frame = origins.frame
        centre = frame.x @ self.skip.T  # (B, K, H)
        error = (truth - centre)[..., :-1].nan_to_num(0.0)
        error = torch.cat([torch.zeros_like(centre[..., :1]), error], -1)
        x = torch.cat([error.flatten(0, 1).T.unsqueeze(-1), self.features(origins)], -1)
        hidden, _ = self.cell(x, self.cell.start(origins.state.flatten(0, 1)))
        return self.head(self.raw(hidden, origins), centre, frame)
