"""Elman's cell: one activation, no gates. Source: Elman 1990."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gatecast.models.cells.base import Cell, FusedLayers, Options, State


class RNNCell(Cell):
    """h = a(x + p)."""

    n_gates = 1
    n_state_gates = 1
    without = ("recurrent_activation",)

    def step(self, from_inputs: Tensor, from_state: Tensor, state: State, norm: nn.Module) -> State:
        return (self.activation(from_inputs + from_state),)


class RNN(FusedLayers, nn.RNN):  # type: ignore[misc]
    """Layers of Elman's cell."""

    cell_type = RNNCell
    native = ("tanh", "relu")

    def __init__(
        self,
        n_inputs: int,
        hidden_size: int,
        n_layers: int = 1,
        dropout: float = 0.0,
        options: Options | None = None,
    ) -> None:
        relu = options is not None and options.activation == "relu"
        kernel = "relu" if relu else "tanh"
        super().__init__(n_inputs, hidden_size, n_layers, dropout, options, nonlinearity=kernel)

    def _kernel(self, *args: Any) -> Any:
        return nn.RNN.forward(self, *args)
