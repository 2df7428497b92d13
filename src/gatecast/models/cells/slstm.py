"""The sLSTM: an LSTM with an exponential input gate, a normaliser and a stabiliser.

Source: Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", equations 8 to 17, with a sigmoid forget gate
and one head: the state's weights are a full matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from gatecast.models.cells.base import Cell, PlainLayers, State


class SLSTMCell(Cell):
    """c = f c' + i z;  n = f n' + i;  h = o c / n, with i = exp(x_i + p_i). Rows: i f z o.

    States: h, c, n, and the stabiliser m: c and n are kept divided by exp(m), so that no exponential overflows.
    """

    n_gates = 4
    n_state_gates = 4
    n_states = 4
    n_started = 2
    without = ("recurrent_activation",)

    def zeros(self, like: Tensor) -> State:
        zero = torch.zeros_like(like)
        # nothing has been seen: the first step's normaliser is its own input gate
        return zero, zero, zero, torch.full_like(like, -torch.inf)

    def start(self, *first: Tensor) -> State:
        hidden, cell = first
        # as after one step with an input gate of 1
        return hidden, cell, torch.ones_like(cell), torch.zeros_like(cell)

    def gates(self, from_inputs: Tensor, from_state: Tensor) -> dict[str, Tensor]:
        _, f, _, o = (from_inputs + from_state).chunk(4, -1)
        return {"forget": torch.sigmoid(f), "output": torch.sigmoid(o)}

    def step(self, from_inputs: Tensor, from_state: Tensor, state: State, norm: nn.Module) -> State:
        i, f, z, o = (from_inputs + from_state).chunk(4, -1)  # (B, n) each
        _, cell, normaliser, m = state
        kept = logsigmoid(f) + m
        # the state does not depend on m: its gradient is 0
        m = torch.maximum(kept, i).detach()
        forget = torch.exp(kept - m)
        enter = torch.exp(i - m)
        cell = forget * cell + enter * self.activation(z)
        normaliser = forget * normaliser + enter
        return torch.sigmoid(o) * cell / normaliser, cell, normaliser, m


class SLSTM(PlainLayers):
    """Layers of sLSTM cells."""

    cell_type = SLSTMCell
