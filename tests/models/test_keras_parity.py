"""Layers beside Keras 3 with Keras' own weights: states of SimpleRNN, LSTM and GRU, stacked and in both directions.

Keras keeps (inputs, G n) matrices with gates i f c o and z r h, one bias (two for its GRU, ``reset_after=True``); here
they are (G n, inputs) with i f g o and r z n, and two biases.
"""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"  # read when keras is imported

from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gatecast.models.config import Recurrent
from gatecast.models.encoders import RecurrentEncoder, Stack
from tests.recipes import model_of

LAYERS = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
B, T, N_INPUTS = 4, 9, 3
ACTIVATIONS = [
    {},
    {"activation": "relu"},
    {"activation": "linear"},
    {"activation": "softsign"},
    {"recurrent_activation": "hard_sigmoid"},
    {"activation": "elu", "recurrent_activation": "relu"},
    {"activation": "silu", "recurrent_activation": "softsign"},
    {"activation": "gelu", "recurrent_activation": "tanh"},
    {"activation": "selu"},
    {"activation": "softplus", "recurrent_activation": "linear"},
]


@pytest.fixture(autouse=True)
def on_the_cpu() -> Any:
    """Keras would put its layers on a GPU where there is one."""
    with keras.device("cpu"):
        yield


def theirs(recipe: Recurrent, whole: bool) -> keras.Model:
    """The recipe as Keras would have it, with random weights, biases included."""
    keras.utils.set_random_seed(7)
    net = keras.Sequential([keras.Input((None, N_INPUTS))])
    gates = {} if recipe.cell == "rnn" else {"recurrent_activation": recipe.recurrent_activation}
    last = len(recipe.layer_sizes) - 1
    for k, units in enumerate(recipe.layer_sizes):
        layer = LAYERS[recipe.cell](
            units, activation=recipe.activation, return_sequences=whole or k < last, **gates
        )
        net.add(keras.layers.Bidirectional(layer) if recipe.bidirectional else layer)
    r = np.random.default_rng(3)
    net.set_weights([0.4 * r.standard_normal(w.shape) for w in net.get_weights()])
    return net


def ours(recipe: Recurrent, weights: list[np.ndarray]) -> RecurrentEncoder:
    net = RecurrentEncoder(recipe, N_INPUTS).eval()
    given = iter(weights)
    names: list[tuple[nn.Module, int]]
    if isinstance(net.recurrent, Stack):
        n = len(recipe.layer_sizes)
        directions = [net.recurrent.ahead, net.recurrent.back][: 1 + recipe.bidirectional]
        names = [(of[k], 0) for k in range(n) for of in directions]
    else:
        names = [(net.recurrent, k) for k in range(len(recipe.layer_sizes))]
    with torch.no_grad():
        for layer, k in names:
            kernel, recurrent, bias = (rows(recipe.cell, next(given)) for _ in range(3))
            getattr(layer, f"weight_ih_l{k}").copy_(kernel)
            getattr(layer, f"weight_hh_l{k}").copy_(recurrent)
            two = recipe.cell == "gru"
            getattr(layer, f"bias_ih_l{k}").copy_(bias[:, 0] if two else bias)
            getattr(layer, f"bias_hh_l{k}").copy_(bias[:, 1] if two else 0 * bias)
    assert next(given, None) is None
    return net


def rows(cell: str, weight: np.ndarray) -> Tensor:
    """(m, G n) or (G n,) of Keras as (G n, m) or (G n,) in torch's order of gates."""
    value = torch.tensor(weight).movedim(-1, 0)
    if cell == "gru":
        z, r, h = value.chunk(3)
        return torch.cat([r, z, h])
    return value


def compare(recipe: Recurrent) -> None:
    x = np.random.default_rng(5).standard_normal((B, T, N_INPUTS)).astype(np.float32)
    for whole in (False,) if recipe.bidirectional else (True, False):
        reference = theirs(recipe, whole)
        expected = keras.ops.convert_to_numpy(reference(x))
        net = ours(recipe, reference.get_weights())
        got = net(torch.tensor(x), None if whole else 1).detach().numpy()
        np.testing.assert_allclose(got if whole else got[:, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("changes", ACTIVATIONS, ids=str)
def test_a_layer_has_the_states_of_keras(cell: str, changes: dict[str, str]) -> None:
    if cell == "rnn":
        changes = {k: v for k, v in changes.items() if k == "activation"}
    compare(model_of(cell=cell, hidden_size=6, input_projection=False, **changes))


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("units", [[6, 6], [8, 5], [5, 8, 4]], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_stacked_layers_have_the_states_of_keras(
    cell: str, units: list[int], activation: str
) -> None:
    compare(model_of(cell=cell, hidden_size=units, input_projection=False, activation=activation))


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("units", [[6], [8, 5]], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "softsign"])
def test_both_directions_have_the_last_states_of_keras(
    cell: str, units: list[int], activation: str
) -> None:
    compare(
        model_of(
            cell=cell,
            hidden_size=units,
            input_projection=False,
            activation=activation,
            bidirectional=True,
        )
    )
