"""Scaling a window by what could be seen of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gatecast.models.normalisation import FLOOR, location_scale, normalise

WIDTH = 12
NUMBERS = st.floats(-1e4, 1e4, width=32).map(lambda v: float(np.float32(v)))


def scaling(x: list[float], mask: list[float]) -> tuple[float, float]:
    location, scale = location_scale(torch.tensor([x]), torch.tensor([mask]))
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
    location, scale = location_scale(torch.tensor([[1e21, 3e21]]), torch.ones(1, 2))
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
    here, there = (normalise(v, mask, *location_scale(v, mask)) for v in (x, scaled))
    assert torch.allclose(here, there, atol=1e-6)
