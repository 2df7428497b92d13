"""Long short-term memory with forget gates. Source: Gers et al. 2000."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gatecast.models.cells.base import Cell, FusedLayers, State


class LSTMCell(Cell):
    """c = s(x_f + p_f) c' + s(x_i + p_i) a(x_g + p_g);  h = s(x_o + p_o) a(c). Rows in torch's order: i f g o."""

    n_gates = 4
    n_state_gates = 4
    n_states = 2
    n_started = 2
    normalises_cell = True

    def gates(self, from_inputs: Tensor, from_state: Tensor) -> dict[str, Tensor]:
        i, f, _, o = (from_inputs + from_state).chunk(4, -1)
        return {"forget": self.gate(f), "input": self.gate(i), "output": self.gate(o)}

    def step(self, from_inputs: Tensor, from_state: Tensor, state: State, norm: nn.Module) -> State:
        gates = self.gates(from_inputs, from_state)
        new = self.activation(from_inputs.chunk(4, -1)[2] + from_state.chunk(4, -1)[2])
        cell = gates["forget"] * state[1] + gates["input"] * new
        return gates["output"] * self.activation(norm(cell)), cell


class LSTM(FusedLayers, nn.LSTM):  # type: ignore[misc]
    """Layers of long short-term memory."""

    cell_type = LSTMCell

    def _kernel(self, *args: Any) -> Any:
        return nn.LSTM.forward(self, *args)
