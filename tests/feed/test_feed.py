"""Batches are cut where they should be, and show only what may be seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.core.errors import ConfigError, TrainError
from gatecast.data import calendar
from gatecast.data import windows as windows_module
from gatecast.data.config import Covariates, Splits
from gatecast.data.panel import Channel, Panel
from gatecast.data.windows import Windows, rolling_origins
from gatecast.feed.panel_feed import PanelFeed, home_of
from gatecast.feed.sampling import TrainingWindows, batches, validation_windows
from gatecast.feed.scaling import Scaling, fit_scaling
from gatecast.feed.spec import input_spec
from gatecast.models.config import Model
from gatecast.models.inputs import InputSpec
from tests.recipes import model_of

Panels = Callable[..., Panel]
NAN = float("nan")
RECIPE = model_of(hidden_size=4, context_length=8, stride=4, n_steps=3, n_origins=2)
ROLES = Covariates(static=["area", "kind"], past=["stock", "state"], future=["price", "event"])
ROLES.categorical = ["kind", "state", "event"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def rich(make_panel: Panels) -> Panel:
    """Three series of different lengths with gaps, a late start and a covariate of every role."""
    lengths, begin = {"a": 60, "b": 45, "c": 70}, {"b": 10}
    r = rng(1)
    series = {}
    for name, n in lengths.items():
        values = r.normal(50, 9, n)
        values[r.random(n) < 0.15] = NAN
        values[0] = values[-1] = 50.0
        series[name] = values
    names = lambda n, words: r.choice(np.array(words, dtype=object), n)  # noqa: E731
    columns = {
        "stock": {k: r.normal(5, 2, n) for k, n in lengths.items()},
        "state": {k: names(n, ["on", "off"]) for k, n in lengths.items()},
        "price": {k: r.normal(1, 0.2, n) for k, n in lengths.items()},
        "event": {k: names(n, ["none", "fair", "strike"]) for k, n in lengths.items()},
    }
    columns["stock"]["a"][5:9] = NAN
    static = {"area": {"a": 3.0, "b": 7.0, "c": 20.0}, "kind": {"a": "x", "b": "y", "c": "x"}}
    return make_panel(series, columns, static, ROLES, begin=begin)


def feed_of(panel: Panel, model: Model = RECIPE) -> PanelFeed:
    return PanelFeed(panel, input_spec(panel, model), fit_scaling(panel), panel.meta)


def test_a_spec_counts_the_channels_of_every_role(rich: Panel) -> None:
    spec = input_spec(rich, RECIPE)
    assert (spec.n_past, spec.n_known, spec.n_static) == (1, 1, 1)
    assert (spec.past_cards, spec.known_cards, spec.static_cards) == ([3], [4], [3])
    assert spec.n_calendar == calendar.features(rich.axis, rich.meta.calendar, None, None).shape[1]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_batch_is_what_loops_over_the_panel_find(data: st.DataObject, rich: Panel) -> None:
    feed = feed_of(rich)
    spec, scaling = feed.spec, fit_scaling(rich)
    series = data.draw(st.integers(0, 2))
    origin = data.draw(st.integers(1, int(rich.lengths[series])))
    limit = data.draw(st.one_of(st.none(), st.integers(0, int(rich.lengths[series]) + 5)))
    windows = Windows(np.array([series]), np.array([origin]))
    batch = feed.batch(windows, None if limit is None else np.array([limit]))
    names = [c.name for c in rich.meta.channels]
    of_calendar = calendar.features(rich.axis, rich.meta.calendar, None, None)
    for at, row in enumerate(range(origin - spec.lookback, origin + spec.horizon)):
        inside = 0 <= row < rich.lengths[series]
        cell = rich.values[rich.indptr[series] + row] if inside else None
        seen = inside and not np.isnan(cell[0]) and row < (origin if limit is None else limit)
        assert batch.mask[0, at] == seen
        assert batch.target[0, at] == (cell[0] if seen else 0)
        for name, got, (mean, spread) in (
            ("stock", batch.past[0, at, 0], scaling.past[0]),
            ("price", batch.known[0, at, 0], scaling.known[0]),
        ):
            raw = cell[names.index(name)] if inside else NAN
            expected = 0.0 if np.isnan(raw) else np.clip((raw - mean) / spread, -5, 5)
            assert float(got) == pytest.approx(expected, abs=1e-4)
        for name, codes in (("state", batch.past_codes), ("event", batch.known_codes)):
            assert codes[0, at, 0] == (cell[names.index(name)] if inside else 0)
        place = rich.position[series] + row
        if 0 <= place < len(of_calendar):
            np.testing.assert_array_equal(batch.known[0, at, 1:], of_calendar[place])
    assert batch.static_codes[0, 0] == rich.static[series, 1]


@settings(max_examples=30, deadline=None)
@given(limit=st.integers(0, 70), origin=st.integers(1, 60))
def test_targets_from_the_limit_on_are_hidden(limit: int, origin: int, rich: Panel) -> None:
    """Two panels that differ from the limit on only give one batch."""
    values = rich.values.copy()
    row = np.arange(len(values)) - np.repeat(rich.indptr[:-1], rich.lengths)
    values[row >= limit, 0] = 1e6
    other = replace(rich, values=values, observed=~np.isnan(values[:, 0]))
    spec, scaling = input_spec(rich, RECIPE), fit_scaling(rich)
    windows = Windows(np.arange(3), np.minimum(origin, rich.lengths))
    a, b = (
        PanelFeed(p, spec, scaling, rich.meta).batch(windows, np.full(3, limit))
        for p in (rich, other)
    )
    assert torch.equal(a.target, b.target)
    assert torch.equal(a.mask, b.mask)


def test_without_a_limit_everything_from_the_origin_on_is_hidden(rich: Panel) -> None:
    feed = feed_of(rich)
    batch = feed.batch(Windows(np.arange(3), np.array([40, 30, 50])))
    assert batch.mask[:, : feed.spec.lookback].sum() > 0
    assert batch.mask[:, feed.spec.lookback :].sum() == 0
    assert batch.target[:, feed.spec.lookback :].abs().sum() == 0


def test_no_window_sees_another_series(rich: Panel) -> None:
    feed = feed_of(rich)
    batch = feed.batch(Windows(np.array([1]), np.array([2])))
    assert batch.mask[0, : feed.spec.lookback - 2].sum() == 0
    assert batch.past[0, : feed.spec.lookback - 2].abs().sum() == 0
    assert batch.past_codes[0, : feed.spec.lookback - 2].sum() == 0


def test_scaling_is_mean_and_spread_of_the_known_values_of_the_training_span(rich: Panel) -> None:
    train_end = rich.split_points[0]
    known = np.concatenate(
        [
            rich.values[b : b + e, 1]
            for b, e in zip(rich.indptr[:-1].tolist(), train_end.tolist(), strict=True)
        ]
    )
    assert np.isnan(known).any()
    expected = np.nanmean(known.astype(float)), np.nanstd(known.astype(float))
    assert fit_scaling(rich).past[0] == pytest.approx(expected, rel=1e-6)


def test_scaling_does_not_see_what_comes_after_the_training_span(rich: Panel) -> None:
    values = rich.values.copy()
    row = np.arange(len(values)) - np.repeat(rich.indptr[:-1], rich.lengths)
    values[row >= np.repeat(rich.split_points[0], rich.lengths), 1:] = 1e6
    assert fit_scaling(replace(rich, values=values)) == fit_scaling(rich)


@pytest.mark.parametrize("block", [1, 7, 64])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), level=st.sampled_from([0.0, 50.0, -1e6]))
def test_statistics_measured_in_blocks_are_those_of_the_whole(
    block: int, seed: int, level: float, rich: Panel
) -> None:
    r, values = rng(seed), rich.values.copy()
    values[:, 1:] = level + r.normal(0, 9, values[:, 1:].shape)
    values[r.random(values.shape) < 0.3] = NAN
    values[:, 0] = r.gamma(0.1, 1.0, len(values))
    panel = replace(rich, values=values)
    row = np.arange(len(values)) - np.repeat(rich.indptr[:-1], rich.lengths)
    training = row < np.repeat(rich.split_points[0], rich.lengths)
    stock = panel.values[training, 1].astype(float)
    y = panel.values[training & rich.observed, 0].astype(float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "_BLOCK", block)
        scaling, spec = fit_scaling(panel), input_spec(panel, RECIPE)
    assert scaling.past == [pytest.approx((np.nanmean(stock), np.nanstd(stock)), rel=1e-9)]
    assert spec.nonnegative == (y.min() <= 0.05 * y.mean())


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, 1013.2])
@pytest.mark.parametrize("block", [7, 1 << 17])
def test_a_constant_covariate_has_spread_one(
    block: int, constant: float, make_panel: Panels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the rounding error of its mean, which would make the next new value an extreme one."""
    monkeypatch.setattr(windows_module, "_BLOCK", block)
    panel = make_panel(
        {"a": rng().normal(size=61)},
        {"price": {"a": np.full(61, constant)}},
        covariates=Covariates(future=["price"]),
    )
    assert fit_scaling(panel).known[0] == (pytest.approx(constant), 1.0)


