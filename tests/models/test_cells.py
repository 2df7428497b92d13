"""Recurrent cells that torch has, too: their published equations, torch's kernels, masks, norms and gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gatecast.core import process
from gatecast.models import config
from gatecast.models.cells import base
from gatecast.models.cells.base import FusedLayers, Options
from gatecast.models.cells.gru import GRU
from gatecast.models.cells.lstm import LSTM
from gatecast.models.cells.rnn import RNN

CELLS: dict[str, type[RNN | LSTM | GRU]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
PLAIN = Options()
T, B, N_INPUTS, UNITS = 7, 3, 4, 5
TORCH: dict[str, type[nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}

Array = np.ndarray[Any, np.dtype[np.float64]]
NUMPY: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "silu": lambda x: x * (1 + np.tanh(x / 2)) / 2,
    "softplus": lambda x: np.logaddexp(0, x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "linear": lambda x: x,
}
MIXED = [
    PLAIN,
    Options("relu"),
    Options("linear", "hard_sigmoid"),
    Options("softsign", "sigmoid"),
    Options("tanh", "hard_sigmoid"),
    Options("elu", "softsign"),
    Options("silu", "relu"),
    Options("softplus", "tanh"),
    Options(layer_norm=True),
    Options("relu", "hard_sigmoid", layer_norm=True),
]


def make(
    cell: str, options: Options = PLAIN, layers: int = 1, seed: int = 0, **more: Any
) -> FusedLayers:
    """A double-precision net in evaluation mode whose every weight is random, norms and all."""
    torch.manual_seed(seed)
    net = CELLS[cell](N_INPUTS, UNITS, layers, options=options, **more).double().eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(0.6 * torch.randn_like(weight))
    return net


def sequence(steps: int = T, seed: int = 1) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(steps, B, N_INPUTS, generator=g, dtype=torch.float64)


def by_equation(net: FusedLayers, cell: str, x: Tensor) -> dict[str, Array]:
    """(T, B, n) state and gates of one layer, a sequence and a step at a time, from the published equations."""
    w: dict[str, Array] = {k: v.detach().numpy() for k, v in net.named_parameters()}
    a, s = NUMPY[net.options.activation], NUMPY[net.options.recurrent_activation]
    n, norm = UNITS, net.options.layer_norm

    def layer_norm(v: Array, gain: str) -> Array:
        return (v - v.mean()) / np.sqrt(v.var() + 1e-5) * w[gain] if norm else v

    gates = {"rnn": (), "lstm": ("forget", "input", "output"), "gru": ("reset", "update")}[cell]
    out = {name: np.zeros((len(x), B, n)) for name in (*gates, "state")}
    for b in range(B):
        h, c = np.zeros(n), np.zeros(n)
        for t in range(len(x)):
            given = layer_norm(w["weight_ih_l0"] @ x[t, b].numpy(), "norm_ih.0.weight")
            pulled = layer_norm(w["weight_hh_l0"] @ h, "norm_hh.0.weight")
            given, pulled = given + w["bias_ih_l0"], pulled + w["bias_hh_l0"]
            opened: tuple[Array, ...] = ()
            if cell == "rnn":
                h = a(given + pulled)
            elif cell == "lstm":
                total = given + pulled
                i, f, o = s(total[:n]), s(total[n : 2 * n]), s(total[3 * n :])
                c = f * c + i * a(total[2 * n : 3 * n])
                h, opened = o * a(layer_norm(c, "norm_cell.0.weight")), (f, i, o)
            else:
                r, z = s(given[:n] + pulled[:n]), s(given[n : 2 * n] + pulled[n : 2 * n])
                new = a(given[2 * n :] + r * pulled[2 * n :])
                h, opened = (1 - z) * new + z * h, (r, z)
            for name, value in zip(out, (*opened, h), strict=True):
                out[name][t, b] = value
    return out


@pytest.mark.parametrize("options", MIXED, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_computes_its_published_equations(cell: str, options: Options) -> None:
    net, x = make(cell, options), sequence()
    states = by_equation(net, cell, x)["state"]
    np.testing.assert_allclose(net(x).detach().numpy(), states, atol=1e-10)


@pytest.mark.parametrize("options", MIXED, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_gates_are_those_of_the_published_equations(cell: str, options: Options) -> None:
    net, x = make(cell, options), sequence()
    found, expected = net.activations(x), by_equation(net, cell, x)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].detach().numpy(), value, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
def test_the_gates_shown_are_those_of_the_last_layer(cell: str) -> None:
    """The second of two layers does what it would do alone with the states of the first."""
    net, first = make(cell, layers=2), make(cell)
    second = CELLS[cell](UNITS, UNITS).double().eval()
    weights = dict(net.named_parameters())
    for layer, alone in enumerate((first, second)):
        of_layer = {
            k.replace(f"_l{layer}", "_l0"): v for k, v in weights.items() if f"_l{layer}" in k
        }
        alone.load_state_dict(of_layer)
    found, expected = net.activations(sequence()), second.activations(first(sequence()))
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-12), name


@pytest.mark.parametrize("name", sorted(set(base.ACTIVATIONS) & set(NUMPY)))
def test_an_activation_is_the_function_of_its_name(name: str) -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    np.testing.assert_allclose(base.ACTIVATIONS[name](x), NUMPY[name](x.numpy()), atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_torch_give_the_states_of_torch_on_both_paths(cell: str, layers: int) -> None:
    torch.manual_seed(0)
    theirs = TORCH[cell](N_INPUTS, UNITS, layers).double()
    ours = CELLS[cell](N_INPUTS, UNITS, layers, options=Options(recurrent_dropout=0.5)).double()
    ours.load_state_dict(theirs.state_dict())
    expected = theirs(sequence())[0]
    assert torch.allclose(ours.eval()(sequence()), expected, atol=1e-12)
    x = sequence()
    for layer in range(layers):
        ours.options = PLAIN
        x, _ = ours._unroll(x, layer)
    assert torch.allclose(x, expected, atol=1e-12)


@pytest.mark.parametrize("options", [PLAIN, Options("relu")], ids=str)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_load_into_torch_and_back(cell: str, layers: int, options: Options) -> None:
    ours = make(cell, options, layers)
    theirs = TORCH[cell](N_INPUTS, UNITS, layers).double()
    theirs.load_state_dict(ours.state_dict())
    again = make(cell, options, layers, seed=9)
    again.load_state_dict(theirs.state_dict())
    assert torch.equal(again(sequence()), ours(sequence()))


@pytest.mark.parametrize("cell", CELLS)
def test_both_paths_have_the_same_gradients(cell: str) -> None:
    fast, slow = make(cell).float().train(), make(cell).float().train()
    x = sequence().float()
    fast(x).square().sum().backward()
    slow._unroll(x, 0)[0].square().sum().backward()
    for (name, a), b in zip(fast.named_parameters(), slow.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-5), name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cell", "options", "training", "fused"),
    [
        ("lstm", PLAIN, True, True),
        ("rnn", Options("relu"), True, True),
        ("gru", Options("relu"), True, False),
        ("lstm", Options(recurrent_activation="hard_sigmoid"), True, False),
        ("gru", Options(layer_norm=True), False, False),
        ("gru", Options(recurrent_dropout=0.1), True, False),
        ("gru", Options(recurrent_dropout=0.1), False, True),
        ("lstm", Options(input_dropout=0.1), True, True),
    ],
)
def test_torch_computes_what_it_can(
    cell: str, options: Options, training: bool, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = make(cell, options).train(training)
    unrolled: list[int] = []
    loop = net._unroll
    monkeypatch.setattr(net, "_unroll", lambda x, k: unrolled.append(k) or loop(x, k))
    net(sequence())
    assert net.fused is fused
    assert unrolled == ([] if fused else [0])


@pytest.mark.parametrize("options", MIXED, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_those_of_finite_differences(cell: str, options: Options) -> None:
    if "relu" in (options.activation, options.recurrent_activation):
        options = replace(options, activation="tanh", recurrent_activation="sigmoid")
    net = make(cell, options)
    names = [name for name, _ in net.named_parameters()]

    def states(x: Tensor, *weights: Tensor) -> Tensor:
        given = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(net, given, (x,))

    inputs = [sequence(3), *(p.detach().clone() for p in net.parameters())]
    assert torch.autograd.gradcheck(states, [v.requires_grad_() for v in inputs])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dropout", ["input_dropout", "recurrent_dropout"])
def test_dropout_of_a_cell_is_one_mask_a_sequence(cell: str, dropout: str) -> None:
    """With ones for inputs and weights, what a step loses shows in its state: the same at every step."""
    seen: list[Tensor] = []
    net = make(cell, Options("linear", "linear", **{dropout: 0.5})).train()

    def watch(
        from_inputs: Tensor, from_state: Tensor, state: base.State, norm: nn.Module
    ) -> base.State:
        seen.append(from_inputs if dropout == "input_dropout" else from_state)
        return tuple(torch.ones_like(part) for part in state)

    net.cell.step = watch  # type: ignore[method-assign]
    net(torch.ones(T, B, N_INPUTS, dtype=torch.float64))
    steps = torch.stack(seen[1:])  # the first follows zeros
    assert torch.equal(steps, steps[:1].expand_as(steps))
    assert len(steps[0].unique(dim=0)) > 1  # each sequence has its own


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dropout", ["input_dropout", "recurrent_dropout"])
@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_of_a_cell_acts_in_training_only_and_keeps_the_mean(
    cell: str, dropout: str, layers: int
) -> None:
    net = make(cell, Options(**{dropout: 0.3}), layers)
    assert torch.equal(net(sequence()), net(sequence()))
    assert not torch.equal(net.train()(sequence()), net(sequence()))
    masked = net._masked(torch.ones(1, 1, 100_000))
    mean = masked.mean().item() if dropout == "input_dropout" else 1.0
    assert mean == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("cell", CELLS)
def test_a_normalised_cell_does_not_feel_the_scale_of_its_inputs(cell: str) -> None:
    net = make(cell, Options(layer_norm=True))
    x = 100 * sequence()
    assert torch.allclose(net(x), net(1000 * x), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_between_layers_spares_the_first(cell: str) -> None:
    net = make(cell, Options(layer_norm=True), layers=2, dropout=0.5).train()
    assert not torch.equal(net(sequence()), net(sequence()))
    alone = make(cell, Options(layer_norm=True), layers=1, dropout=0.5).train()
    assert torch.equal(alone(sequence()), alone(sequence()))


@pytest.mark.skipif(not process.cpu_has_bfloat16(), reason="this processor has no bfloat16")
@pytest.mark.parametrize("options", [PLAIN, Options(layer_norm=True)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_half_precision_is_only_a_rounding_away(cell: str, options: Options) -> None:
    net, x = make(cell, options).float(), sequence().float()
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x)
    assert (rough.float() - net(x)).abs().max() < 0.1


def test_a_recipe_can_set_every_option() -> None:
    assert {f.name for f in fields(Options)} <= set(config.Recurrent.model_fields)


@pytest.mark.parametrize("options", [PLAIN, Options(layer_norm=True)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_in_two_halves_is_the_sequence(cell: str, options: Options) -> None:
    """With and without torch's kernels: what a decoder runs on from is the state that it left."""
    net, x = make(cell, options), sequence()
    state = net.cell.zeros(x.new_zeros(B, UNITS))
    first, state = net.proceed(x[:3], state)
    second, _ = net.proceed(x[3:], state)
    assert torch.allclose(torch.cat([first, second]), net(x), atol=1e-12)
