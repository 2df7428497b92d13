"""Logistic regression of an event: the weights of scikit-learn, and nothing that lies after the origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from gatecast.models.events import labels
from gatecast.models.inputs import Batch, InputSpec
from gatecast.models.logistic import LogisticForecaster, fit, regress
from tests.recipes import model_of

Specs = Callable[..., InputSpec]
Batches = Callable[..., Batch]


def a_spec(make_spec: Specs, side: str = "above", **changes: object) -> InputSpec:
    base = {"context_length": 20, "stride": 1, "n_steps": 1, "n_origins": 1, "event": {side: 21.0}}
    return make_spec(**(base | changes))


def net_of(spec: InputSpec) -> LogisticForecaster:
    return LogisticForecaster(model_of(kind="logistic", head="event"), spec).eval()


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 0.1])
def test_weights_are_those_of_scikit_learn(penalty: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)) @ np.array([[1, 0.9, 0], [0, 0.4, 0], [0, 0, 1.0]])
    odds = np.stack([-2 * x[:, 0] + x[:, 1] + 1, x[:, 2]], 1)
    y = (rng.random((300, 2)) < 1 / (1 + np.exp(odds))).astype(float)
    known = rng.random((300, 2)) < 0.8
    got = regress(*(torch.tensor(a).float() for a in (x, y, known)), penalty).numpy()
    for k in (0, 1):
        reference = LogisticRegression(C=1 / (300 * penalty), tol=1e-10, max_iter=1000)
        reference.fit(x[known[:, k]], y[known[:, k], k])
        np.testing.assert_allclose(got[:-1, k], reference.coef_[0], atol=2e-3)
        assert got[-1, k] == pytest.approx(reference.intercept_[0], abs=2e-3)


@pytest.mark.parametrize("label", [0.0, 1.0])
@pytest.mark.parametrize("known", [0.0, 1.0])
def test_one_class_alone_gives_finite_weights(label: float, known: float) -> None:
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    weights = regress(x, torch.full((20, 1), label), torch.full((20, 1), known), 1e-3)
    assert weights.isfinite().all()


def fitted(spec: InputSpec, batch: Batch) -> LogisticForecaster:
    net = net_of(spec)
    scores = fit(net, lambda: [batch], lambda: [batch], [1e-3, 1e-1])
    assert min(scores, key=lambda k: scores[k]) == 1e-3  # scored on what it was fitted to
    return net


@pytest.mark.parametrize("side", ["above", "below"])
def test_an_event_is_learnt_from_the_past_and_from_what_is_known_ahead(
    side: str, make_spec: Specs, make_batch: Batches
) -> None:
    spec = a_spec(make_spec, side)
    batch = make_batch(spec, n=400, missing=0.1)
    level = batch.target[:, : spec.context_length].mean(1, True) + 8 * batch.known[..., :1].mean(1)
    y = level.expand(-1, spec.horizon) * batch.mask[:, spec.context_length :]
    batch = batch._replace(target=torch.cat([batch.target[:, : spec.context_length], y], 1))
    p = fitted(spec, batch).probabilities(batch)
    label, sure = labels(y, batch.mask[:, spec.context_length :], spec.event)
    error = ((p - label).square() * sure).sum() / sure.sum()
    share = (label * sure).sum() / sure.sum()
    assert error < 0.3 * share * (1 - share)
    assert (p.diff(dim=-1) >= 0).all()


def test_nothing_after_the_origin_and_nothing_under_the_mask_is_seen(
    make_spec: Specs, make_batch: Batches
) -> None:
    spec = a_spec(make_spec)
    batch = make_batch(spec, n=60, missing=0.3)
    net = fitted(spec, batch)
    hidden = batch.mask.clone()
    hidden[:, spec.context_length :] = 0
    past = batch.past.clone()
    past[:, spec.context_length :] = 7.0
    other = batch._replace(
        target=torch.where(hidden > 0, batch.target, 1e6), mask=hidden, past=past
    )
    assert torch.equal(net.probabilities(batch), net.probabilities(other))


@pytest.mark.parametrize(
    "changes",
    [
        {"season_length": 1, "context_length": 8},
        {"season_length": 30, "context_length": 30},
        {"horizon": 1},
        {"n_past": 0, "n_static": 0, "past_cards": [], "known_cards": [], "static_cards": []},
        {"n_known": 0, "n_calendar": 0, "known_cards": []},
    ],
    ids=str,
)
def test_every_panel_has_inputs(
    changes: dict[str, object], make_spec: Specs, make_batch: Batches
) -> None:
    spec = a_spec(make_spec, **changes)
    p = net_of(spec).probabilities(make_batch(spec, missing=1.0))
    assert torch.equal(p, torch.full((3, spec.horizon), 0.5))


def test_a_higher_threshold_moves_no_other_input_than_the_share_beyond_it(
    make_spec: Specs, make_batch: Batches
) -> None:
    spec = a_spec(make_spec)
    low, high = net_of(spec), net_of(replace(spec, event={"above": 25.0}))
    batch = make_batch(spec)
    differ = (low.inputs(batch) != high.inputs(batch)).any(0)
    assert 0 < differ.sum() <= len(low.spans)