def test_a_covariate_that_is_never_known_in_training_counts_as_zero(make_panel: Panels) -> None:
    price = np.full(60, NAN)
    price[50:] = 3.0
    panel = make_panel(
        {"a": rng().normal(size=60)},
        {"price": {"a": price}},
        covariates=Covariates(future=["price"]),
    )
    assert fit_scaling(panel).known == [(0.0, 1.0)]
    assert feed_of(panel).batch(Windows(np.array([0]), np.array([30]))).known[..., 0].sum() == 0


def test_scaling_survives_json(rich: Panel) -> None:
    scaling = fit_scaling(rich)
    assert Scaling.from_json(json.loads(json.dumps(scaling.to_json()))) == scaling


def test_scaled_covariates_are_limited_to_five_spreads(make_panel: Panels) -> None:
    price = rng().normal(size=60)
    price[55] = 1e9
    panel = make_panel(
        {"a": rng().normal(size=60)},
        {"price": {"a": price}},
        covariates=Covariates(future=["price"]),
    )
    assert feed_of(panel).batch(Windows(np.array([0]), np.array([57]))).known[..., 0].max() == 5


def test_forecasts_of_a_nonnegative_series_are_known_to_be_so(make_panel: Panels) -> None:
    counts = rng().poisson(0.5, 60).astype(float)
    assert input_spec(make_panel({"a": counts}), RECIPE).nonnegative
    assert not input_spec(make_panel({"a": counts - 1}), RECIPE).nonnegative
    assert not input_spec(make_panel({"a": counts + 100}), RECIPE).nonnegative


