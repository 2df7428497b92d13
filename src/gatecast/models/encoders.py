"""Recurrent encoders over a sequence of steps: cells stacked in any widths, dilated, bidirectional, residual.

Whatever the recipe, the state of a step knows that step and those before it, nothing later: the decoder forecasts from
the state of every origin. A backward direction would break that if it ran over the whole sequence, so it runs once for
each origin, from the origin back to the first step; origins are folded into the batch. The state of an origin is the
last of both: the forward one at the origin, the backward one at the first step, so that either has read everything.

Axes as in :mod:`gatecast.models.cells.base`; K origins, the last of the T steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, pad

from gatecast.models.cells import CELLS
from gatecast.models.cells.base import Layers, Options
from gatecast.models.config import Recurrent


class RecurrentEncoder(nn.Module):
    """A projection of each step's inputs (unless left out), then the recurrent layers of a recipe.

    Layers of one width without further ado are one module with torch's names for its weights; others a :class:`Stack`.

    Args:
        model: the recipe.
        n_inputs: features of a step.
    """

    def __init__(self, model: Recurrent, n_inputs: int) -> None:
        super().__init__()
        sizes = model.layer_sizes
        first = nn.Sequential(nn.Linear(n_inputs, sizes[0]), nn.ReLU(), nn.Dropout(model.dropout))
        self.project = first if model.input_projection else nn.Identity()
        n_inputs = sizes[0] if model.input_projection else n_inputs
        self.bidirectional = model.bidirectional
        plain = not (model.bidirectional or model.residual or model.dilations)
        self.recurrent = (
            CELLS[model.cell](n_inputs, sizes[0], len(sizes), model.dropout, options(model))
            if plain and len(set(sizes)) == 1
            else Stack(model, n_inputs)
        )

    def forward(self, x: Tensor, origins: int | None = None) -> Tensor:
        """The states of a sequence.

        Args:
            x: (B, T, n_inputs).
            origins: K, the last steps whose states are wanted; None: every step.

        Returns:
            (B, K, n), n the recipe's ``state_size``; the second half is the backward direction.
        """
        steps = self.project(x).transpose(0, 1).contiguous()  # (T, B, n_inputs)
        n, k = len(steps), origins or len(steps)
        if not self.bidirectional:
            out: Tensor = self.recurrent(steps)[n - k :].transpose(0, 1)
            return out
        last = torch.arange(n - k, n, device=x.device).repeat_interleave(len(x))  # (K B,)
        ahead, back = self.recurrent(steps, last).chunk(2, -1)  # (T, K B, n) each
        ahead = ahead[last, torch.arange(len(last), device=x.device)]  # (K B, n)
        return torch.cat([ahead, back[0]], -1).unflatten(0, (k, -1)).transpose(0, 1)

    @torch.no_grad()
    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """What the last layer does with a sequence (of two directions, the forward one).

        Args:
            x: (B, T, n_inputs).

        Returns:
            (B, T, n) each, by the names of :meth:`gatecast.models.cells.base.Layers.activations`.
        """
        stack = self.recurrent
        layer = stack.ahead[-1] if isinstance(stack, Stack) else stack
        assert isinstance(layer, Layers)
        read: list[Tensor] = []
        with layer.register_forward_pre_hook(lambda _, given: read.append(given[0])):
            self(x, 1)
        batch, steps = x.shape[:2]
        found = layer.activations(read[0])  # (T / d, d B, n) each, where the layer is dilated
        return {
            name: out.reshape(-1, batch, out.shape[-1])[:steps].transpose(0, 1)
            for name, out in found.items()
        }


class Stack(nn.Module):
    """Layers of any widths, each over the whole sequence of the one before.

    A layer of dilation d hands its state from step t - d to step t (Chang et al. 2017). A residual layer adds its
    inputs to its states, through a linear map where widths differ (He et al. 2016). A bidirectional layer returns the
    states of both directions side by side (Schuster & Paliwal 1997).

    Args:
        model: the recipe.
        n_inputs: features of a step.
    """

    def __init__(self, model: Recurrent, n_inputs: int) -> None:
        super().__init__()
        cell, directions = CELLS[model.cell], 2 if model.bidirectional else 1
        out = [directions * size for size in model.layer_sizes]
        into = [n_inputs, *out[:-1]]

        def layers() -> nn.ModuleList:
            sizes = zip(into, model.layer_sizes, strict=True)
            return nn.ModuleList(cell(n, size, options=options(model)) for n, size in sizes)

        self.dropout = model.dropout
        self.dilations = model.dilations or [1] * len(out)
        self.ahead = layers()
        self.back = layers() if model.bidirectional else nn.ModuleList()
        self.shortcuts = nn.ModuleList()
        if model.residual:
            self.shortcuts.extend(
                nn.Identity() if a == b else nn.Linear(a, b, bias=False)
                for a, b in zip(into, out, strict=True)
            )

    def forward(self, x: Tensor, last: Tensor | None = None) -> Tensor:
        """The states of the last layer.

        Args:
            x: (T, B, n_inputs).
            last: (K B,) int64, where a backward direction begins in each of the sequences, K times over; None: once, at
                the last step.

        Returns:
            (T, B, n), or (T, K B, 2 n) in both directions (nothing of use after ``last``).
        """
        if last is None:
            last = torch.full(x.shape[1:2], len(x) - 1, device=x.device)
        for k, (layer, dilation) in enumerate(zip(self.ahead, self.dilations, strict=True)):
            if k:
                x = dropout(x, self.dropout, self.training)
            states = dilated(layer, x, dilation)
            if self.back:
                # the first layer looks ahead once for all origins, those above it once for each
                copies = len(last) // x.shape[1]
                states, x = states.repeat(1, copies, 1), x.repeat(1, copies, 1)  # (T, K B, n)
                behind = dilated(self.back[k], backwards(x, last), dilation)
                states = torch.cat([states, backwards(behind, last)], -1)
            x = states + self.shortcuts[k](x) if self.shortcuts else states
        return x


def options(model: Recurrent) -> Options:
    """What a recipe says of its cells."""
    return Options(
        model.activation,
        model.recurrent_activation,
        model.input_dropout,
        model.recurrent_dropout,
        model.layer_norm,
    )


def dilated(layer: nn.Module, x: Tensor, dilation: int) -> Tensor:
    """Run a layer over every ``dilation``-th step, the phases side by side in the batch.

    Args:
        x: (T, B, n_inputs).

    Returns:
        (T, B, n).
    """
    if dilation == 1:
        return layer(x)
    steps, batch = x.shape[:2]
    x = pad(x, (0, 0, 0, 0, 0, -steps % dilation))  # whole rounds; what is added comes last
    states: Tensor = layer(x.reshape(-1, dilation * batch, x.shape[-1]))  # (T / d, d B, n)
    return states.reshape(-1, batch, states.shape[-1])[:steps]


def backwards(x: Tensor, last: Tensor) -> Tensor:
    """Turn each sequence round from its last step on; what lies after that is replaced by the first step.

    Args:
        x: (T, B, n).
        last: (B,) int64.

    Returns:
        (T, B, n), of which ``last + 1`` steps are of use. Turning twice restores those.
    """
    steps = torch.arange(len(x), device=x.device).unsqueeze(-1)
    return x[(last - steps).clamp_min(0), torch.arange(x.shape[1], device=x.device)]
