"""Recurrent encoders: one state a step, none of which knows a later step; stacks, dilations, both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatecast.models.cells import CELLS
from gatecast.models.encoders import RecurrentEncoder, Stack
from gatecast.models.forecaster import RecurrentForecaster
from gatecast.models.inputs import Batch, InputSpec
from tests.recipes import model_of

TORCH: dict[str, type[nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
SHAPES: list[dict[str, Any]] = [
    {},
    {"n_layers": 2},
    {"hidden_size": [8, 5]},
    {"hidden_size": [5, 8], "residual": True},
    {"n_layers": 3, "dilations": [1, 2, 4]},
    {"bidirectional": True},
    {"hidden_size": [6, 4], "bidirectional": True, "residual": True},
    {"n_layers": 2, "dilations": [1, 3], "bidirectional": True},
    {"recurrent_dropout": 0.3, "input_dropout": 0.2},
    {"hidden_size": [8, 5], "layer_norm": True, "activation": "relu"},
]


def make(n_inputs: int = 3, seed: int = 0, **recipe: Any) -> RecurrentEncoder:
    torch.manual_seed(seed)
    useless = CELLS[recipe.get("cell", "lstm")].cell_type.without
    recipe = {key: value for key, value in recipe.items() if key not in useless}
    return RecurrentEncoder(
        model_of(**{"hidden_size": 8, "dropout": 0.3, **recipe}), n_inputs
    ).eval()


def stack(n_inputs: int = 3, seed: int = 0, **recipe: Any) -> Stack:
    torch.manual_seed(seed)
    return Stack(model_of(**{"hidden_size": 8, "dropout": 0.0, **recipe}), n_inputs).double().eval()


def steps(t: int = 6, b: int = 2, n: int = 3) -> Tensor:
    return torch.randn(t, b, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def moved(net: Callable[[Tensor], Tensor], x: Tensor, at: int) -> list[bool]:
    """Which steps' states change with the inputs of step ``at``; x is (B, T, n)."""
    changed = x.clone()
    changed[:, at] += 1
    return ((net(x) - net(changed)).abs().amax((0, 2)) > 0).tolist()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_state_depends_on_its_own_and_earlier_steps_only(
    cell: str, shape: dict[str, Any]
) -> None:
    net, x = make(cell=cell, **shape), torch.randn(2, 6, 3)
    assert net(x).shape == (2, 6, model_of(**{"hidden_size": 8, **shape}).state_size)
    after = moved(net, x, 3)
    assert not any(after[:3])
    assert after[3]
    if len(set(shape.get("dilations", [1]))) == 1:
        assert all(after[3:])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("origins", [1, 4])