def test_whether_a_series_is_nonnegative_is_learnt_from_the_training_span(
    make_panel: Panels,
) -> None:
    """``InputSpec.nonnegative`` says "training targets"; the test span must not decide."""
    counts = rng().poisson(0.5, 60).astype(float)
    counts[-3:] = -40.0
    assert input_spec(make_panel({"a": counts}), RECIPE).nonnegative


def other_categories(panel: Panel, make_panel: Panels, words: list[str]) -> Panel:
    """The panel's numbers with other events and kinds."""
    n = 60
    event = np.array(words, dtype=object)[np.arange(n) % len(words)]
    return make_panel(
        {"z": rng(2).normal(50, 9, n)},
        {
            "stock": {"z": np.ones(n)},
            "state": {"z": np.array(["off"] * n, dtype=object)},
            "price": {"z": np.ones(n)},
            "event": {"z": event},
        },
        {"area": {"z": 3.0}, "kind": {"z": words[0]}},
        ROLES,
    )


def test_a_new_category_is_unknown_and_a_known_one_keeps_its_code(
    rich: Panel, make_panel: Panels
) -> None:
    words = ["earthquake", "fair", "strike"]
    fresh = other_categories(rich, make_panel, words)
    spec, scaling = input_spec(rich, RECIPE), fit_scaling(rich)
    batch = PanelFeed(fresh, spec, scaling, rich.meta).batch(Windows(np.array([0]), np.array([30])))
    trained = {name: k + 1 for k, name in enumerate(["fair", "none", "strike"])}
    rows = np.arange(30 - spec.lookback, 30 + spec.horizon)
    expected = [trained.get(words[r % 3], 0) for r in rows]
    assert batch.known_codes[0, :, 0].tolist() == expected
    assert batch.static_codes.tolist() == [[0]]
    assert set(batch.past_codes[0, :, 0].tolist()) == {1}  # "off" is the first of off, on


