"""Recurrent encoders over a sequence of steps."""

from __future__ import annotations

from torch import Tensor, nn

CELLS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentEncoder(nn.Module):
    """A projection of each step's inputs, then a stack of recurrent layers.

    Args:
        cell: ``rnn``, ``lstm`` or ``gru``.
        n_inputs: features of a step.
        units: width of the state.
        layers: recurrent layers.
        dropout: on the projected inputs, and between layers.
    """

    def __init__(self, cell: str, n_inputs: int, units: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(n_inputs, units), nn.ReLU(), nn.Dropout(dropout))
        self.recurrent = CELLS[cell](units, units, layers, dropout=dropout if layers > 1 else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, n_inputs) -> (B, T, units), the state after each step."""
        states, _ = self.recurrent(self.project(x).transpose(0, 1).contiguous())  # (T, B, units)
        out: Tensor = states.transpose(0, 1)
        return out
