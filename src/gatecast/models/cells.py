"""Recurrent cells by their equations, and torch's own kernels wherever they compute the same.

With ``a`` the activation, ``s`` the recurrent activation, ``x`` what the inputs and ``p`` what the last state adds to
a gate (``x = W_ih x_t + b_ih``, ``p = W_hh h_{t-1} + b_hh``, of which each gate has its rows):

    rnn     h = a(x + p)                                                                   Elman 1990
    lstm    c = s(x_f + p_f) c_{t-1} + s(x_i + p_i) a(x_g + p_g);  h = s(x_o + p_o) a(c)   Gers et al. 2000
    gru     r = s(x_r + p_r);  z = s(x_z + p_z);  h = z h_{t-1} + (1 - z) a(x_n + r p_n)   Cho et al. 2014

The GRU resets after the product with the state, as torch, cuDNN and Keras (``reset_after=True``) do. Rows stand in
torch's order: i f g o, and r z n. Weights carry torch's names, so that those of ``nn.RNN``, ``nn.LSTM`` and
``nn.GRU`` load here and the other way round.

Axes: T steps, B sequences, n units, G gates of a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]

ACTIVATIONS: dict[str, Activation] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": F.hardsigmoid,  # relu6(x + 3) / 6, as Keras 3 has it
    "relu": F.relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "linear": lambda x: x,
}


@dataclass(frozen=True)
class Options:
    """What a cell may do otherwise.

    Attributes:
        activation: of the candidate, and of an LSTM's output.
        recurrent_activation: of the gates.
        input_dropout: of what a layer reads; one mask a sequence, the same at every step.
        recurrent_dropout: of the state that the gates read; one mask a sequence (Gal & Ghahramani 2016).
        layer_norm: of both products before their biases, and of an LSTM's cell state (Ba et al. 2016).
    """

    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    layer_norm: bool = False


class Layers(nn.RNNBase):
    """Layers of one width, each over the whole sequence of the one before.

    Args:
        n_inputs: features of a step.
        units: n.
        layers: how many.
        dropout: between layers, a mask a step as in torch.
        options: of every cell.
    """

    gates: ClassVar[int]
    states: ClassVar[int] = 1  # tensors that a cell hands to its next step
    native: ClassVar[tuple[str, ...]] = ("tanh",)  # activations of torch's kernels

    def __init__(
        self,
        n_inputs: int,
        units: int,
        layers: int = 1,
        dropout: float = 0.0,
        options: Options | None = None,
        **kernel: str,
    ) -> None:
        between = dropout if layers > 1 else 0.0
        super().__init__(n_inputs, units, layers, dropout=between, **kernel)  # type: ignore[arg-type]
        self.options = options = options or Options()
        self.activation = ACTIVATIONS[options.activation]
        self.gate = ACTIVATIONS[options.recurrent_activation]

        def norms(width: int) -> nn.ModuleList:
            norm = options.layer_norm
            return nn.ModuleList(
                nn.LayerNorm(width, bias=False) if norm else nn.Identity() for _ in range(layers)
            )

        self.norm_ih, self.norm_hh = norms(self.gates * units), norms(self.gates * units)
        self.norm_cell = norms(units) if self.states > 1 else nn.ModuleList()

    @property
    def fast(self) -> bool:
        """Whether torch's kernels compute these options (where masks are idle, as in evaluation, they do)."""
        o = self.options
        same = o.activation in self.native and o.recurrent_activation == "sigmoid"
        masked = o.recurrent_dropout > 0 or (o.input_dropout > 0 and self.num_layers > 1)
        return same and not o.layer_norm and not (self.training and masked)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(T, B, n_inputs) -> (T, B, n), the last layer's state after each step; the first follows zeros."""
        if self.fast:
            states: Tensor = super().forward(self._masked(x))[0]  # type: ignore[misc]
            return states
        for layer in range(self.num_layers):
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            x = self._unroll(self._masked(x), layer)
        return x

    def _masked(self, x: Tensor) -> Tensor:
        p = self.options.input_dropout
        if not (p and self.training):
            return x
        return x * F.dropout(torch.ones_like(x[0]), p)

    def _unroll(self, x: Tensor, layer: int) -> Tensor:
        """(T, B, n_inputs) -> (T, B, n), one layer step by step."""
        state: State = (x.new_zeros(x.shape[1], self.hidden_size),) * self.states
        keep = F.dropout(torch.ones_like(state[0]), self.options.recurrent_dropout, self.training)
        out = []
        for row in self._given(x, layer):
            state = self.step(row, self._pulled(state[0] * keep, layer), state, layer)
            out.append(state[0])
        return torch.stack(out)

    def _given(self, x: Tensor, layer: int) -> Tensor:
        """(..., n_inputs) -> (..., G n), what the inputs add to the gates."""
        weight, bias = (getattr(self, f"{name}_ih_l{layer}") for name in ("weight", "bias"))
        out: Tensor = self.norm_ih[layer](F.linear(x, weight)) + bias
        return out

    def _pulled(self, h: Tensor, layer: int) -> Tensor:
        """(..., n) -> (..., G n), what the last state adds to the gates."""
        weight, bias = (getattr(self, f"{name}_hh_l{layer}") for name in ("weight", "bias"))
        out: Tensor = self.norm_hh[layer](F.linear(h, weight)) + bias
        return out

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """What the last layer does with a sequence, in evaluation mode (without masks).

        Args:
            x: (T, B, n_inputs).

        Returns:
            (T, B, n) each: the gates of the cell by name (:meth:`opened`), and the ``state`` after each step.
        """
        for layer in range(self.num_layers):
            given, x = self._given(x, layer), self._unroll(x, layer)
        before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
        return {**self.opened(given, self._pulled(before, self.num_layers - 1)), "state": x}

    def opened(self, given: Tensor, pulled: Tensor) -> dict[str, Tensor]:
        """How far each gate of a cell is open, (..., n) from 0 to 1; a cell without gates has none.

        Args:
            given, pulled: as in :meth:`step`.
        """
        return {}

    def step(self, given: Tensor, pulled: Tensor, state: State, layer: int) -> State:
        """The equation of a cell.

        Args:
            given: (B, G n) what the inputs add to the gates.
            pulled: (B, G n) what the last state adds to them.
            state: (B, n) h, and an LSTM's c, before the step.
            layer: whose cell it is.

        Returns:
            The same after the step.
        """
        raise NotImplementedError