def test_a_missing_category_is_the_unknown_one(make_panel: Panels) -> None:
    event = np.array(["fair", None] * 30, dtype=object)
    roles = Covariates(future=["event"], categorical=["event"])
    panel = make_panel({"a": rng().normal(size=60)}, {"event": {"a": event}}, covariates=roles)
    codes = feed_of(panel).batch(Windows(np.array([0]), np.array([30]))).known_codes
    assert codes[0, :2, 0].tolist() == [1, 0]


@pytest.mark.parametrize(("free", "home"), [(200, "cuda"), (199, "cpu"), (0, "cpu")])
def test_a_panel_lives_on_the_device_if_it_fits_in_half_of_its_free_memory(
    free: int, home: str
) -> None:
    assert home_of(torch.device("cuda"), 100, free).type == home


def test_on_the_cpu_a_panel_is_never_copied(rich: Panel) -> None:
    feed = feed_of(rich)
    assert feed.home == torch.device("cpu")
    assert feed.values.data_ptr() == rich.values.ctypes.data


def test_batches_of_a_streamed_panel_come_to_the_device(rich: Panel) -> None:
    """``meta`` is a device without memory: it shows where things are, not what they hold."""
    feed = PanelFeed(rich, input_spec(rich, RECIPE), fit_scaling(rich), rich.meta, "meta", free=0)
    batch = feed.batch(Windows(np.arange(3), np.array([40, 30, 50])))
    assert feed.values.device.type == "cpu"
    assert {part.device.type for part in batch} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_streamed_panel_gives_the_batches_of_one_on_the_device(rich: Panel) -> None:
    spec, scaling = input_spec(rich, RECIPE), fit_scaling(rich)
    windows = Windows(np.arange(3), np.array([40, 30, 50]))
    here, streamed = (
        PanelFeed(rich, spec, scaling, rich.meta, "cuda", free).batch(windows) for free in (None, 0)
    )
    assert all(torch.equal(a, b) for a, b in zip(here, streamed, strict=True))


def test_a_panel_without_a_channel_of_the_model_is_refused(rich: Panel, make_panel: Panels) -> None:
    bare = make_panel({"a": rng().normal(size=60)})
    with pytest.raises(TrainError, match=r"CHANNELS.*stock"):
        PanelFeed(bare, input_spec(rich, RECIPE), fit_scaling(rich), rich.meta)


def test_a_panel_may_have_other_columns_in_any_order(rich: Panel) -> None:
    spec, scaling = input_spec(rich, RECIPE), fit_scaling(rich)
    order, extra = [0, 3, 4, 2, 1], np.full((len(rich.values), 1), 7.0, np.float32)
    have = [rich.meta.channels[i] for i in order]
    # a model finds a column by its name and type: whether it is known ahead is the model's to say
    channels = [have[0], Channel("new", "future"), *(replace(c, role="past") for c in have[1:])]
    static = [Channel("stock", "static"), *rich.meta.static[::-1]]
    wide = Panel(
        np.concatenate([rich.values[:, :1], extra, rich.values[:, order[1:]]], 1),
        rich.observed,
        rich.indptr,
        rich.series.assign(stock=1.0),
        replace(rich.meta, channels=channels, static=static),
    )
    windows = Windows(np.arange(3), np.array([40, 30, 50]))
    own, others = (PanelFeed(p, spec, scaling, rich.meta).batch(windows) for p in (rich, wide))
    assert all(torch.equal(a, b) for a, b in zip(own, others, strict=True))


def test_a_column_of_numbers_is_not_taken_for_one_of_names(rich: Panel) -> None:
    channels = [replace(c, categories=None) for c in rich.meta.channels]
    other = replace(rich, meta=replace(rich.meta, channels=channels))
    with pytest.raises(TrainError, match=r"CHANNELS.*state \(past, categorical\), event"):
        PanelFeed(other, input_spec(rich, RECIPE), fit_scaling(rich), rich.meta)


def test_another_target_is_refused(rich: Panel) -> None:
    channels = [replace(rich.meta.channels[0], name="returns"), *rich.meta.channels[1:]]
    other = replace(rich, meta=replace(rich.meta, channels=channels))
    with pytest.raises(TrainError, match=r"CHANNELS.*y \(target\)"):
        PanelFeed(other, input_spec(rich, RECIPE), fit_scaling(rich), rich.meta)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 500), step=st.integers(0, 5000))
