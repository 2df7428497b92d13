"""The recurrent forecaster: what it may see, what it must see, and its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatecast.core.errors import ConfigError
from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.models.build import build
from gatecast.models.cells import CELLS
from gatecast.models.forecaster import RecurrentForecaster
from gatecast.models.inputs import Batch, InputSpec
from gatecast.models.linear import LinearForecaster
from gatecast.models.logistic import LogisticForecaster
from gatecast.models.normalisation import from_space
from gatecast.models.shape import resolve_shape
from tests.recipes import NORMALISATIONS, model_of

Specs = Callable[..., InputSpec]
Batches = Callable[..., Batch]
Nets = Callable[..., RecurrentForecaster]
Q = len(QUANTILES)
RECIPES: dict[str, dict[str, Any]] = {
    "direct": {},
    "experts": {"decoder": "experts"},
    "segment": {"decoder": "segment", "decoder_patches": 2},
    "seq2seq": {"decoder": "seq2seq"},
    "seq2seq-dot": {"decoder": "seq2seq", "attention": "dot", "decoder_cell": "lstm"},
    "seq2seq-additive": {"decoder": "seq2seq", "attention": "additive", "decoder_cell": "rnn"},
    "autoregressive": {"decoder": "autoregressive", "head": "student", "n_paths": 8},
    "autoregressive-lstm": {
        "decoder": "autoregressive",
        "head": "normal",
        "decoder_cell": "lstm",
        "n_paths": 8,
    },
    "point": {"head": "point", "loss": "huber"},
    "student": {"head": "student", "decoder": "experts"},
}
PAIRS = sorted({*((recipe, "lstm") for recipe in RECIPES), *(("direct", cell) for cell in CELLS)})


def origin(spec: InputSpec, fork: int) -> int:
    """Row of a batch at which the horizon of a fork (0 … forks - 1) begins."""
    return spec.lookback - (spec.n_origins - 1 - fork) * spec.stride


def moved(net: RecurrentForecaster, a: Batch, b: Batch) -> np.ndarray:
    """(K, H) largest difference of the forecasts of two batches, in units of the target."""
    with torch.no_grad():
        outs = []
        for batch in (a, b):
            q, frame = net(batch, net.spec.n_origins)
            z = q * frame.unit.unsqueeze(-1) + frame.base.unsqueeze(-1)
            outs.append(from_space(z, net.spec))
    return (outs[0] - outs[1]).abs().amax((0, -1)).numpy()


def changed(batch: Batch, name: str, rows: slice, by: float = 3.0) -> Batch:
    value = getattr(batch, name).clone()
    value[:, rows] += by
    return batch._replace(**{name: value})


@pytest.mark.parametrize(("decoder", "cell"), PAIRS)
def test_every_cell_forecasts_every_step_and_level(
    decoder: str, cell: str, make_kind: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_kind()
    out = make_net(spec, cell=cell, **RECIPES[decoder]).quantiles(make_batch(spec, n=4))
    assert out.shape == (4, spec.horizon, Q)
    assert out.isfinite().all()


@pytest.mark.parametrize(("decoder", "cell"), PAIRS)
def test_changing_the_newest_observation_changes_step_one(
    decoder: str, cell: str, make_kind: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_kind()
    batch = make_batch(spec)
    newest = slice(spec.lookback - 1, spec.lookback)
    difference = moved(
        make_net(spec, cell=cell, **RECIPES[decoder]), batch, changed(batch, "target", newest)
    )
    assert difference[-1, 0] > 1e-4


@pytest.mark.parametrize(("decoder", "cell"), PAIRS)
def test_step_one_is_decoded_from_the_last_state(
    decoder: str, cell: str, make_kind: Specs, make_batch: Batches, make_net: Nets
) -> None:
    """Swapping the two newest values leaves scaling and lags of step one alone: the state must tell."""
    spec = make_kind()
    net, batch = make_net(spec, cell=cell, **RECIPES[decoder]), make_batch(spec)
    with torch.no_grad():
        for skip in ("skip", "experts"):
            if hasattr(net.decoder, skip):
                getattr(net.decoder, skip).zero_()
    target = batch.target.clone()
    last = spec.lookback - 1
    target[:, [last - 1, last]] = batch.target[:, [last, last - 1]]
    assert moved(net, batch, batch._replace(target=target))[-1, 0] > 1e-5


@pytest.mark.parametrize("name", ["past", "known"])
def test_the_newest_covariates_change_step_one(
    name: str, make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    newest = slice(spec.lookback - 1, spec.lookback)
    assert moved(make_net(spec), batch, changed(batch, name, newest))[-1, 0] > 1e-5


@pytest.mark.parametrize("decoder", RECIPES)
@settings(max_examples=40, deadline=None)
@given(
    cell=st.sampled_from(sorted(CELLS)),
    normalisation=st.sampled_from(sorted(NORMALISATIONS)),
    season=st.integers(1, 5),
    seasons=st.integers(1, 3),
    steps=st.integers(1, 5),
    data=st.data(),
)
def test_a_fork_sees_no_target_after_its_origin(
    decoder: str,
    cell: str,
    normalisation: str,
    season: int,
    seasons: int,
    steps: int,
    data: st.DataObject,
    make_spec: Specs,
    make_batch: Batches,
    make_net: Nets,
) -> None:
    forks = data.draw(st.integers(1, steps))
    segment = data.draw(st.sampled_from([d for d in range(1, season + 1) if season % d == 0]))
    spec = make_spec(
        season_length=season,
        context_length=season * (seasons + 1),
        stride=segment,
        n_steps=steps,
        n_origins=forks,
        horizon=data.draw(st.integers(1, 12)),
        **NORMALISATIONS[normalisation],
    )
    fork = data.draw(st.integers(0, forks - 1))
    net, batch = make_net(spec, cell=cell, **RECIPES[decoder]), make_batch(spec, missing=0.2)
    after = slice(origin(spec, fork), None)
    other = changed(batch, "target", after)
    mask = other.mask.clone()
    mask[:, after] = 1 - mask[:, after]
    assert moved(net, batch, other._replace(mask=mask))[: fork + 1].max() < 1e-5


@pytest.mark.parametrize("fork", [0, 1, 2])
def test_a_fork_sees_no_past_covariate_after_its_origin(
    fork: int, make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    after = slice(origin(spec, fork), None)
    codes = batch.past_codes.clone()
    codes[:, after] = (codes[:, after] + 1) % spec.past_cards[0]
    other = changed(batch, "past", after)._replace(past_codes=codes)
    assert moved(make_net(spec), batch, other)[: fork + 1].max() < 1e-5


@pytest.mark.parametrize("decoder", RECIPES)
def test_a_later_fork_sees_what_an_earlier_one_could_not(
    decoder: str, make_kind: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_kind()
    net, batch = make_net(spec, **RECIPES[decoder]), make_batch(spec)
    for fork in range(spec.n_origins - 1):
        at = origin(spec, fork)
        difference = moved(net, batch, changed(batch, "target", slice(at, at + 1)))
        assert (difference[fork + 1 :, 0] > 1e-5).all()


REACH = {  # of what is known of the third step of six: which steps it may change
    "segment": [True, True, True, False, False, False],
    "seq2seq": [False, False, True, True, True, True],
    "autoregressive": [False, False, True, True, True, True],
}


@pytest.mark.parametrize("decoder", RECIPES)
def test_covariates_known_ahead_change_the_step_they_belong_to(
    decoder: str, make_kind: Specs, make_batch: Batches, make_net: Nets
) -> None:
    """And its patch of the horizon, or what follows from it, but nothing else."""
    spec = make_kind()
    net, batch = make_net(spec, **RECIPES[decoder]), make_batch(spec)
    reach = REACH.get(decoder.partition("-")[0], [k == 2 for k in range(spec.horizon)])
    for fork in range(spec.n_origins):
        row = origin(spec, fork) + 2
        difference = moved(net, batch, changed(batch, "known", slice(row, row + 1)))[fork]
        assert difference[2] > 1e-5
        assert (difference > 1e-5).tolist() == reach


def test_covariates_known_beyond_the_horizon_change_nothing(
    make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    beyond = slice(origin(spec, 0) + spec.horizon, None)
    assert moved(make_net(spec), batch, changed(batch, "known", beyond))[0].max() < 1e-5


@pytest.mark.parametrize("decoder", RECIPES)
def test_the_content_of_a_masked_value_is_irrelevant(
    decoder: str, make_kind: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_kind()
    net, batch = make_net(spec, **RECIPES[decoder]), make_batch(spec, missing=0.4)
    other = batch._replace(target=torch.where(batch.mask > 0, batch.target, -1e6))
    assert torch.equal(net.quantiles(batch), net.quantiles(other))
    assert torch.equal(net.loss(batch)[0], net.loss(other)[0])


def test_an_unknown_value_is_not_a_zero(
    make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec()
    net, batch = make_net(spec), make_batch(spec, missing=0.4)
    zeros = batch._replace(mask=torch.ones_like(batch.mask))
    assert not torch.allclose(net.quantiles(batch), net.quantiles(zeros))


def test_that_the_newest_value_is_unknown_is_seen_where_it_changes_nothing_else(
    make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    """In a constant series an unknown value moves neither location nor scale nor any scaled value."""
    spec = make_spec(n_steps=1, n_origins=1)
    batch = make_batch(spec)
    flat = batch._replace(target=torch.full_like(batch.target, 5.0))
    mask = flat.mask.clone()
    mask[:, spec.lookback - 1] = 0
    assert moved(make_net(spec), flat, flat._replace(mask=mask)).max() > 1e-5


def test_a_category_that_training_has_not_seen_counts_as_unknown(
    make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec()
    net, batch = make_net(spec), make_batch(spec)
    coded = ("past_codes", "known_codes", "static_codes")
    unknown = batch._replace(**{n: torch.zeros_like(getattr(batch, n)) for n in coded})
    assert net.quantiles(unknown).isfinite().all()
    for name in coded:
        one = unknown._replace(**{name: torch.ones_like(getattr(batch, name))})
        assert torch.equal(net.quantiles(unknown), net.quantiles(one)), name
        with torch.no_grad():
            getattr(net, name).tables[0].weight[1] = 1.0  # training has seen it
        assert not torch.equal(net.quantiles(unknown), net.quantiles(one)), name


@pytest.mark.parametrize(
    "changes",
    [
        {"horizon": 15},  # longer than season and window
        {"horizon": 1, "season_length": 1, "context_length": 8, "stride": 1},
        {"horizon": 5, "season_length": 1, "context_length": 10, "stride": 1},
        {"season_length": 8, "stride": 4},  # a step is half a season
        {"n_steps": 1, "n_origins": 1},
        {"n_origins": 5},  # every step forecasts
        {"n_past": 0, "n_known": 0, "n_static": 0, "n_calendar": 0}
        | {"past_cards": [], "known_cards": [], "static_cards": []},
    ],
    ids=str,
)
def test_shapes_that_occur(
    changes: dict[str, int], make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec(**changes)
    net, batch = make_net(spec), make_batch(spec, missing=0.1)
    loss, count = net.loss(batch)
    assert net.quantiles(batch).shape == (3, spec.horizon, Q)
    assert loss.isfinite()
    assert count > 0


def test_a_context_shorter_than_a_season_is_refused_and_says_how_long_that_is() -> None:
    """``context_length: 12`` for an hourly source passes the checks of a recipe: only the panel knows its season."""
    with pytest.raises(
        ConfigError, match=r"`context_length: 12` is shorter than a season \(24"
    ) as caught:
        resolve_shape(model_of(context_length=12), 24, 6, 24)
    assert caught.value.code == "SHAPE"


@pytest.mark.parametrize("weight", [1.0, 40.0])
def test_an_error_counts_more_where_a_series_changes_more(
    weight: float, make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    """By one and ``weight`` times the relative change, over what that is at a change of 6 %."""
    spec = make_spec()
    batch = make_batch(spec, n=1)
    plain = make_net(spec)
    relative = plain.origins(batch, 1).frame.relative.item()
    got = make_net(spec, relative_weight=weight).loss(batch, 1)[0] / plain.loss(batch, 1)[0]
    assert got.item() == pytest.approx((1 + weight * relative) / (1 + weight * 0.06), rel=1e-5)


@pytest.mark.parametrize("decoder", RECIPES)
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    missing=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    normalisation=st.sampled_from(sorted(NORMALISATIONS)),
)
@example(seed=0, missing=1.0, normalisation="level")
@example(seed=0, missing=1.0, normalisation="level-patch")
@example(seed=0, missing=1.0, normalisation="seasonal")
@example(seed=0, missing=1.0, normalisation="seasonal-log-patch")
def test_a_forecast_is_finite_and_its_quantiles_never_cross(
    decoder: str,
    seed: int,
    missing: float,
    normalisation: str,
    make_spec: Specs,
    make_batch: Batches,
    make_net: Nets,
) -> None:
    """Also that of a sequence without any known value."""
    spec = make_spec(**NORMALISATIONS[normalisation])
    out = make_net(spec, seed=seed, **RECIPES[decoder]).quantiles(
        make_batch(spec, seed=seed, missing=missing)
    )
    assert out.isfinite().all()
    assert (out.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("constant", [0.0, -7.0])
def test_a_constant_series_is_forecast_near_its_constant(
    constant: float, make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    flat = batch._replace(target=torch.full_like(batch.target, constant))
    out = make_net(spec).quantiles(flat)[..., MEDIAN]
    assert (out - constant).abs().max() < 2


@pytest.mark.parametrize("decoder", RECIPES)
def test_forecasts_move_with_the_unit_of_the_series(
    decoder: str, make_kind: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_kind()
    net, batch = make_net(spec, **RECIPES[decoder]), make_batch(spec, missing=0.1)
    here = net.quantiles(batch)
    for factor in (2.0**-20, 2.0**20):
        there = net.quantiles(batch._replace(target=batch.target * factor))
        assert torch.allclose(here * factor, there, rtol=1e-4)


@pytest.mark.parametrize("decoder", RECIPES)
def test_no_sequence_depends_on_its_neighbours_in_the_batch(
    decoder: str, make_kind: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_kind()
    net, batch = make_net(spec, **RECIPES[decoder]), make_batch(spec, n=5, missing=0.2)
    alone = net.quantiles(Batch(*(v[2:3] for v in batch)))
    assert torch.allclose(net.quantiles(batch)[2:3], alone, atol=1e-5)


@pytest.mark.parametrize("decoder", RECIPES)
def test_forecasting_is_the_last_fork_in_units_of_the_target(
    decoder: str, make_kind: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_kind()
    net, batch = make_net(spec, **RECIPES[decoder]), make_batch(spec)
    quantiles, frame = net(batch, spec.n_origins)
    z = quantiles[:, -1] * frame.unit[:, -1, :, None] + frame.base[:, -1, :, None]
    assert torch.allclose(net.quantiles(batch), from_space(z, spec), atol=1e-4)


def test_a_nonnegative_series_has_no_negative_forecast(
    make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec, free = make_spec(nonnegative=True), make_spec()
    batch = make_batch(spec)
    low = batch._replace(target=(batch.target - 18).clamp_min(0))
    assert make_net(free).quantiles(low).min() < 0
    assert make_net(spec).quantiles(low).min() == 0


def test_the_loss_is_the_mean_quantile_loss_over_known_targets_of_all_forks(
    make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    """The same sum by loops over sequences, forks and steps."""
    spec = make_spec()
    net, batch = make_net(spec), make_batch(spec, missing=0.3)
    with torch.no_grad():
        loss, count = net.loss(batch)
        quantiles, frame = net(batch, spec.n_origins)
    location, scale = frame.base.numpy(), frame.unit.numpy()
    quantiles = quantiles.numpy()
    total, n = 0.0, 0
    for b in range(3):
        for fork in range(spec.n_origins):
            for k in range(spec.horizon):
                row = origin(spec, fork) + k
                if not batch.mask[b, row]:
                    continue
                y = (float(batch.target[b, row]) - location[b, fork, 0]) / scale[b, fork, 0]
                error = np.clip(y, -10, 10) - quantiles[b, fork, k]
                levels = np.array(QUANTILES)
                total += 2 * np.maximum(levels * error, (levels - 1) * error).mean()
                n += 1
    assert count.item() == n
    assert loss.item() == pytest.approx(total, rel=1e-4)


def test_an_origin_that_has_seen_nothing_is_not_scored(
    make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec()
    batch = make_batch(spec, n=1)
    mask = batch.mask.clone()
    mask[:, : spec.lookback] = 0
    loss, count = make_net(spec).loss(batch._replace(mask=mask))
    assert loss.item() == 0
    assert count.item() == 0


@pytest.mark.parametrize("decoder", RECIPES)
def test_every_weight_has_a_gradient(
    decoder: str, make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec()
    net = make_net(spec, n_layers=2, **RECIPES[decoder]).train()
    net.loss(make_batch(spec))[0].backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("recurrent", RecurrentForecaster),
        ("linear", LinearForecaster),
        ("logistic", LogisticForecaster),
    ],
)
def test_each_kind_of_recipe_builds_its_forecaster(
    kind: str, expected: type, make_spec: Specs
) -> None:
    event = {"above": 1.0} if kind == "logistic" else {}
    spec = make_spec(n_steps=1, n_origins=1, stride=1, event=event)
    assert type(build(model_of(kind=kind), spec)) is expected


# --- counts ----------------------------------------------------------------------------------------------

COUNTS: dict[str, dict[str, Any]] = {
    "direct": {},
    "experts": {"decoder": "experts"},
    "segment": {"decoder": "segment"},
    "seq2seq": {"decoder": "seq2seq"},
    "autoregressive": {"decoder": "autoregressive", "n_paths": 9},
}


@pytest.fixture
def counts(make_spec: Specs, make_batch: Batches, make_net: Nets) -> Callable[..., Any]:
    """A net for counts, and a batch of them."""

    def make(decoder: str, missing: float = 0.2) -> tuple[RecurrentForecaster, Batch]:
        spec = make_spec(normalisation="mean", nonnegative=True)
        recipe = COUNTS[decoder] | {"head": "negative_binomial", "normalisation": "mean"}
        batch = make_batch(spec, n=5, missing=missing)
        few = (batch.target / 10).round().clamp_min(0)
        return make_net(spec, **recipe), batch._replace(target=few)

    return make


@pytest.mark.parametrize("decoder", COUNTS)
def test_a_forecast_of_counts_is_whole_and_in_order(
    decoder: str, counts: Callable[..., Any]
) -> None:
    net, batch = counts(decoder)
    out = net.quantiles(batch)
    assert (out >= 0).all()
    assert (out.diff(dim=-1) >= 0).all()
    if decoder != "autoregressive":  # between two trajectories lies a fraction
        assert torch.allclose(out, out.round(), atol=1e-4)


@pytest.mark.parametrize("decoder", COUNTS)
@pytest.mark.parametrize("fork", [0, 1])
def test_a_forecast_of_counts_sees_what_came_before_its_origin_and_nothing_after(
    decoder: str, fork: int, counts: Callable[..., Any]
) -> None:
    net, batch = counts(decoder, missing=0.0)
    at = origin(net.spec, fork)
    after = changed(batch, "target", slice(at, None), 5.0)
    assert moved(net, batch, after)[: fork + 1].max() < 1e-5
    newest = changed(batch, "target", slice(at - 1, at), 50.0)
    assert moved(net, batch, newest)[fork, 0] > 0.5


@pytest.mark.parametrize("decoder", COUNTS)
def test_counts_of_one_sequence_depend_on_no_other(
    decoder: str, counts: Callable[..., Any]
) -> None:
    net, batch = counts(decoder)
    alone = net.quantiles(Batch(*(v[2:3] for v in batch)))
    assert torch.allclose(net.quantiles(batch)[2:3], alone, atol=1e-3)


@pytest.mark.parametrize("decoder", COUNTS)
def test_a_series_of_zeros_and_one_without_values_have_finite_counts(
    decoder: str, counts: Callable[..., Any]
) -> None:
    for missing in (0.0, 1.0):
        net, batch = counts(decoder, missing=missing)
        zeros = batch._replace(target=torch.zeros_like(batch.target))
        assert net.quantiles(zeros).isfinite().all()
        loss, _ = net.train().loss(zeros)
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("decoder", ["segment", "seq2seq", "autoregressive"])
def test_the_same_input_gives_the_same_forecast(
    decoder: str, make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    """Sampled or not, in whatever order the sequences come."""
    spec = make_spec()
    net, batch = make_net(spec, **RECIPES[decoder]), make_batch(spec, n=5)
    first = net.quantiles(batch)
    torch.manual_seed(99)
    assert torch.equal(net.quantiles(batch), first)
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = net.quantiles(Batch(*(v[order] for v in batch)))
    assert torch.allclose(turned, first[order], atol=1e-5)


def test_training_shows_half_of_the_sequences_upside_down(
    make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec(augment_sign=True)
    net, batch = make_net(spec, dropout=0.0), make_batch(spec, n=64)
    plain = make_net(replace(spec, augment_sign=False), dropout=0.0)

    def of_each(turned: Batch) -> list[float]:
        return [plain.loss(Batch(*(v[k : k + 1] for v in turned)))[0].item() for k in range(64)]

    up, down = of_each(batch), of_each(batch._replace(target=-batch.target))
    torch.manual_seed(1)
    turned = torch.randint(2, (64, 1)).flatten().tolist()
    assert 16 < sum(turned) < 48
    torch.manual_seed(1)
    shown = net.train().loss(batch)[0].item()
    assert shown == pytest.approx(
        sum(u if t else d for u, d, t in zip(up, down, turned, strict=True)), rel=1e-4
    )
    assert net.eval().loss(batch)[0].item() == pytest.approx(sum(up), rel=1e-4)


@pytest.mark.parametrize("decoder", ["direct", "segment", "seq2seq"])
def test_a_fixed_skip_learns_nothing(
    decoder: str, make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec()
    for skip, learns in (("trained", True), ("fixed", False)):
        net = make_net(spec, **RECIPES[decoder] | {"linear_skip": skip}).train()
        net.loss(make_batch(spec))[0].backward()
        assert (net.decoder.skip.grad is not None) is learns


def test_a_series_weighs_as_much_as_its_volume(
    make_spec: Specs, make_batch: Batches, make_net: Nets
) -> None:
    spec = make_spec(volume=10.0)
    net, batch = make_net(spec), make_batch(spec, n=4, missing=0.2)
    plain = make_net(replace(spec, volume=0.0))
    past = slice(0, spec.lookback)
    for k in range(4):
        alone = Batch(*(v[k : k + 1] for v in batch))
        seen = alone.target[:, past][alone.mask[:, past] > 0]
        expected = plain.loss(alone)[0].item() * seen.abs().mean().item() / 10.0
        assert net.loss(alone)[0].item() == pytest.approx(expected, rel=1e-5)
