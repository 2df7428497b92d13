"""The minimal gated recurrent unit: gate and candidate read the inputs alone.

Source: Feng et al. 2024, "Were RNNs All We Needed?", section 3.1.
"""

from __future__ import annotations

from torch import Tensor, nn

from gatecast.models.cells.base import Cell, PlainLayers, State


class MinGRUCell(Cell):
    """z = s(x_z);  h = (1 - z) h' + z x_h. Rows: z h."""

    n_gates = 2
    n_state_gates = 0
    without = ("activation", "recurrent_dropout")

    def gates(self, from_inputs: Tensor, from_state: Tensor) -> dict[str, Tensor]:
        # as of the other cells: 1 keeps the state
        return {"update": 1 - self.gate(from_inputs.chunk(2, -1)[0])}

    def step(self, from_inputs: Tensor, from_state: Tensor, state: State, norm: nn.Module) -> State:
        z, new = from_inputs.chunk(2, -1)
        z = self.gate(z)
        return ((1 - z) * state[0] + z * new,)


class MinGRU(PlainLayers):
    """Layers of minimal gated recurrent units."""

    cell_type = MinGRUCell
