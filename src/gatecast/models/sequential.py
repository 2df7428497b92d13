"""Recurrent decoders: a small cell of their own, started from the encoder's state at each origin.

    segment         the horizon in parts, each decoded by one step from the same state      (SegRNN, Lin et al. 2023)
    seq2seq         step by step, fed the value before: the true one, or its own median
    autoregressive  step by step, fed what it drew: sampled trajectories                  (DeepAR, Salinas et al. 2020)

The last two are fed the value before as how far it lies from the linear forecast of it. Fed the value itself, a decoder
first has to learn that forecast (demo, 450 steps: WAPE .125 in place of .106).

Axes as in :mod:`gatecast.models.inputs`; N = B K origins are one batch, and a loop runs over steps of the horizon only.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import pad

from gatecast.core.forecast import QUANTILES
from gatecast.models.config import Model
from gatecast.models.decoders import Decoder, Origins, linear_skip
from gatecast.models.heads import Distribution, Head
from gatecast.models.inputs import InputSpec

CELLS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
Hidden: TypeAlias = Tensor | tuple[Tensor, Tensor]
_EMBEDDING = 8  # width of the embedding of a step or a part
_PER_STEP = 4  # width of the projected inputs of one step of a part
_LIMIT = 10.0  # normalised units; what is fed back stays within what training has shown


class StepCell(nn.Module):
    """A recurrent layer that starts from a state of the encoder.

    Args:
        cell: ``rnn``, ``lstm`` or ``gru``.
        n_inputs: features of a step.
        units: width of the state, of the encoder's too.
    """

    def __init__(self, cell: str, n_inputs: int, units: int) -> None:
        super().__init__()
        self.parts = 2 if cell == "lstm" else 1
        self.from_state = nn.Linear(units, self.parts * units)
        self.recurrent = CELLS[cell](n_inputs, units)

    def start(self, state: Tensor) -> Hidden:
        """(N, units) state of the encoder -> the first hidden state."""
        first = self.from_state(state).tanh().unsqueeze(0)  # (1, N, parts units)
        if self.parts == 1:
            return first
        hidden, memory = first.chunk(2, -1)
        return hidden.contiguous(), memory.contiguous()

    def forward(self, x: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """(steps, N, n_inputs) -> (steps, N, units), and the hidden state after the last."""
        out: tuple[Tensor, Hidden] = self.recurrent(x, hidden)
        return out


class Attention(nn.Module):
    """A mean of the encoder's states up to an origin, weighted by what each step of the decoder asks for.

    Sources: scores of Bahdanau et al. 2015 (``additive``) or Luong et al. 2015 (``dot``); asked after the decoder's
    cell, as Luong et al. do, so that training asks for all steps at once.
    """

    def __init__(self, kind: str, units: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Linear(units, units, bias=False) for _ in range(2))
        self.score = nn.Linear(units, 1, bias=False) if kind == "additive" else None

    def forward(self, asked: Tensor, states: Tensor) -> Tensor:
        """(B, K, h, units) steps of the decoder, (B, T, units) -> (B, K, h, units)."""
        query, key = self.query(asked), self.key(states)
        if self.score is None:
            score = torch.einsum("bkhu,btu->bkht", query, key) / query.shape[-1] ** 0.5
        else:
            both = query.unsqueeze(3) + key[:, None, None]  # (B, K, h, T, units)
            score = self.score(both.tanh()).squeeze(-1)
        forks, steps = asked.shape[1], states.shape[1]
        last = torch.arange(steps - forks, steps, device=states.device)[:, None, None]
        later = torch.arange(steps, device=states.device) > last  # (K, 1, T)
        weight = score.masked_fill(later, -torch.inf).softmax(-1)
        return torch.einsum("bkht,btu->bkhu", weight, states)


class SequentialDecoder(Decoder):
    """What both step-by-step decoders share: a cell over the horizon, and the linear skip of the direct decoder.

    A step reads the error of the step before (0 at the first), its own inputs and an embedding of the step.
    """

    fed = True

    def __init__(
        self, model: Model, head: Head, spec: InputSpec, n_state: int, n_step: int
    ) -> None:
        super().__init__(head)
        self.embedding = nn.Parameter(0.3 * torch.randn(spec.horizon, _EMBEDDING))
        self.cell = StepCell(model.decoder_cell, 1 + n_step + _EMBEDDING, n_state)
        self.attention = None if model.attention == "none" else Attention(model.attention, n_state)
        self.dropout = model.dropout
        self.out = nn.Linear(n_state * (1 if self.attention is None else 2), head.width)
        self.skip = linear_skip(model, spec)
        with torch.no_grad():
            self.out.weight.mul_(0.3)
            self.out.bias.copy_(head.bias(0.5))

    def features(self, origins: Origins) -> Tensor:
        """(H, N, n_step + 8): what a step reads beside the value before it."""
        step = origins.step.flatten(0, 1).transpose(0, 1)  # (H, N, n_step)
        embedding = self.embedding.unsqueeze(1).expand(-1, step.shape[1], -1)
        return torch.cat([step, embedding], -1)

    def raw(self, hidden: Tensor, origins: Origins) -> Tensor:
        """(h, N, units) of the cell -> (B, K, h, P)."""
        asked = hidden.transpose(0, 1).unflatten(0, origins.step.shape[:2])
        if self.attention is not None:
            asked = torch.cat([asked, self.attention(asked, origins.states)], -1)
        out: Tensor = self.out(drop(asked, self.dropout, self.training))
        return out

    def shown(self, origins: Origins, truth: Tensor) -> Tensor:
        """(B, K, H, P') parameters where every step is shown the true value before it."""
        frame = origins.frame
        centre = frame.x @ self.skip.T  # (B, K, H)
        error = (truth - centre)[..., :-1].nan_to_num(0.0)
        error = torch.cat([torch.zeros_like(centre[..., :1]), error], -1)
        x = torch.cat([error.flatten(0, 1).T.unsqueeze(-1), self.features(origins)], -1)
        hidden, _ = self.cell(x, self.cell.start(origins.state.flatten(0, 1)))
        return self.head(self.raw(hidden, origins), centre, frame)


class Seq2SeqDecoder(SequentialDecoder):
    """Step by step; forecasting feeds back the own median. Source: Sutskever et al. 2014.

    Training shows the true values to a share of its batches only; the others are decoded as in forecasting. Shown
    nothing else, a decoder learns to trust the value before more than its own will deserve (Bengio et al. 2015).
    """

    def __init__(
        self, model: Model, head: Head, spec: InputSpec, n_state: int, n_step: int
    ) -> None:
        super().__init__(model, head, spec, n_state, n_step)
        self.teacher_forcing = model.teacher_forcing

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        if truth is not None and self.training and torch.rand(()) < self.teacher_forcing:
            return self.shown(origins, truth)
        frame = origins.frame
        centre = frame.x @ self.skip.T  # (B, K, H)
        hidden = self.cell.start(origins.state.flatten(0, 1))
        error, raws = torch.zeros_like(centre[..., :1]), []  # (B, K, 1)
        for k, features in enumerate(self.features(origins)):
            x = torch.cat([error.flatten(0, 1), features], -1)
            out, hidden = self.cell(x.unsqueeze(0), hidden)
            raws.append(self.raw(out, origins))  # (B, K, 1, P)
            expected = centre[..., k : k + 1]
            value = self.head.median(raws[-1], expected, frame)
            error = value.clamp(-_LIMIT, _LIMIT) - expected
        return self.head(torch.cat(raws, 2), centre, frame)


class AutoregressiveDecoder(SequentialDecoder):
    """Trajectories, each step drawn given those before it; trained by the likelihood of the true one.

    Draws invert the distribution of the head at levels drawn once, when the net is built, and kept with its weights:
    the same input gives the same forecast, alone or in any batch. At every step the levels are the midpoints of equal
    shares in an order of their own (Latin hypercube, McKay et al. 1979), which needs fewer paths.
    """

    levels: Tensor  # (H, S)
    head: Distribution

    def __init__(
        self, model: Model, head: Head, spec: InputSpec, n_state: int, n_step: int
    ) -> None:
        super().__init__(model, head, spec, n_state, n_step)
        generator = torch.Generator().manual_seed(0)
        order = torch.rand(spec.horizon, model.paths, generator=generator).argsort(-1)
        self.register_buffer("levels", (order + 0.5) / model.paths)

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        """As :meth:`Decoder.forward`; ``truth`` must be given: without it there is no one set of parameters."""
        assert truth is not None
        return self.shown(origins, truth)

    def quantiles(self, origins: Origins) -> Tensor:
        return _path_quantiles(self.paths(origins))

    def paths(self, origins: Origins) -> Tensor:
        """(B, K, H, S) trajectories in normalised units."""
        frame, n_paths = origins.frame, self.levels.shape[1]
        centre = frame.x @ self.skip.T  # (B, K, H)
        shape = (*centre.shape[:2], n_paths)
        state = origins.state.flatten(0, 1).repeat_interleave(n_paths, 0)  # (N S, units)
        hidden = self.cell.start(state)
        error, drawn = centre.new_zeros(shape), []  # (B, K, S)
        for k, features in enumerate(self.features(origins)):
            shared = features.repeat_interleave(n_paths, 0)  # (N S, n_step + 8)
            x = torch.cat([error.reshape(-1, 1), shared], -1)
            out, hidden = self.cell(x.unsqueeze(0), hidden)
            raw = self.out(out[0]).unflatten(0, shape)  # (B, K, S, P)
            expected = centre[..., k : k + 1]
            parameters = self.head(raw, expected, frame).float()
            drawn.append(self.head.icdf(parameters, self.levels[k]))
            error = drawn[-1].clamp(-_LIMIT, _LIMIT) - expected
        return torch.stack(drawn, 2)


def _path_quantiles(paths: Tensor) -> Tensor:
    """(..., S) -> (..., Q): level q lies at rank q S + 1/2 of the sorted paths (Hazen 1914), between two linearly."""
    n = paths.shape[-1]
    rank = (paths.new_tensor(QUANTILES) * n - 0.5).clamp(0, n - 1)
    ordered, low = paths.sort(-1).values, rank.floor().long()
    return torch.lerp(ordered[..., low], ordered[..., (low + 1).clamp_max(n - 1)], rank - low)


class SegmentDecoder(Decoder):
    """Parts of the horizon, side by side: each is one step of the cell from the same state.

    A part reads an embedding of its position and the projected inputs of its own steps. Nothing is fed back, so that
    errors do not add up. Source: SegRNN ("parallel multi-step forecasting"), Lin et al. 2023.
    """

    def __init__(
        self, model: Model, head: Head, spec: InputSpec, n_state: int, n_step: int
    ) -> None:
        super().__init__(head)
        self.length = -(-spec.horizon // min(model.pieces, spec.horizon))
        self.pieces = -(-spec.horizon // self.length)
        self.position = nn.Parameter(0.3 * torch.randn(self.pieces, _EMBEDDING))
        self.row = nn.Linear(n_step, _PER_STEP)
        self.cell = StepCell(model.decoder_cell, _EMBEDDING + self.length * _PER_STEP, n_state)
        self.dropout = nn.Dropout(model.dropout)
        self.out = nn.Linear(n_state, self.length * head.width)
        self.skip = linear_skip(model, spec)
        with torch.no_grad():
            self.out.weight.mul_(0.3)
            self.out.bias.copy_(head.bias(0.5).repeat(self.length))

    def forward(self, origins: Origins, truth: Tensor | None = None) -> Tensor:
        frame, (*shape, horizon) = origins.frame, origins.step.shape[:3]
        rows = pad(self.row(origins.step), (0, 0, 0, self.pieces * self.length - horizon))
        rows = rows.unflatten(2, (self.pieces, self.length)).flatten(3)  # (B, K, M, L 4)
        x = torch.cat([rows, self.position.expand(*shape, -1, -1)], -1)
        state = origins.state.flatten(0, 1).repeat_interleave(self.pieces, 0)  # (N M, units)
        hidden, _ = self.cell(x.flatten(0, 2).unsqueeze(0), self.cell.start(state))
        raw = self.out(self.dropout(hidden[0])).unflatten(-1, (self.length, -1))  # (N M, L, P)
        raw = raw.reshape(*shape, self.pieces * self.length, -1)[:, :, :horizon]
        return self.head(raw, frame.x @ self.skip.T, frame)
