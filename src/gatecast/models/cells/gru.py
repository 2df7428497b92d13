"""The gated recurrent unit. Source: Cho et al. 2014.

It resets after the product with the state, as torch, cuDNN and Keras (``reset_after=True``) do.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gatecast.models.cells.base import Cell, FusedLayers, State


class GRUCell(Cell):
    """r = s(x_r + p_r);  z = s(x_z + p_z);  h = z h' + (1 - z) a(x_n + r p_n). Rows in torch's order: r z n."""

    n_gates = 3
    n_state_gates = 3

    def gates(self, from_inputs: Tensor, from_state: Tensor) -> dict[str, Tensor]:
        split = from_inputs.shape[-1] // 3 * 2
        r, z = self.gate(from_inputs[..., :split] + from_state[..., :split]).chunk(2, -1)
        return {"reset": r, "update": z}

    def step(self, from_inputs: Tensor, from_state: Tensor, state: State, norm: nn.Module) -> State:
        r, z = self.gates(from_inputs, from_state).values()
        new = self.activation(from_inputs.chunk(3, -1)[2] + r * from_state.chunk(3, -1)[2])
        return (z * state[0] + (1 - z) * new,)


class GRU(FusedLayers, nn.GRU):  # type: ignore[misc]
    """Layers of gated recurrent units."""

    cell_type = GRUCell

    def _kernel(self, *args: Any) -> Any:
        return nn.GRU.forward(self, *args)
