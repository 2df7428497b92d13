"""Scaling a window by what could be seen of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gatecast.models.inputs import InputSpec
from gatecast.models.normalisation import (
    FLOOR,
    frame,
    from_space,
    location_scale,
    normalise,
    seasonal_fill,
    to_space,
    trailing_sum,
    widths,
)

WIDTH = 12
NUMBERS = st.floats(-1e4, 1e4, width=32).map(lambda v: float(np.float32(v)))


def scaling(x: list[float], mask: list[float]) -> tuple[float, float]:
    location, scale = location_scale(torch.tensor([x]), torch.tensor([mask]), len(x), 1)
    return location.item(), scale.item()


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float32, WIDTH, elements=NUMBERS),
    hnp.arrays(np.bool_, WIDTH),
)
def test_location_and_scale_are_mean_and_spread_of_the_known_values(
    x: np.ndarray, known: np.ndarray
) -> None:
    location, scale = scaling(x.tolist(), known.astype(float).tolist())
    values = x[known].astype(np.float64)
    mean = values.mean() if len(values) else 0.0
    spread = max(values.std(), FLOOR * np.abs(values).mean()) if len(values) else 0.0
    assert location == pytest.approx(mean, rel=1e-4, abs=1e-2)
    assert scale == pytest.approx(spread or 1.0, rel=1e-3, abs=1e-2)


def test_a_window_of_zeros_has_scale_one() -> None:
    assert scaling([0.0] * 4, [1.0] * 4) == (0.0, 1.0)


def test_a_window_of_unknowns_has_location_zero_and_scale_one() -> None:
    assert scaling([7.0] * 4, [0.0] * 4) == (0.0, 1.0)


def test_a_constant_window_has_a_twentieth_of_its_magnitude_as_scale() -> None:
    assert scaling([-40.0] * 4, [1.0] * 4) == pytest.approx((-40.0, 2.0))


def test_one_known_value_is_the_location() -> None:
    assert scaling([0.0, 8.0, 0.0], [0.0, 1.0, 0.0]) == pytest.approx((8.0, 0.4))


@pytest.mark.parametrize("content", [-1e6, float("nan"), float("inf")])
def test_what_lies_under_the_mask_is_irrelevant(content: float) -> None:
    mask = [1.0, 0.0, 1.0, 1.0]
    assert scaling([1.0, content, 5.0, 9.0], mask) == scaling([1.0, 0.0, 5.0, 9.0], mask)


def test_values_of_extreme_magnitude_keep_a_finite_scale() -> None:
    """The contract of observations lets every float32 pass, e.g. token amounts of 1e21."""
    location, scale = location_scale(torch.tensor([[1e21, 3e21]]), torch.ones(1, 2), 2, 1)
    assert location.item() == pytest.approx(2e21)
    assert scale.item() == pytest.approx(1e21)


def test_unknown_values_are_normalised_to_the_location_itself() -> None:
    out = normalise(
        torch.tensor([6.0, 99.0]),
        torch.tensor([1.0, 0.0]),
        torch.tensor([2.0]),
        torch.tensor([2.0]),
    )
    assert out.tolist() == [2.0, 0.0]


def test_normalised_values_are_limited() -> None:
    x = torch.tensor([1e9, -1e9, 3.0])
    out = normalise(x, torch.ones(3), torch.zeros(1), torch.ones(1), limit=4.0)
    assert out.tolist() == [4.0, -4.0, 3.0]


@settings(max_examples=25, deadline=None)
@given(st.integers(-20, 20))
def test_normalised_windows_do_not_depend_on_the_unit(power: int) -> None:
    x = torch.tensor([[3.0, -1.0, 4.0, 1.0, 5.0]])
    mask = torch.ones_like(x)
    scaled = x * 2.0**power
    here, there = (
        normalise(v, mask, *(part[:, 0] for part in location_scale(v, mask, 5, 1)))
        for v in (x, scaled)
    )
    assert torch.allclose(here, there, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 7), st.integers(0, 15))
def test_trailing_sums_are_those_of_every_window(window: int, stride: int, more: int) -> None:
    x = torch.arange(1.0, window + more + 1).repeat(2, 1)
    expected = x.unfold(1, window, stride).sum(-1)
    assert torch.equal(trailing_sum(x, window, stride), expected)


def test_location_and_scale_of_trailing_windows_are_those_of_each_window_alone() -> None:
    torch.manual_seed(0)
    x, mask = 100 + torch.randn(3, 20), (torch.rand(3, 20) > 0.3).float()
    location, scale = location_scale(x, mask, 8, 3)
    assert location.shape == (3, 5, 1)
    for t in range(5):
        part = slice(3 * t, 3 * t + 8)
        alone = location_scale(x[:, part], mask[:, part], 8, 1)
        assert torch.allclose(location[:, t], alone[0][:, 0], rtol=1e-6)
        assert torch.allclose(scale[:, t], alone[1][:, 0], rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.bool_, st.integers(1, 30)), st.integers(1, 6))
def test_an_unknown_row_is_filled_from_the_newest_known_season(
    known: np.ndarray, season: int
) -> None:
    x = np.arange(100.0, 100 + len(known), dtype=np.float32)
    values, have = seasonal_fill(torch.tensor(x)[None], torch.tensor(known)[None], season)
    for row in range(len(known)):
        source = next((r for r in range(row, -1, -season) if known[r]), None)
        assert have[0, row].item() == (source is not None)
        if source is not None:
            assert values[0, row].item() == x[source]


def seasonal_spec(log_floor: float) -> InputSpec:
    return InputSpec(6, 4, 12, 4, 3, 2, normalisation="seasonal", log_floor=log_floor)


@pytest.mark.parametrize("log_floor", [0.0, 0.5])
def test_a_seasonal_frame_by_hand(log_floor: float) -> None:
    """Base is the last season, unit the mean change from season to season, in the space of the target."""
    spec = seasonal_spec(log_floor)
    rng = np.random.default_rng(0)
    y = rng.uniform(5, 50, spec.lookback).astype(np.float32)
    mask = torch.ones(1, spec.lookback)
    got = frame(torch.tensor(y)[None], mask, spec, 2)
    z = np.log(y) if log_floor else y
    for fork, origin in enumerate((spec.lookback - 4, spec.lookback)):
        window = z[origin - 12 : origin].astype(np.float64)
        change = window[4:] - window[:-4]
        level = 1.0 if log_floor else np.abs(window).mean()
        unit = np.abs(change).mean() + 1e-4 * level
        np.testing.assert_allclose(got.unit[0, fork, 0], unit, rtol=1e-4)
        np.testing.assert_allclose(got.x[0, fork], (change / unit).clip(-8, 8), rtol=1e-3)
        np.testing.assert_allclose(got.base[0, fork], np.resize(window[-4:], 6), rtol=1e-5)
    assert got.inputs.shape == (1, 3, widths(spec)[1])
    assert got.x.shape == (1, 2, widths(spec)[0])


def test_a_phase_that_was_never_seen_starts_from_the_mean_of_the_window() -> None:
    spec = seasonal_spec(0.0)
    target = torch.arange(1.0, spec.lookback + 1).unsqueeze(0)
    mask = torch.ones(1, spec.lookback)
    mask[:, 2::4] = 0
    got = frame(target, mask, spec, 1)
    known = [v for row, v in enumerate(target[0].tolist()) if row >= 8 and row % 4 != 2]
    assert got.base[0, 0, 2].item() == pytest.approx(np.mean(known))
    assert got.base[0, 0, 1].item() == 18.0


@pytest.mark.parametrize("log_floor", [0.0, 0.5])
def test_targets_come_back_from_the_space_in_which_errors_are_measured(log_floor: float) -> None:
    y = torch.tensor([0.5, 1.0, 300.0])
    spec = seasonal_spec(log_floor)
    assert torch.allclose(from_space(to_space(y, spec), spec), y)


@pytest.mark.parametrize("normalisation", ["level", "seasonal", "mean"])
@pytest.mark.parametrize("known", [0, 1, 20], ids=lambda n: f"{n} known")
def test_a_constant_window_has_a_finite_gradient(normalisation: str, known: int) -> None:
    """Also of a series that has just begun, whose earlier windows know nothing or one value."""
    spec = replace(seasonal_spec(0.0), normalisation=normalisation)
    mask = torch.zeros(1, spec.lookback)
    mask[:, spec.lookback - known :] = 1
    target = (7 * mask).requires_grad_()
    got = frame(target, mask, spec, 2)
    sum(part.sum() for part in got).backward()  # type: ignore[union-attr]
    assert target.grad is not None
    assert target.grad.isfinite().all()
