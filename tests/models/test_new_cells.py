"""Cells that torch does not have: NumPy by the equations of their papers, gradients, and a place in every net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gatecast.core.errors import ConfigError
from gatecast.models.cells import CELLS
from gatecast.models.cells.base import Layers, Options
from gatecast.models.encoders import RecurrentEncoder
from gatecast.models.forecaster import RecurrentForecaster
from gatecast.models.inputs import Batch, InputSpec
from tests.recipes import model_of

T, B, N_INPUTS, N = 7, 3, 4, 5
Array = np.ndarray[Any, np.dtype[np.float64]]


def make(cell: str, layers: int = 1, scale: float = 0.6, **options: Any) -> Layers:
    """A double-precision net in evaluation mode whose every weight is random."""
    torch.manual_seed(0)
    net = CELLS[cell](N_INPUTS, N, layers, options=Options(**options)).double().eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(scale * torch.randn_like(weight))
    return net


def sequence(steps: int = T) -> Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.randn(steps, B, N_INPUTS, generator=g, dtype=torch.float64)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def mingru(w: dict[str, Array], x: Array) -> Array:
    """(T, n) states of one sequence. Feng et al. 2024, section 3.1.1:

    z_t = sigmoid(Linear(x_t));  h~_t = Linear(x_t);  h_t = (1 - z_t) h_{t-1} + z_t h~_t
    """
    h, out = np.zeros(N), []
    for row in x:
        linear = w["weight_ih_l0"] @ row + w["bias_ih_l0"]
        z, candidate = sigmoid(linear[:N]), linear[N:]
        h = (1 - z) * h + z * candidate
        out.append(h)
    return np.array(out)


def slstm(w: dict[str, Array], x: Array) -> Array:
    """(T, n) states of one sequence. Beck et al. 2024, equations 8 to 14, as they stand: no stabiliser.

    c_t = f_t c_{t-1} + i_t z_t;  n_t = f_t n_{t-1} + i_t;  h_t = o_t c_t / n_t
    z_t = tanh(z~_t);  i_t = exp(i~_t);  f_t = sigmoid(f~_t);  o_t = sigmoid(o~_t)
    """
    h, c, n, out = np.zeros(N), np.zeros(N), np.zeros(N), []
    for row in x:
        linear = w["weight_ih_l0"] @ row + w["bias_ih_l0"] + w["weight_hh_l0"] @ h + w["bias_hh_l0"]
        i, f, z, o = linear.reshape(4, N)
        c = sigmoid(f) * c + np.exp(i) * np.tanh(z)
        n = sigmoid(f) * n + np.exp(i)
        h = sigmoid(o) * c / n
        out.append(h)
    return np.array(out)


EQUATIONS: dict[str, Callable[[dict[str, Array], Array], Array]] = {
    "mingru": mingru,
    "slstm": slstm,
}


@pytest.mark.parametrize("cell", EQUATIONS)
def test_a_cell_computes_the_equations_of_its_paper(cell: str) -> None:
    net, x = make(cell), sequence()
    w = {name: weight.detach().numpy() for name, weight in net.named_parameters()}
    states = net(x).detach().numpy()
    for b in range(B):
        expected = EQUATIONS[cell](w, x[:, b].numpy())
        np.testing.assert_allclose(states[:, b], expected, atol=1e-12)


def test_the_stabiliser_keeps_an_slstm_finite_where_its_equations_overflow() -> None:
    net = make("slstm", scale=30.0)
    w = {name: weight.detach().numpy() for name, weight in net.named_parameters()}
    x = 30 * sequence(40)
    with np.errstate(all="ignore"):
        assert not np.isfinite(slstm(w, x[:, 0].numpy())).all()
    states = net(x)
    states.sum().backward()
    assert states.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in net.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize("options", [{}, {"layer_norm": True}], ids=str)
@pytest.mark.parametrize("cell", EQUATIONS)
def test_gradients_are_those_of_finite_differences(cell: str, options: dict[str, Any]) -> None:
    net = make(cell, **options)
    names = [name for name, _ in net.named_parameters()]

    def states(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (x,))

    inputs = [sequence(4), *(weight.detach().clone() for weight in net.parameters())]
    assert torch.autograd.gradcheck(states, [v.requires_grad_() for v in inputs])


@pytest.mark.parametrize("cell", EQUATIONS)
def test_a_sequence_in_two_halves_is_the_sequence(cell: str) -> None:
    net, x = make(cell), sequence()
    first, state = net.proceed(x[:3], net.cell.zeros(x.new_zeros(B, N)))
    second, _ = net.proceed(x[3:], state)
    assert torch.allclose(torch.cat([first, second]), net(x), atol=1e-12)


@pytest.mark.parametrize("cell", EQUATIONS)
def test_gates_are_shares(cell: str) -> None:
    shown = make(cell, layers=2).activations(sequence())
    assert shown.keys() > {"state"}
    for name, value in shown.items():
        assert value.shape == (T, B, N)
        assert name == "state" or (value.min() >= 0 and value.max() <= 1)


@pytest.mark.parametrize(
    "shape",
    [
        {"n_layers": 2},
        {"hidden_size": [8, 5], "residual": True},
        {"n_layers": 2, "dilations": [1, 2]},
        {"bidirectional": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", EQUATIONS)
def test_a_state_knows_no_later_step_in_any_shape(cell: str, shape: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = RecurrentEncoder(model_of(cell=cell, **{"hidden_size": 8} | shape), 3).eval()  # type: ignore[arg-type]
    x = torch.randn(2, 6, 3)
    later = x.clone()
    later[:, 3] += 1
    moved = (net(x) - net(later)).abs().amax((0, 2)) > 0
    assert moved.tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("decoder", ["seq2seq", "segment", "autoregressive"])
@pytest.mark.parametrize("cell", EQUATIONS)
def test_a_decoder_may_have_the_cell(
    cell: str,
    decoder: str,
    make_spec: Callable[..., InputSpec],
    make_batch: Callable[..., Batch],
    make_net: Callable[..., RecurrentForecaster],
) -> None:
    spec = make_spec()
    head = {"head": "normal"} if decoder == "autoregressive" else {}
    net = make_net(spec, cell=cell, decoder=decoder, decoder_cell=cell, **head).train()
    net.loss(make_batch(spec))[0].backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize(
    ("cell", "option"),
    [
        ("mingru", {"activation": "relu"}),
        ("mingru", {"recurrent_dropout": 0.1}),
        ("slstm", {"recurrent_activation": "relu"}),
    ],
)
def test_an_option_that_the_equations_have_no_use_for_is_refused(
    cell: str, option: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(option))}` .* left out for `cell: {cell}`"):
        model_of(cell=cell, **option)