def test_a_draw_is_a_pure_function_of_seed_epoch_and_step(
    seed: int, epoch: int, step: int, rich: Panel
) -> None:
    spec = input_spec(rich, RECIPE)
    first, second = (TrainingWindows(rich, spec, 16, seed) for _ in range(2))
    first.draw(epoch + 1, step)  # an earlier draw leaves no trace
    a, b = first.draw(epoch, step), second.draw(epoch, step)
    np.testing.assert_array_equal(a.series, b.series)
    np.testing.assert_array_equal(a.origin, b.origin)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), step=st.integers(0, 5000), data=st.data())
def test_processes_share_the_draw_of_one(
    seed: int, step: int, data: st.DataObject, rich: Panel
) -> None:
    """Rank r of n draws windows r, r + n, r + 2n, … of those one process would have drawn."""
    spec, size = input_spec(rich, RECIPE), data.draw(st.integers(1, 40))
    world = data.draw(st.integers(1, size))
    whole = TrainingWindows(rich, spec, size, seed).draw(1, step)
    series, origin = np.full(size, -1), np.full(size, -1)
    for rank in range(world):
        part = TrainingWindows(rich, spec, size, seed, rank, world).draw(1, step)
        assert len(part)
        assert (series[rank::world] == -1).all()
        series[rank::world], origin[rank::world] = part.series, part.origin
    np.testing.assert_array_equal(series, whole.series)
    np.testing.assert_array_equal(origin, whole.origin)


@pytest.mark.parametrize("other", [(1, 0, 1), (1, 1, 0), (2, 0, 0)])
def test_another_seed_epoch_or_step_draws_other_windows(
    other: tuple[int, int, int], rich: Panel
) -> None:
    spec = input_spec(rich, RECIPE)
    draws = []
    for seed, epoch, step in ((1, 0, 0), other):
        draws.append(TrainingWindows(rich, spec, 32, seed).draw(epoch, step).origin)
    assert not np.array_equal(*draws)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), missing=st.sampled_from([0.0, 0.5, 0.9]))
def test_every_draw_has_a_known_target_before_the_end_of_training(
    seed: int, missing: float, make_panel: Panels
) -> None:
    r = rng(seed)
    series: dict[str, Any] = {}
    for name, n in (("a", 80), ("b", 80), ("c", 50)):
        values = r.normal(size=n)
        values[r.random(n) < missing] = NAN
        values[:2] = values[-1] = 1.0
        series[name] = values
    panel = make_panel(series, begin={"c": 20}, feasible=False)
    spec = input_spec(panel, RECIPE)
    drawn = TrainingWindows(panel, spec, 32, seed).draw(0, 0)
    train_end = panel.split_points[0][drawn.series]
    assert (drawn.origin >= 1).all()
    assert (drawn.origin < train_end).all()
    for s, o, end in zip(drawn.series, drawn.origin, train_end, strict=True):
        begin = panel.indptr[s]
        ahead = panel.observed[begin + o : begin + min(o + spec.horizon, end)]
        assert ahead.any()


def test_a_series_known_only_at_its_beginning_gives_windows_with_a_known_target(
    make_panel: Panels,
) -> None:
    """Its known targets lie within the first window of look-back: origins there are all there is."""
    values = np.full(80, NAN)
    values[:6] = rng().normal(size=6)
    values[60:] = rng().normal(size=20)
    panel = make_panel({"a": values}, feasible=False)
    spec = input_spec(panel, RECIPE)
    drawn = TrainingWindows(panel, spec, 16, 1).draw(0, 0)
    train_end = int(panel.split_points[0][0])
    known = [panel.observed[o : min(o + spec.horizon, train_end)].any() for o in drawn.origin]
    assert all(known)


def test_draws_have_a_whole_window_of_history_where_there_is_one(rich: Panel) -> None:
    spec = input_spec(rich, RECIPE)
    drawn = TrainingWindows(rich, spec, 256, 1).draw(0, 0)
    assert drawn.origin.min() >= spec.context_length


def test_draws_reach_every_series_and_the_last_training_row(rich: Panel) -> None:
    windows = TrainingWindows(rich, input_spec(rich, RECIPE), 4096, 1)
    drawn = windows.draw(0, 0)
    for s in range(3):
        origins = drawn.origin[drawn.series == s]
        end = int(rich.split_points[0][s])
        last = max(
            o
            for o in range(1, end)
            if rich.observed[rich.indptr[s] + o : rich.indptr[s] + end][:3].any()
        )
        assert origins.max() == last


