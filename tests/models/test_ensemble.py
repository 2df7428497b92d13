"""The ensemble: members of several look-backs, their plain mean, and the veto."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from gatecast.models.build import build
from gatecast.models.ensemble import EnsembleForecaster, veto
from gatecast.models.events import labels
from gatecast.models.inputs import Batch, InputSpec
from tests.recipes import model_of

Specs = Callable[..., InputSpec]
Batches = Callable[..., Batch]
RECIPE = model_of(
    kind="ensemble", hidden_size=8, members=[{}, {"decoder": "experts"}, {"kind": "linear"}]
)


@pytest.fixture
def spec(make_spec: Specs) -> InputSpec:
    """Three members; the second looks back furthest."""
    short, long = make_spec(), make_spec(context_length=12)
    closed = make_spec(context_length=16, stride=1, n_steps=1, n_origins=1)
    return replace(long, members=[short, long, closed])


@pytest.fixture
def net(spec: InputSpec) -> EnsembleForecaster:
    torch.manual_seed(0)
    built = build(RECIPE, spec).eval()
    assert isinstance(built, EnsembleForecaster)
    return built


def test_every_member_sees_its_own_look_back(
    net: EnsembleForecaster, spec: InputSpec, make_batch: Batches
) -> None:
    batch = make_batch(spec)
    for k, (member, sizes) in enumerate(zip(net.members, spec.members, strict=True)):
        rows = sizes.lookback + sizes.horizon
        alone = Batch(*(v[:, -rows:] if v.ndim > 1 and v.shape[1] > rows else v for v in batch))
        assert torch.equal(net.each(batch, [k])[0], member.quantiles(alone))  # type: ignore[operator]


def test_the_forecast_is_the_mean_of_the_members_that_count(
    net: EnsembleForecaster, spec: InputSpec, make_batch: Batches
) -> None:
    batch = make_batch(spec)
    each = net.each(batch, [0, 1, 2])
    assert torch.allclose(net.quantiles(batch), each.mean(0))
    net.counts[1] = False
    assert torch.allclose(net.quantiles(batch), (each[0] + each[2]) / 2)


@pytest.mark.parametrize(
    ("off", "counts"),
    [
        ((1.0, -0.9, 3.0), [True, True, False]),  # errors that cancel are worth having
        (
            (1.0, 1.001, 1.002),
            [True, True, True],
        ),  # less than half a hundredth is not worth a change
        ((1.0, 1.3, 1.5), [True, False, False]),  # nothing cancels: the best alone
    ],
)
def test_a_recipe_without_which_the_mean_is_better_is_left_out(
    off: tuple[float, ...],
    counts: list[bool],
    net: EnsembleForecaster,
    spec: InputSpec,
    make_batch: Batches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = make_batch(spec, missing=0.2)
    actual = batch.target[:, spec.lookback :].unsqueeze(-1).expand(-1, -1, 11)
    monkeypatch.setattr(net, "each", lambda *_: torch.stack([actual + error for error in off]))
    errors, together = veto(net, [batch, batch], np.arange(2 * len(batch.target)))
    assert net.counts.tolist() == counts
    assert errors[1] / errors[0] == pytest.approx(abs(off[1] / off[0]), rel=1e-4)
    mean = sum(error for error, kept in zip(off, counts, strict=True) if kept) / sum(counts)
    assert together / errors[0] == pytest.approx(abs(mean / off[0]), rel=1e-3)


def test_seeds_of_a_recipe_stay_or_go_together(
    spec: InputSpec, make_batch: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = model_of(kind="ensemble", hidden_size=8, members=[{"n_seeds": 2}, {"kind": "linear"}])
    short, _, closed = spec.members
    net = build(recipe, replace(spec, members=[short, short, closed]))
    assert isinstance(net, EnsembleForecaster)
    batch = make_batch(spec)
    actual = batch.target[:, spec.lookback :].unsqueeze(-1).expand(-1, -1, 11)
    each = torch.stack([actual + 1.0, actual + 3.0, actual + 0.5])
    monkeypatch.setattr(net, "each", lambda *_: each)
    veto(net, [batch], np.arange(len(batch.target)))
    assert net.counts.tolist() == [False, False, True]


def test_each_recipe_counts_alike_however_many_seeds_it_has(
    spec: InputSpec, make_batch: Batches
) -> None:
    recipe = model_of(
        kind="ensemble", hidden_size=8, members=[{"n_seeds": 2}, {"decoder": "experts"}]
    )
    short, long, _ = spec.members
    net = build(recipe, replace(spec, members=[short, short, long])).eval()
    assert isinstance(net, EnsembleForecaster)
    batch = make_batch(spec)
    one, other, alone = net.each(batch, [0, 1, 2])
    expected = ((one + other) / 2 + alone) / 2
    torch.testing.assert_close(net.quantiles(batch), expected)


@pytest.fixture
def event_spec(make_spec: Specs) -> InputSpec:
    """A net and logistic regression."""
    net = make_spec(event={"above": 21.0})
    return replace(
        net, members=[net, replace(net, context_length=24, stride=1, n_steps=1, n_origins=1)]
    )


def test_of_an_event_it_is_the_mean_of_probabilities(
    event_spec: InputSpec, make_batch: Batches
) -> None:
    recipe = model_of(
        kind="ensemble", head="event", hidden_size=8, members=[{}, {"kind": "logistic"}]
    )
    net, batch = build(recipe, event_spec).eval(), make_batch(event_spec)
    assert isinstance(net, EnsembleForecaster)
    own = net.members[0].probabilities(batch)  # type: ignore[operator]
    assert torch.allclose(net.probabilities(batch), (own + 0.5) / 2)  # the other is not fitted


@pytest.mark.parametrize(
    ("how", "counts"),
    [
        (lambda off: 0.36 - off, [True, True]),  # worse alone, but wrong where the other is right
        (lambda off: 2 * off, [True, False]),
        (lambda off: off * torch.nan, [True, False]),
    ],
    ids=["complement", "same errors", "not finite"],
)
def test_of_an_event_the_brier_score_of_the_mean_decides(
    how: Callable[[torch.Tensor], torch.Tensor],
    counts: list[bool],
    event_spec: InputSpec,
    make_batch: Batches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = model_of(
        kind="ensemble", head="event", hidden_size=8, members=[{}, {"kind": "logistic"}]
    )
    net, batch = build(recipe, event_spec).eval(), make_batch(event_spec, missing=0.2)
    assert isinstance(net, EnsembleForecaster)
    y, known = batch.target[:, event_spec.lookback :], batch.mask[:, event_spec.lookback :]
    label, sure = labels(y, known, event_spec.event)
    off = torch.where(
        torch.rand(label.shape, generator=torch.Generator().manual_seed(0)) < 0.5, 0.3, 0.0
    )
    own = torch.stack([(label - off).abs(), (label - how(off)).abs()])
    monkeypatch.setattr(net, "each", lambda *_: own.where(sure > 0, torch.rand_like(own)))
    veto(net, [batch], np.arange(len(batch.target)))
    assert net.counts.tolist() == counts


def test_what_counts_is_kept_with_the_weights(net: EnsembleForecaster, spec: InputSpec) -> None:
    net.counts[0] = False
    again = build(RECIPE, spec)
    again.load_state_dict(net.state_dict())
    assert again.counts.tolist() == [False, True, True]  # type: ignore[union-attr]


def test_sizes_of_members_survive_json(spec: InputSpec) -> None:
    import json

    assert InputSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize("history", ["unknown", "zero"])
def test_a_series_without_a_scale_of_its_own_does_not_decide(
    history: str,
    net: EnsembleForecaster,
    spec: InputSpec,
    make_batch: Batches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = make_batch(spec, n=4)
    target, mask = batch.target.clone(), batch.mask.clone()
    target[0, : spec.lookback] = 0
    mask[0, : spec.lookback] = float(history == "zero")
    target[0, spec.lookback :] = 1e6
    batch = batch._replace(target=target, mask=mask)
    actual = target[:, spec.lookback :].unsqueeze(-1).expand(-1, -1, 11)
    each = torch.stack([actual + 1.0, actual - 0.9, actual + 5.0])
    each[:, 0] = 0.0
    monkeypatch.setattr(net, "each", lambda *_: each)
    veto(net, [batch], np.arange(len(batch.target)))
    assert net.counts.tolist() == [True, True, False]


def test_a_member_that_is_not_finite_is_left_out(
    net: EnsembleForecaster,
    spec: InputSpec,
    make_batch: Batches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = make_batch(spec, missing=0.3)
    actual = batch.target[:, spec.lookback :].unsqueeze(-1).expand(-1, -1, 11)
    each = torch.stack([actual + 1.0, actual * torch.nan, actual + torch.inf])
    monkeypatch.setattr(net, "each", lambda *_: each)
    veto(net, [batch], np.arange(len(batch.target)))
    assert net.counts.tolist() == [True, False, False]


def test_a_doubtful_gain_leaves_nobody_out(
    net: EnsembleForecaster,
    spec: InputSpec,
    make_batch: Batches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the third the mean errs less by 3 %, but only in one block of windows out of four."""
    batch = make_batch(spec, n=8)
    actual = batch.target[:, spec.lookback :].unsqueeze(-1).expand(-1, -1, 11)
    off = torch.ones(8, 1, 1)
    lucky = torch.tensor([1.4, 1.4, 1, 1, 1, 1, 1, 1]).reshape(8, 1, 1)
    each = torch.stack([actual + off, actual + off, actual + lucky])
    monkeypatch.setattr(net, "each", lambda *_: each)
    veto(net, [batch], np.arange(8) // 2)
    assert net.counts.tolist() == [True, True, True]
    certain = torch.stack([actual + off, actual + off, actual + 1.1 * off])
    monkeypatch.setattr(net, "each", lambda *_: certain)
    veto(net, [batch], np.arange(8) // 2)
    assert net.counts.tolist() == [True, True, False]


def test_one_forecast_that_is_not_finite_is_enough_to_be_left_out(
    net: EnsembleForecaster,
    spec: InputSpec,
    make_batch: Batches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = make_batch(spec, n=8)
    actual = batch.target[:, spec.lookback :].unsqueeze(-1).expand(-1, -1, 11)
    each = torch.stack([actual + 1.0, actual - 1.0, actual + 1.0])
    each[1, 0] = torch.nan
    monkeypatch.setattr(net, "each", lambda *_: each)
    veto(net, [batch], np.arange(8))
    assert net.counts.tolist() == [True, False, True]
