"""What a cell is, and one way to run any of them: step by step, with dropout, norms and activations.

    class Mine(Cell):
        n_gates = 1

        def step(self, from_inputs, from_state, state, norm):
            return (self.activation(from_inputs + from_state),)

    class MineLayers(PlainLayers):
        cell_type = Mine

Weights carry torch's names (``weight_ih_l0`` …), so that those of ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` load here and
the other way round. Torch's fused kernels run those three wherever they compute the same.

Axes: T steps, B sequences, n hidden size, G gates that the inputs add to, P those that the state adds to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]

ACTIVATIONS: dict[str, Activation] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    # relu6(x + 3) / 6, as Keras 3 has it
    "hard_sigmoid": F.hardsigmoid,
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
        input_dropout: of what a layer reads; one mask per sequence, the same at every step.
        recurrent_dropout: of the state that the gates read; one mask per sequence (Gal & Ghahramani 2016).
        layer_norm: of both products before their biases, and of an LSTM's cell state (Ba et al. 2016).
    """

    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    layer_norm: bool = False


class Cell:
    """The equations of a cell; it has no weights of its own.

    Attributes:
        n_gates: G, blocks of rows of the weights on the inputs.
        n_state_gates: P, blocks of rows of the weights on the state; 0: the state is read by the equations alone.
        n_states: tensors that a step hands to the next; the first is what the layer returns.
        n_started: how many of them, from the first on, a decoder starts from the encoder's state.
        normalises_cell: whether ``layer_norm`` norms the cell state, too.
        without: options that its equations have no use for.
    """

    n_gates: ClassVar[int]
    n_state_gates: ClassVar[int]
    n_states: ClassVar[int] = 1
    n_started: ClassVar[int] = 1
    normalises_cell: ClassVar[bool] = False
    without: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: Options) -> None:
        self.activation = ACTIVATIONS[options.activation]
        self.gate = ACTIVATIONS[options.recurrent_activation]

    def zeros(self, like: Tensor) -> State:
        """The state before the first step, each tensor as ``like``, (B, n)."""
        return (torch.zeros_like(like),) * self.n_states

    def start(self, *first: Tensor) -> State:
        """The state of which the first ``n_started`` tensors, (B, n) each, are given."""
        return first

    def gates(self, from_inputs: Tensor, from_state: Tensor) -> dict[str, Tensor]:
        """How far each gate is open, (..., n) from 0 to 1; a cell without gates has none.

        Args:
            from_inputs, from_state: as in :meth:`step`.
        """
        return {}

    def step(self, from_inputs: Tensor, from_state: Tensor, state: State, norm: nn.Module) -> State:
        """One step.

        Args:
            from_inputs: (B, G n) what the inputs add to the gates.
            from_state: (B, P n) what the state adds to them.
            state: (B, n) each, before the step.
            norm: of the cell state.

        Returns:
            The state after the step.
        """
        raise NotImplementedError