class RNN(Layers, nn.RNN):  # type: ignore[misc]
    """Elman's cell; see the module's docstring."""

    gates = 1
    native = ("tanh", "relu")

    def __init__(
        self,
        n_inputs: int,
        units: int,
        layers: int = 1,
        dropout: float = 0.0,
        options: Options | None = None,
    ) -> None:
        relu = options is not None and options.activation == "relu"
        kernel = "relu" if relu else "tanh"
        super().__init__(n_inputs, units, layers, dropout, options, nonlinearity=kernel)

    def step(self, given: Tensor, pulled: Tensor, state: State, layer: int) -> State:
        return (self.activation(given + pulled),)


class LSTM(Layers, nn.LSTM):  # type: ignore[misc]
    """Long short-term memory with forget gates; see the module's docstring."""

    gates = 4
    states = 2

    def opened(self, given: Tensor, pulled: Tensor) -> dict[str, Tensor]:
        i, f, _, o = (given + pulled).chunk(4, -1)
        return {"forget": self.gate(f), "input": self.gate(i), "output": self.gate(o)}

    def step(self, given: Tensor, pulled: Tensor, state: State, layer: int) -> State:
        gates = self.opened(given, pulled)
        new = self.activation(given.chunk(4, -1)[2] + pulled.chunk(4, -1)[2])
        cell = gates["forget"] * state[1] + gates["input"] * new
        return gates["output"] * self.activation(self.norm_cell[layer](cell)), cell


class GRU(Layers, nn.GRU):  # type: ignore[misc]
    """Gated recurrent unit, reset after the product; see the module's docstring."""

    gates = 3

    def opened(self, given: Tensor, pulled: Tensor) -> dict[str, Tensor]:
        split = given.shape[-1] // 3 * 2
        r, z = self.gate(given[..., :split] + pulled[..., :split]).chunk(2, -1)
        return {"reset": r, "update": z}

    def step(self, given: Tensor, pulled: Tensor, state: State, layer: int) -> State:
        r, z = self.opened(given, pulled).values()
        new = self.activation(given.chunk(3, -1)[2] + r * pulled.chunk(3, -1)[2])
        return (z * state[0] + (1 - z) * new,)


CELLS: dict[str, type[RNN | LSTM | GRU]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
