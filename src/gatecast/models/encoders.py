"""Recurrent encoders over a sequence of steps."""

from __future__ import annotations

from torch import Tensor, nn

CELLS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentEncoder(nn.Module):
    """A projection of each step's inputs (unless left out), then a stack of recurrent layers.

    Args:
        cell: ``rnn``, ``lstm`` or ``gru``.
        n_inputs: features of a step.
        units: width of the state.
        layers: recurrent layers.
        dropout: on the projected inputs, and between layers.
        project: whether there is a projection.
    """

    def __init__(
        self,
        cell: str,
        n_inputs: int,
        units: int,
        layers: int,
        dropout: float,
        project: bool = True,
    ) -> None:
        super().__init__()
        first = nn.Sequential(nn.Linear(n_inputs, units), nn.ReLU(), nn.Dropout(dropout))
        self.project = first if project else nn.Identity()
        between = dropout if layers > 1 else 0.0
        self.recurrent = CELLS[cell](units if project else n_inputs, units, layers, dropout=between)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, n_inputs) -> (B, T, units), the state after each step."""
        states, _ = self.recurrent(self.project(x).transpose(0, 1).contiguous())  # (T, B, units)
        out: Tensor = states.transpose(0, 1)
        return out
