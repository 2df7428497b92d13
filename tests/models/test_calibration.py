"""Calibrated intervals: coverage on exchangeable data, and what calibration must not change."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.models.build import build
from gatecast.models.calibration import factors, stretch
from gatecast.models.inputs import Batch, InputSpec
from tests.recipes import model_of

H, Q = 3, len(QUANTILES)


def told(n: int, sharpness: float) -> Tensor:
    """(n, H, Q) normal quantiles around 10 whose spread is that of the truth times ``sharpness``."""
    return torch.tensor(10 + sharpness * norm.ppf(QUANTILES)).expand(n, H, Q)


def truth(n: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(10, 1, (n, H)))


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_every_level_holds_as_often_as_it_says(sharpness: float) -> None:
    held_out = told(4000, sharpness), truth(4000, 1), torch.ones(4000, H)
    found = stretch(told(4000, sharpness), factors([held_out], H))
    below = (truth(4000, 2).unsqueeze(-1) <= found).double().mean(0)  # (H, Q)
    np.testing.assert_allclose(below, [QUANTILES] * H, atol=0.03)


def test_a_factor_is_the_conformal_rank_of_the_scaled_residuals() -> None:
    """With 9 residuals the 0.8 level takes the ceil(10 x 0.8) = 8th."""
    residual = torch.arange(1.0, 10.0)
    quantiles = torch.linspace(-1, 1, Q).expand(9, 1, Q).double()  # the level 0.8 lies at 0.6
    found = factors([(quantiles, residual.unsqueeze(1) / 5, torch.ones(9, 1))], 1)
    assert found[0, QUANTILES.index(0.8)] == pytest.approx(8 / 5 / 0.6)


def test_the_rank_counts_the_window_that_is_to_come() -> None:
    """With 10 residuals the 0.8 level takes the ceil(11 x 0.8) = 9th, not the ceil(10 x 0.8) = 8th."""
    residual = torch.arange(1.0, 11.0)
    quantiles = torch.linspace(-1, 1, Q).expand(10, 1, Q).double()  # the level 0.8 lies at 0.6
    found = factors([(quantiles, residual.unsqueeze(1) / 5, torch.ones(10, 1))], 1)
    assert found[0, QUANTILES.index(0.8)] == pytest.approx(9 / 5 / 0.6)


def test_unknown_targets_do_not_count() -> None:
    quantiles, y = told(1000, 0.5), truth(1000, 1)
    known = torch.ones(1000, H)
    known[500:] = 0
    spoiled = y.masked_fill(known == 0, 1e6)
    alone = factors([(quantiles[:500], y[:500], known[:500])], H)
    assert torch.equal(factors([(quantiles, spoiled, known)], H), alone)


def test_several_batches_are_one_sample_for_the_factors() -> None:
    quantiles, y, known = told(900, 0.5), truth(900, 1), torch.ones(900, H)
    parts = [(quantiles[a:b], y[a:b], known[a:b]) for a, b in pairwise([0, 100, 101, 900])]
    assert torch.equal(factors(parts, H), factors([(quantiles, y, known)], H))


def test_few_windows_share_their_residuals_among_the_steps() -> None:
    found = factors([(told(50, 0.5), truth(50, 1), torch.ones(50, H))], H)
    assert (found == found[0]).all()
    many = factors([(told(8000, 0.5), truth(8000, 1), torch.ones(8000, H))], H)
    assert not (many == many[0]).all()


@pytest.mark.parametrize("batches", [[], [(told(5, 1.0), truth(5, 1), torch.zeros(5, H))]])
def test_without_a_known_target_nothing_changes(batches: list[tuple[Tensor, ...]]) -> None:
    found = factors(batches, H)  # type: ignore[arg-type]
    assert (found == 1).all()
    assert torch.equal(stretch(told(4, 1.0), found), told(4, 1.0))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_quantiles_stay_in_order_and_the_median_where_it_is(seed: int, nonnegative: bool) -> None:
    rng = np.random.default_rng(seed)
    quantiles = torch.from_numpy(np.sort(rng.normal(3, 2, (5, H, Q)), -1)).abs().sort(-1).values
    out = stretch(quantiles, torch.from_numpy(rng.uniform(0.25, 4, (H, Q))), nonnegative)
    assert (out.diff(dim=-1) >= 0).all()
    assert torch.equal(out[..., MEDIAN], quantiles[..., MEDIAN])
    assert not nonnegative or (out >= 0).all()


@pytest.mark.parametrize("kind", ["recurrent", "linear", "ensemble"])
def test_every_kind_serves_calibrated_quantiles(
    kind: str, make_spec: Callable[..., InputSpec], make_batch: Callable[..., Batch]
) -> None:
    recipe = model_of(kind=kind, **({"members": [{}]} if kind == "ensemble" else {}))
    spec = make_spec()
    if kind == "linear":
        spec = make_spec(stride=1, n_steps=1, n_origins=1)
    if kind == "ensemble":
        spec = InputSpec(**{**spec.to_json(), "members": [spec]})
    net, batch = build(recipe, spec).eval(), make_batch(spec, 6)
    before = net.quantiles(batch)  # type: ignore[operator]
    net.calibration.fill_(2.0)  # type: ignore[union-attr, operator]
    after = net.quantiles(batch)  # type: ignore[operator]
    median = before[..., [MEDIAN]]
    wider = median + 2 * (before - median)
    torch.testing.assert_close(after, wider.clamp_min(0) if spec.nonnegative else wider)
