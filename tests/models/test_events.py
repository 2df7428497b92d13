"""Events: what counts as one, when that is known, and a probability that never falls along the horizon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gatecast.core.errors import ConfigError
from gatecast.models.events import labels
from gatecast.models.forecaster import RecurrentForecaster
from gatecast.models.heads.event import Event, EventHead
from gatecast.models.inputs import Batch, InputSpec
from tests.recipes import model_of

DECODERS = ["direct", "experts", "segment"]


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, 6, elements=st.integers(-2, 2)), hnp.arrays(np.bool_, 6))
@pytest.mark.parametrize("side", ["above", "below"])
def test_a_label_is_known_once_it_happened_or_while_half_of_the_steps_were_seen(
    side: str, y: np.ndarray, known: np.ndarray
) -> None:
    happened, sure = labels(torch.tensor(y), torch.tensor(known).float(), {side: 0.5})
    for k in range(6):
        seen = y[: k + 1][known[: k + 1]]
        event = bool(((seen > 0.5) if side == "above" else (seen < 0.5)).any())
        assert bool(happened[k]) == event
        assert bool(sure[k]) == (event or len(seen) >= (k + 1) / 2)


def test_the_threshold_itself_is_no_event() -> None:
    y, known = torch.tensor([150.0, 150.5]), torch.ones(2)
    assert labels(y, known, {"above": 150.0})[0].tolist() == [0.0, 1.0]
    assert labels(y, known, {"below": 150.0})[0].tolist() == [0.0, 0.0]


def net_of(
    spec: InputSpec, decoder: str = "direct", weight: float = 1.0, threshold: float = 24.0
) -> RecurrentForecaster:
    torch.manual_seed(0)
    model = model_of(hidden_size=16, decoder=decoder, head="event", event_weight=weight)
    return RecurrentForecaster(model, replace(spec, event={"above": threshold})).eval()


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_probability_never_falls_along_the_horizon(
    decoder: str, make_spec: Callable[..., InputSpec], make_batch: Callable[..., Batch]
) -> None:
    spec = make_spec()
    for missing in (0.0, 0.5, 1.0):
        p = net_of(spec, decoder).probabilities(make_batch(spec, n=8, missing=missing))
        assert p.shape == (8, spec.horizon)
        assert ((p >= 0) & (p <= 1)).all()
        assert (p.diff(dim=-1) >= 0).all()


def test_a_nearer_threshold_is_likelier(
    make_spec: Callable[..., InputSpec], make_batch: Callable[..., Batch]
) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    near, far = (net_of(spec, threshold=t).probabilities(batch) for t in (21.0, 29.0))
    assert (near > far).all()


def test_an_event_has_no_quantiles_and_says_so(
    make_spec: Callable[..., InputSpec], make_batch: Callable[..., Batch]
) -> None:
    spec = make_spec()
    with pytest.raises(ConfigError, match="probabilities"):
        net_of(spec).quantiles(make_batch(spec))


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_the_loss_is_the_weighted_cross_entropy_over_known_labels(
    weight: float, make_spec: Callable[..., InputSpec], make_batch: Callable[..., Batch]
) -> None:
    spec = make_spec(n_origins=1)
    net, batch = net_of(spec, weight=weight), make_batch(spec, n=8, missing=0.5)
    with torch.no_grad():
        loss, count = net.loss(batch)
        p = net.probabilities(batch)
    y, known = (v[:, spec.lookback :] for v in (batch.target, batch.mask))
    label, sure = labels(y, known, {"above": 24.0})
    each = torch.nn.functional.binary_cross_entropy(
        p, label, 1 + (weight - 1) * label, reduction="none"
    )
    assert count == sure.sum()
    assert 0 < count < y.numel()
    assert loss.item() == pytest.approx(float((each * sure).sum()), rel=1e-4)


def test_content_under_the_mask_changes_no_label(
    make_spec: Callable[..., InputSpec], make_batch: Callable[..., Batch]
) -> None:
    spec = make_spec()
    net, batch = net_of(spec), make_batch(spec, missing=0.4)
    other = batch._replace(target=torch.where(batch.mask > 0, batch.target, 1e6))
    assert torch.equal(net.loss(batch)[0], net.loss(other)[0])


def test_a_hazard_that_is_nearly_nothing_or_all_keeps_the_loss_finite(
    make_spec: Callable[..., InputSpec],
) -> None:
    head = EventHead(Event(), make_spec(event={"below": 1.0}))
    raw = torch.tensor([-80.0, 80.0]).view(2, 1, 1).requires_grad_()
    for target in (0.0, 1.0):
        loss = head.loss(raw, torch.full((2, 1), target)).sum()
        assert loss.isfinite()
        (gradient,) = torch.autograd.grad(loss, raw)
        assert gradient.isfinite().all()


def test_an_event_is_learnt(make_spec: Callable[..., InputSpec]) -> None:
    """Series that oscillate widely cross the threshold, narrow ones do not."""
    torch.manual_seed(0)
    spec = make_spec(
        n_past=0,
        n_known=0,
        n_static=0,
        past_cards=[],
        known_cards=[],
        static_cards=[],
        n_calendar=0,
    )
    rows = spec.lookback + spec.horizon
    width = torch.where(torch.arange(64) % 2 == 0, 1.0, 6.0).unsqueeze(1)
    y = 20 + width * torch.tensor([0.0, 1.0, 0.0, -1.0]).repeat(rows)[:rows]
    none = torch.zeros(64, rows, 0)
    code = none.long()
    batch = Batch(y, torch.ones_like(y), none, none, code, code, none[:, 0], code[:, 0])
    net = net_of(spec).train()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        loss, count = net.loss(batch)
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    last = net.eval().probabilities(batch)[:, -1]
    assert (last[0::2] < 0.1).all()
    assert (last[1::2] > 0.9).all()
