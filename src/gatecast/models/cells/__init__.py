"""Recurrent cells, each by its equations: a file per cell, and one way to run them all (:mod:`.base`).

    rnn     h = a(x + p)                                                                   Elman 1990
    lstm    c = s(x_f + p_f) c' + s(x_i + p_i) a(x_g + p_g);  h = s(x_o + p_o) a(c)        Gers et al. 2000
    gru     r = s(x_r + p_r);  z = s(x_z + p_z);  h = z h' + (1 - z) a(x_n + r p_n)        Cho et al. 2014
    mingru  z = s(x_z);  h = (1 - z) h' + z x_h                                            Feng et al. 2024
    slstm   an LSTM with an exponential input gate, a normaliser and a stabiliser          Beck et al. 2024

with ``a`` the activation, ``s`` the recurrent activation, ``h'`` and ``c'`` the state before, ``x`` what the inputs and
``p`` what the state before adds to a gate (``x = W_ih x_t + b_ih``, ``p = W_hh h' + b_hh``, of which each gate has its
rows).

To add one: a file with its :class:`~gatecast.models.cells.base.Cell`, and a line in the table below.
"""

from __future__ import annotations

from gatecast.models.cells.base import Layers
from gatecast.models.cells.gru import GRU
from gatecast.models.cells.lstm import LSTM
from gatecast.models.cells.mingru import MinGRU
from gatecast.models.cells.rnn import RNN
from gatecast.models.cells.slstm import SLSTM

CELLS: dict[str, type[Layers]] = {
    "rnn": RNN,
    "lstm": LSTM,
    "gru": GRU,
    "mingru": MinGRU,
    "slstm": SLSTM,
}