class Layers(nn.Module):
    """Layers of one width, each over the whole sequence of the one before; subclasses hold the weights."""

    cell_type: ClassVar[type[Cell]]
    hidden_size: int
    num_layers: int
    dropout: float

    def _set_up(self, options: Options | None) -> None:
        """Take the options; weights are there already."""
        self.options = options = options or Options()
        self.cell = self.cell_type(options)

        def norms(width: int) -> nn.ModuleList:
            norm = options.layer_norm and width > 0
            return nn.ModuleList(
                nn.LayerNorm(width, bias=False) if norm else nn.Identity()
                for _ in range(self.num_layers)
            )

        n = self.hidden_size
        self.norm_ih = norms(self.cell.n_gates * n)
        self.norm_hh = norms(self.cell.n_state_gates * n)
        self.norm_cell = norms(n if self.cell.normalises_cell else 0)

    @property
    def fused(self) -> bool:
        """Whether a kernel of torch computes these layers now."""
        return False

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, n_inputs) -> (T, B, n), the last layer's state after each step; the first follows zeros."""
        for layer in range(self.num_layers):
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            x, _ = self._unroll(self._masked(x), layer)
        return x

    def proceed(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the only layer on from a state.

        Args:
            x: (T, B, n_inputs).
            state: (B, n) each.

        Returns:
            (T, B, n), and the state after the last step.
        """
        return self._unroll(self._masked(x), 0, state)

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """What the last layer does with a sequence, in evaluation mode (without masks).

        Args:
            x: (T, B, n_inputs).

        Returns:
            (T, B, n) each: the gates of the cell by name, and the ``state`` after each step.
        """
        last = self.num_layers - 1
        for layer in range(last):
            x, _ = self._unroll(x, layer)
        states, _ = self._unroll(x, last)
        before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
        gates = self.cell.gates(self._from_inputs(x, last), self._from_state(before, last))
        return {**gates, "state": states}

    def _masked(self, x: Tensor) -> Tensor:
        p = self.options.input_dropout
        if not (p and self.training):
            return x
        return x * F.dropout(torch.ones_like(x[0]), p)

    def _unroll(self, x: Tensor, layer: int, state: State | None = None) -> tuple[Tensor, State]:
        """(T, B, n_inputs) -> (T, B, n) and the last state: one layer step by step."""
        if state is None:
            state = self.cell.zeros(x.new_zeros(x.shape[1], self.hidden_size))
        keep = F.dropout(torch.ones_like(state[0]), self.options.recurrent_dropout, self.training)
        norm = self.norm_cell[layer]
        out = []
        for from_inputs in self._from_inputs(x, layer):
            from_state = self._from_state(state[0] * keep, layer)
            state = self.cell.step(from_inputs, from_state, state, norm)
            out.append(state[0])
        return torch.stack(out), state

    def _from_inputs(self, x: Tensor, layer: int) -> Tensor:
        """(..., n_inputs) -> (..., G n), what the inputs add to the gates."""
        weight = getattr(self, f"weight_ih_l{layer}")
        out: Tensor = self.norm_ih[layer](F.linear(x, weight)) + getattr(self, f"bias_ih_l{layer}")
        return out

    def _from_state(self, h: Tensor, layer: int) -> Tensor:
        """(..., n) -> (..., P n), what the state adds to the gates."""
        if not self.cell.n_state_gates:
            return h[..., :0]
        weight = getattr(self, f"weight_hh_l{layer}")
        out: Tensor = self.norm_hh[layer](F.linear(h, weight)) + getattr(self, f"bias_hh_l{layer}")
        return out


class PlainLayers(Layers):
    """Layers of any cell, step by step.

    Args:
        n_inputs: features of a step.
        hidden_size: n.
        n_layers: how many.
        dropout: between layers, a mask per step as in torch.
        options: of every cell.
    """

    def __init__(
        self,
        n_inputs: int,
        hidden_size: int,
        n_layers: int = 1,
        dropout: float = 0.0,
        options: Options | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = n_layers
        self.dropout = dropout
        bound = hidden_size**-0.5  # of torch's own cells

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))

        for layer in range(n_layers):
            read = hidden_size if layer else n_inputs
            for name, width, rows in (
                ("ih", read, self.cell_type.n_gates * hidden_size),
                ("hh", hidden_size, self.cell_type.n_state_gates * hidden_size),
            ):
                if rows:
                    self.register_parameter(f"weight_{name}_l{layer}", weight(rows, width))
                    self.register_parameter(f"bias_{name}_l{layer}", weight(rows))
        self._set_up(options)


class FusedLayers(Layers, nn.RNNBase):
    """Layers of a cell that torch has kernels for, which run wherever they compute the same.

    Args:
        as in :class:`PlainLayers`; ``kernel``: keywords of torch's class.
    """

    # activations of torch's kernels
    native: ClassVar[tuple[str, ...]] = ("tanh",)

    def __init__(
        self,
        n_inputs: int,
        hidden_size: int,
        n_layers: int = 1,
        dropout: float = 0.0,
        options: Options | None = None,
        **kernel: Any,
    ) -> None:
        between = dropout if n_layers > 1 else 0.0
        super().__init__(n_inputs, hidden_size, n_layers, dropout=between, **kernel)  # type: ignore[arg-type]
        self._set_up(options)

    @property
    def fused(self) -> bool:
        """Whether torch's kernels compute these options (where masks are idle, as in evaluation, they do)."""
        o = self.options
        same = o.activation in self.native and o.recurrent_activation == "sigmoid"
        masked = o.recurrent_dropout > 0 or (o.input_dropout > 0 and self.num_layers > 1)
        return same and not o.layer_norm and not (self.training and masked)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        if not self.fused:
            return super().forward(x)
        states: Tensor = self._kernel(self._masked(x))[0]
        return states

    def proceed(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not self.fused:
            return super().proceed(x, state)
        first = [part.unsqueeze(0).contiguous() for part in state]  # (1, B, n) each
        out, last = self._kernel(self._masked(x), first[0] if len(first) == 1 else tuple(first))
        after = (last,) if isinstance(last, Tensor) else last
        return out, tuple(part[0] for part in after)

    def _kernel(self, *args: Any) -> Any:
        """Torch's own forward."""
        raise NotImplementedError