def test_the_states_of_the_last_origins_are_the_last_states(
    shape: dict[str, Any], origins: int
) -> None:
    net, x = make(**shape), torch.randn(2, 6, 3)
    assert torch.allclose(net(x, origins), net(x)[:, -origins:], atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_state_is_what_a_sequence_that_ends_there_has_last(shape: dict[str, Any]) -> None:
    net, x = make(**shape), torch.randn(2, 6, 3)
    for end in range(1, 7):
        assert torch.allclose(net(x)[:, end - 1], net(x[:, :end])[:, -1], atol=1e-6)


@pytest.mark.parametrize("cell", TORCH)
def test_layers_of_one_width_have_the_names_and_the_states_of_torch(cell: str) -> None:
    """What packages written before stacks hold must load: recurrent.weight_ih_l0 and so on."""
    net = make(cell=cell, n_layers=2, input_projection=False)
    theirs = TORCH[cell](3, 8, 2)
    theirs.load_state_dict({k.removeprefix("recurrent."): v for k, v in net.state_dict().items()})
    x = torch.randn(2, 6, 3)
    assert torch.equal(net(x).transpose(0, 1), theirs(x.transpose(0, 1))[0])


@pytest.mark.parametrize("cell", TORCH)
def test_default_recipes_take_torchs_kernels(cell: str) -> None:
    recurrent = make(cell=cell).recurrent
    assert isinstance(recurrent, CELLS[cell])
    assert recurrent.train().fused


@pytest.mark.parametrize("cell", TORCH)
def test_a_stack_is_torchs_layers_one_over_the_other(cell: str) -> None:
    net = stack(cell=cell, hidden_size=[8, 5, 7])
    x = expected = steps()
    for layer, (n, units) in zip(net.ahead, [(3, 8), (8, 5), (5, 7)], strict=True):
        theirs = TORCH[cell](n, units).double()
        theirs.load_state_dict(layer.state_dict())
        expected = theirs(expected)[0]
    assert torch.allclose(net(x), expected, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", TORCH)
def test_both_directions_over_a_whole_sequence_are_torchs(cell: str, layers: int) -> None:
    net = stack(cell=cell, n_layers=layers, bidirectional=True)
    theirs = TORCH[cell](3, 8, layers, bidirectional=True).double()
    weights = {}
    for k in range(layers):
        for part, suffix in ((net.ahead[k], ""), (net.back[k], "_reverse")):
            for name, value in part.state_dict().items():
                weights[name.replace("_l0", f"_l{k}{suffix}")] = value
    theirs.load_state_dict(weights)
    assert torch.allclose(net(steps()), theirs(steps())[0], atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_both_halves_of_an_origins_state_have_read_its_look_back_and_no_more(
    cell: str, layers: int
) -> None:
    """Not the whole sequence, and not, as the backward half at its own step would, the newest step alone."""
    net = make(cell=cell, n_layers=layers, bidirectional=True, input_projection=False)
    x = torch.randn(2, 6, 3)
    for half in (slice(8), slice(8, None)):
        for at in range(6):
            read = moved(lambda v, half=half: net(v)[..., half], x, at)  # type: ignore[misc]
            assert read == [t >= at for t in range(6)]


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_of_the_last_origin_is_torchs_last_of_both_directions(cell: str) -> None:
    net = make(cell=cell, bidirectional=True, input_projection=False)
    assert isinstance(net.recurrent, Stack)
    x = torch.randn(2, 6, 3)
    whole = net.recurrent(x.transpose(0, 1))  # as torch's, see above
    assert torch.allclose(net(x, 1)[:, 0], torch.cat([whole[-1, :, :8], whole[0, :, 8:]], -1))


@pytest.mark.parametrize("dilation", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("cell", CELLS)
def test_a_dilated_layer_hands_its_state_that_many_steps_on(cell: str, dilation: int) -> None:
    net = make(cell=cell, dilations=[dilation], input_projection=False)
    reached = moved(net, torch.randn(2, 8, 3), 2)
    assert reached == [t >= 2 and (t - 2) % dilation == 0 for t in range(8)]


@pytest.mark.parametrize("cell", CELLS)
def test_a_dilated_layer_is_the_plain_one_over_every_dth_step(cell: str) -> None:
    net, x = stack(cell=cell, dilations=[3]), steps(8)
    for phase in range(3):
        assert torch.allclose(net(x)[phase::3], net.ahead[0](x[phase::3]), atol=1e-12)


def test_dilations_of_one_two_and_four_reach_every_earlier_step() -> None:
    net = make(n_layers=3, dilations=[1, 2, 4])
    assert moved(net, torch.randn(2, 20, 3), 2) == [t >= 2 for t in range(20)]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_residual_layer_that_computes_nothing_passes_its_inputs_on(bidirectional: bool) -> None:
    n = 16 if bidirectional else 8
    net, x = stack(n, n_layers=3, residual=True, bidirectional=bidirectional), steps(n=n)
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
    assert torch.equal(net(x), x)


def test_a_residual_layer_of_another_width_projects_its_inputs() -> None:
    net, x = stack(hidden_size=[8, 8, 5], residual=True), steps()
    kinds = [type(shortcut) for shortcut in net.shortcuts]
    assert kinds == [nn.Linear, nn.Identity, nn.Linear]
    with torch.no_grad():
        for weight in [*net.ahead.parameters()]:
            weight.zero_()
    assert torch.allclose(net(x), net.shortcuts[2](net.shortcuts[0](x)))


def test_every_cell_has_layers_of_its_own() -> None:
    layers = {name: type(make(cell=name).recurrent) for name in CELLS}
    assert layers == CELLS
    assert len(set(layers.values())) == len(CELLS)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dropout_acts_in_training_only(shape: dict[str, Any]) -> None:
    net, x = make(**shape), torch.randn(2, 4, 3)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_may_reach_the_recurrent_layer_as_it_is(cell: str, shape: dict[str, Any]) -> None:
    net = make(cell=cell, input_projection=False, **shape)
    assert isinstance(net.project, nn.Identity)
    assert net(torch.randn(2, 6, 3)).shape[:2] == (2, 6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_weight_has_a_gradient(shape: dict[str, Any]) -> None:
    net = make(**shape)
    net(torch.randn(2, 6, 3)).square().sum().backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("fork", [0, 1, 2])
def test_no_fork_of_any_encoder_sees_a_target_after_its_origin(
    shape: dict[str, Any],
    fork: int,
    make_spec: Callable[..., InputSpec],
    make_batch: Callable[..., Batch],
    make_net: Callable[..., RecurrentForecaster],
) -> None:
    spec = make_spec()
    net, batch = make_net(spec, **shape), make_batch(spec)
    target = batch.target.clone()
    target[:, spec.lookback - (spec.n_origins - 1 - fork) * spec.stride :] += 3
    with torch.no_grad():
        here, there = (net(b, spec.n_origins)[0] for b in (batch, batch._replace(target=target)))
    assert torch.allclose(here[:, : fork + 1], there[:, : fork + 1], atol=1e-5)
    if fork < 2:
        assert not torch.allclose(here[:, fork + 1 :], there[:, fork + 1 :], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("lead", [4, 10, 19])
def test_what_stands_before_a_series_begins_is_irrelevant(
    shape: dict[str, Any],
    lead: int,
    make_spec: Callable[..., InputSpec],
    make_batch: Callable[..., Batch],
    make_net: Callable[..., RecurrentForecaster],
) -> None:
    spec = make_spec()
    net, batch = make_net(spec, **shape), make_batch(spec)
    mask = batch.mask.clone()
    mask[:, :lead] = 0
    target = batch.target.clone()
    target[:, :lead] = 1e6
    young = batch._replace(mask=mask)
    forecast = net.quantiles(young)
    assert forecast.isfinite().all()
    assert torch.equal(forecast, net.quantiles(young._replace(target=target)))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_activations_are_those_that_made_the_states(cell: str, shape: dict[str, Any]) -> None:
    """Whatever the layers: at every step the state that comes with the gates is the state that the net hands on."""
    net = make(cell=cell, **shape).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    found = net.activations(x)
    n = found["state"].shape[-1]
    if shape.get("residual"):  # what is handed on is the state and what the layer read
        assert isinstance(net.recurrent, Stack)
        net.recurrent.shortcuts[-1].forward = lambda given: torch.zeros(())  # type: ignore[method-assign]
    expected = torch.cat([net(x[:, : k + 1], 1)[..., :n] for k in range(6)], 1)
    same = slice(-1 if shape.get("bidirectional") else 0, None)  # upper layers know the last step
    assert torch.allclose(found["state"][:, same], expected[:, same], atol=1e-10)
    assert all(value.shape == expected.shape for value in found.values())


@pytest.mark.parametrize(
    ("cell", "gates"),
    [
        ("rnn", []),
        ("lstm", ["forget", "input", "output"]),
        ("gru", ["reset", "update"]),
        ("mingru", ["update"]),
        ("slstm", ["forget", "output"]),
    ],
)
def test_gates_have_the_names_of_their_papers(cell: str, gates: list[str]) -> None:
    found = make(cell=cell).activations(torch.randn(2, 6, 3))
    assert sorted(found.keys() - {"state"}) == gates