def test_a_panel_without_a_training_target_is_refused(make_panel: Panels) -> None:
    values = np.full(60, NAN)
    values[0], values[50:] = 1.0, 2.0
    panel = make_panel({"a": values}, feasible=False)
    with pytest.raises(TrainError, match="NO-WINDOW"):
        TrainingWindows(panel, input_spec(panel, RECIPE), 8, 1)


def test_training_windows_at_the_split_keep_their_origin_and_mask_what_lies_beyond(
    make_panel: Panels,
) -> None:
    panel = make_panel({"a": rng().normal(50, 9, 60)})
    feed, end = feed_of(panel), panel.split_points[0]
    batch = feed.batch(Windows(np.array([0]), end - 1), end)
    assert batch.mask[0, feed.spec.lookback :].tolist() == [1.0, 0.0, 0.0]


def test_validation_windows_are_thinned_evenly(make_panel: Panels) -> None:
    series = {f"s{i:02d}": rng(i).normal(size=100) for i in range(20)}
    panel = make_panel(series, horizon=2, splits=Splits(by="time", validation=0.4, test=0.2))
    whole = rolling_origins(panel, "validation")
    thin = validation_windows(panel, 30)
    assert len(whole) > 60
    assert 15 <= len(thin) <= 30
    assert len(np.unique(thin.series)) > 10


def test_validation_windows_without_any_history_are_left_out(make_panel: Panels) -> None:
    panel = make_panel(
        {"a": rng().normal(size=100), "late": rng().normal(size=30)}, begin={"late": 70}
    )
    windows = validation_windows(panel, 10_000)
    known = [
        panel.observed[panel.indptr[s] : panel.indptr[s] + o].any()
        for s, o in zip(windows.series, windows.origin, strict=True)
    ]
    assert all(known)
    assert len(windows)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 40), n=st.integers(1, 30))
def test_batches_are_the_windows_in_order(size: int, n: int, rich: Panel) -> None:
    feed, r = feed_of(rich), rng(n)
    windows = Windows(r.integers(0, 3, n), r.integers(1, 40, n))
    limit = np.array([30, 20, 35])
    parts = list(batches(feed, windows, limit, size))
    whole = feed.batch(windows, limit[windows.series])
    assert all(len(p.target) == size for p in parts[:-1])
    assert torch.equal(torch.cat([p.target for p in parts]), whole.target)
    assert torch.equal(torch.cat([p.mask for p in parts]), whole.mask)


def test_an_event_that_nobody_names_is_an_error_that_says_where_to_write_it(rich: Panel) -> None:
    with pytest.raises(ConfigError, match=r"under `task` in conf/source/tiny\.yaml") as caught:
        input_spec(rich, model_of(head="event"))
    assert caught.value.code == "EVENT"
    with pytest.raises(ConfigError, match="does not say which event"):
        input_spec(
            rich, model_of(kind="ensemble", head="event", members=[{}, {"kind": "logistic"}])
        )


def test_a_batch_fits_the_spec_of_its_model(demo_panel: Panel) -> None:
    from gatecast.models.build import build

    for recipe in (model_of(hidden_size=4), model_of(kind="linear")):
        spec: InputSpec = input_spec(demo_panel, recipe)
        feed = PanelFeed(demo_panel, spec, fit_scaling(demo_panel), demo_panel.meta)
        windows = rolling_origins(demo_panel, "test")
        out = build(recipe, spec).eval().quantiles(feed.batch(windows))
        assert out.shape == (len(windows), 24, 11)
        assert out.isfinite().all()


@pytest.mark.parametrize(
    ("least", "normalisation", "logs"),
    [
        (-5.0, "level", False),
        (0.0, "level", False),
        (1.0, "level", False),
        (40.0, "seasonal", True),
    ],
)
def test_changes_are_taken_as_relative_where_values_stay_well_above_zero(
    make_panel: Panels, least: float, normalisation: str, logs: bool
) -> None:
    rng = np.random.default_rng(0)
    y = rng.uniform(90, 110, 60)
    y[10] = least
    spec = input_spec(make_panel({"a": y, "b": y}), model_of(normalisation="auto"))
    assert spec.normalisation == normalisation
    assert (spec.log_floor == pytest.approx(least / 2)) if logs else (spec.log_floor == 0)


def test_negative_values_are_never_logged(make_panel: Panels) -> None:
    y = -np.random.default_rng(0).uniform(90, 110, 60)
    spec = input_spec(make_panel({"a": y}), model_of(normalisation="seasonal"))
    assert spec.log_floor == 0


def test_a_negative_value_is_no_count(make_panel: Panels) -> None:
    counts = model_of(head="negative_binomial", normalisation="mean")
    values = np.arange(40.0)
    assert input_spec(make_panel({"a": values}), counts).normalisation == "mean"
    with pytest.raises(TrainError, match="COUNTS"):
        input_spec(make_panel({"a": values - 1}), counts)


@pytest.mark.parametrize(
    ("shift", "recipe", "mirror"),
    [
        (0.0, model_of(), True),
        (0.0, model_of(augment_sign="never"), False),
        (1.9, model_of(), False),  # one value in forty
        (100.0, model_of(), False),
    ],
)
def test_sequences_are_mirrored_only_where_targets_take_both_signs(
    make_panel: Panels, shift: float, recipe: Model, mirror: bool
) -> None:
    y = np.tile(np.linspace(-2.0, 2.0, 40), 4) + shift
    assert input_spec(make_panel({"a": y}), recipe).augment_sign is mirror


def test_sequences_that_something_measured_goes_with_are_not_mirrored(make_panel: Panels) -> None:
    y = np.random.default_rng(0).normal(size=60)
    beside = make_panel({"a": y}, {"price": {"a": y}}, covariates=Covariates(past=["price"]))
    assert not input_spec(beside, model_of()).augment_sign


EXPERTS = {"decoder": "experts"}


def test_experts_with_more_weights_than_values_have_no_place(make_panel: Panels) -> None:
    y = np.random.default_rng(0).normal(size=400)
    recipe = model_of(
        kind="ensemble", n_steps=2, n_origins=1, members=[EXPERTS, {}, {"kind": "linear"}]
    )
    near = input_spec(make_panel({"a": y}, horizon=3), recipe)
    far = input_spec(make_panel({"a": y}, horizon=24), recipe)
    assert [member is None for member in near.members] == [False, False, False]
    assert [member is None for member in far.members] == [True, False, False]
    assert InputSpec.from_json(json.loads(json.dumps(far.to_json()))) == far


def test_experts_stay_where_nobody_else_is(make_panel: Panels) -> None:
    y = np.random.default_rng(0).normal(size=400)
    recipe = model_of(
        kind="ensemble",
        n_steps=2,
        n_origins=1,
        members=[EXPERTS, {**EXPERTS, "context_multiple": 2}],
    )
    assert None not in input_spec(make_panel({"a": y}, horizon=24), recipe).members


def test_the_volume_of_a_panel_is_its_mean_magnitude_in_training(make_panel: Panels) -> None:
    y = np.r_[np.tile([-3.0, 1.0], 30), np.full(40, 1000.0)]
    panel = make_panel({"a": y})
    trained = y[: panel.split_points[0][0]]
    assert input_spec(panel, model_of(series_weight="volume")).volume == pytest.approx(
        np.abs(trained).mean()
    )
    assert input_spec(panel, model_of()).volume == 0


def test_a_closed_form_beside_experts_keeps_its_place(make_panel: Panels) -> None:
    """What stands beside `members` is for nets: the ridge is regularised and fits any horizon."""
    y = np.random.default_rng(0).normal(size=400)
    members = [{}, {"decoder": "direct"}, {"kind": "linear"}]
    recipe = model_of(kind="ensemble", n_steps=2, n_origins=1, decoder="experts", members=members)
    far = input_spec(make_panel({"a": y}, horizon=24), recipe)
    assert [member is None for member in far.members] == [True, False, False]


def test_an_event_is_not_trained_upside_down(make_panel: Panels) -> None:
    panel = make_panel({"a": np.random.default_rng(0).normal(size=60)})
    assert input_spec(panel, model_of()).augment_sign
    assert not input_spec(panel, model_of(head="event", event={"above": 1.0})).augment_sign
