"""The closed-form floor against NumPy's closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.models.inputs import Batch, InputSpec
from gatecast.models.linear import LinearForecaster, fit
from tests.recipes import model_of

W, H, N = 12, 4, 400
Specs = Callable[..., InputSpec]


@pytest.fixture
def spec(make_spec: Specs) -> InputSpec:
    bare = {"n_past": 0, "n_static": 0, "past_cards": [], "known_cards": [], "static_cards": []}
    return make_spec(
        horizon=H,
        season_length=W // 2,
        context_length=W,
        stride=1,
        n_steps=1,
        n_origins=1,
        n_known=2,
        n_calendar=0,
        **bare,
    )


def scaled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows in units of their own mean and spread, written from the definition."""
    location = x.mean(1, keepdims=True)
    scale = np.maximum(x.std(1, keepdims=True), 0.05 * np.abs(x).mean(1, keepdims=True))
    return (x - location) / scale, location, scale


def batch_of(x: np.ndarray, y: np.ndarray, known: np.ndarray, mask: np.ndarray) -> Batch:
    """Windows (n, W), targets (n, H), covariates (n, W + H, 2), what of the targets is known (n, H)."""
    n = len(x)
    rows = np.concatenate([x, np.where(mask, y, 0)], 1)
    seen = np.concatenate([np.ones_like(x), mask], 1)
    tensor = lambda a: torch.tensor(a, dtype=torch.float32)  # noqa: E731
    length = rows.shape[1]
    codes = torch.zeros((n, length, 0), dtype=torch.int64)
    return Batch(
        tensor(rows),
        tensor(seen),
        torch.zeros(n, length, 0),
        tensor(known),
        codes,
        codes,
        torch.zeros(n, 0),
        torch.zeros((n, 0), dtype=torch.int64),
    )


def world(
    seed: int, effect: float = 0.0, noise: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows, targets that are a linear map of the scaled windows (+ covariates), covariates."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(W, H)) / W
    rng = np.random.default_rng(seed)
    x = rng.normal(30, 6, (N, W))
    known = rng.normal(size=(N, W + H, 2))
    z, location, scale = scaled(x)
    ahead = known[:, W:] - known[:, :W].mean(1, keepdims=True)
    y = z @ weight + effect * ahead[..., 0] + noise * rng.normal(size=(N, H))
    return x, y * scale + location, known


ALL = np.ones((N, H))


def fitted(
    spec: InputSpec, training: Batch, validation: Batch, penalties: list[float]
) -> tuple[LinearForecaster, dict[float, float]]:
    net = LinearForecaster(model_of(kind="linear"), spec)
    scores = fit(net, lambda: [training], lambda: [training], lambda: [validation], penalties)
    return net, scores


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """argmin mean |y - x w|² + penalty |w|²."""
    n = len(x)
    return np.linalg.solve(x.T @ x / n + penalty * np.eye(x.shape[1]), x.T @ y / n)


def test_noise_free_targets_are_recovered(spec: InputSpec) -> None:
    x, y, known = world(1)
    net, _ = fitted(spec, batch_of(x, y, known, ALL), batch_of(x, y, known, ALL), [1e-6])
    fresh, truth, ahead = world(2)
    out = net.quantiles(batch_of(fresh, truth * 0, ahead, ALL))[..., MEDIAN]
    np.testing.assert_allclose(out, truth, rtol=2e-3)


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 1.0])
def test_weights_are_numpys_ridge(spec: InputSpec, penalty: float) -> None:
    x, y, known = world(1, noise=0.5)
    net, _ = fitted(spec, batch_of(x, y, known, ALL), batch_of(x, y, known, ALL), [penalty])
    z, location, scale = scaled(x)
    expected = ridge(z, (y - location) / scale, penalty)
    np.testing.assert_allclose(net.weight, expected, atol=2e-4)


def test_what_is_known_ahead_gets_numpys_ridge_of_what_is_left_over(spec: InputSpec) -> None:
    x, y, known = world(1, effect=0.7)
    net, _ = fitted(spec, batch_of(x, y, known, ALL), batch_of(x, y, known, ALL), [0.01])
    z, location, scale = scaled(x)
    left = (y - location) / scale - z @ ridge(z, (y - location) / scale, 0.01)
    ahead = (known[:, W:] - known[:, :W].mean(1, keepdims=True)).reshape(-1, 2)
    expected = np.linalg.solve(ahead.T @ ahead + 1e-3 * N * np.eye(2), ahead.T @ left.ravel())
    np.testing.assert_allclose(net.known, expected, atol=1e-3)
    assert net.known[0] == pytest.approx(0.7, abs=0.05)


def test_what_is_known_ahead_is_left_out_where_it_helps_by_less_than_a_hundredth(
    spec: InputSpec,
) -> None:
    x, y, known = world(1, effect=0.02, noise=0.5)
    net, _ = fitted(spec, batch_of(x, y, known, ALL), batch_of(x, y, known, ALL), [0.01])
    assert not net.known.any()


def test_each_block_of_steps_uses_the_windows_in_which_it_is_known(make_spec: Specs) -> None:
    """A horizon of 100 steps has blocks of 48, 48 and 4."""
    sizes = {"n_past": 0, "n_static": 0, "past_cards": [], "known_cards": [], "static_cards": []}
    spec = make_spec(
        horizon=100, season_length=6, context_length=W, stride=1, n_steps=1, n_origins=1, n_known=0,
        n_calendar=0, **sizes
    )  # fmt: skip
    rng = np.random.default_rng(0)
    x, y = rng.normal(30, 6, (N, W)), rng.normal(30, 6, (N, 100))
    mask = np.ones((N, 100))
    mask[:100, 60:] = 0  # the second block is unknown in part, the third wholly
    batch = batch_of(x, y, np.zeros((N, W + 100, 0)), mask)
    net, _ = fitted(spec, batch, batch, [0.1])
    z, location, scale = scaled(x)
    target = (y - location) / scale
    known_in = {(0, 48): slice(N), (48, 96): slice(100, N), (96, 100): slice(100, N)}
    for steps, use in known_in.items():
        block = slice(*steps)
        expected = ridge(z[use], target[use, block], 0.1)
        np.testing.assert_allclose(net.weight[:, block], expected, atol=2e-4)


def test_a_covariate_that_drives_the_target_moves_the_forecast(spec: InputSpec) -> None:
    x, y, known = world(1, effect=0.7)
    net, _ = fitted(spec, batch_of(x, y, known, ALL), batch_of(x, y, known, ALL), [0.01])
    base = net.quantiles(batch_of(x, y, known, ALL))[..., MEDIAN].numpy()
    raised = known.copy()
    raised[:, W + 1, 0] += 1
    step = net.quantiles(batch_of(x, y, raised, ALL))[..., MEDIAN].numpy() - base
    _, _, scale = scaled(x)
    np.testing.assert_allclose(step[:, 1], 0.7 * scale[:, 0], rtol=0.1)
    np.testing.assert_allclose(step[:, [0, 2, 3]], 0, atol=1e-4)


def test_a_categorical_covariate_known_ahead_is_one_hot(spec: InputSpec, make_spec: Specs) -> None:
    x, y, known = world(1)
    scale = scaled(x)[2]
    codes = np.random.default_rng(3).integers(0, 3, (N, W + H))
    y = y + np.array([0.0, 1.0, -1.0])[codes[:, W:]] * scale
    coded = InputSpec(**{**spec.to_json(), "known_cards": [3]})
    batch = batch_of(x, y, known * 0, ALL)._replace(known_codes=torch.from_numpy(codes)[..., None])
    net, _ = fitted(coded, batch, batch, [1e-3])
    a, b, c = net.known[-3:].tolist()
    assert b - a == pytest.approx(1, abs=0.15)
    assert c - a == pytest.approx(-1, abs=0.15)


def test_windows_with_an_unknown_target_are_left_out_where_others_are_whole(
    spec: InputSpec,
) -> None:
    x, y, known = world(1, noise=0.5)
    mask = np.ones((N, H))
    mask[N // 2 :, 1] = 0
    net, _ = fitted(spec, batch_of(x, y, known, mask), batch_of(x, y, known, ALL), [0.1])
    half = slice(N // 2)
    z, location, scale = scaled(x[half])
    np.testing.assert_allclose(net.weight, ridge(z, (y[half] - location) / scale, 0.1), atol=2e-4)


def test_without_any_whole_window_unknown_targets_count_as_the_windows_mean(
    spec: InputSpec,
) -> None:
    x, y, known = world(1, noise=0.5)
    mask = np.ones((N, H))
    mask[np.arange(N), np.arange(N) % H] = 0
    net, _ = fitted(spec, batch_of(x, y, known, mask), batch_of(x, y, known, ALL), [0.1])
    z, location, scale = scaled(x)
    np.testing.assert_allclose(net.weight, ridge(z, (y - location) / scale * mask, 0.1), atol=2e-4)
    assert net.quantiles(batch_of(x, y, known, ALL)).isfinite().all()


def test_the_penalty_with_the_least_validation_error_is_taken(spec: InputSpec) -> None:
    few = slice(30)
    x, y, known = world(1, noise=0.2)
    v, truth, ahead = world(2)
    training = batch_of(x[few], y[few], known[few], ALL[few])
    validation = batch_of(v, truth, ahead, ALL)
    net, scores = fitted(spec, training, validation, [1e-6, 0.1, 1000.0])
    best = min(scores, key=lambda p: scores[p])
    alone, _ = fitted(spec, training, validation, [best])
    assert best == 0.1
    assert torch.equal(net.weight, alone.weight)
    assert torch.equal(net.known, alone.known)


def test_the_validation_score_is_the_mean_absolute_error_over_known_targets(
    spec: InputSpec,
) -> None:
    x, y, known = world(1, noise=0.5)
    v, truth, ahead = world(2, noise=0.5)
    mask = (np.random.default_rng(0).random((N, H)) < 0.7).astype(float)
    net, scores = fitted(
        spec, batch_of(x, y, known * 0, ALL), batch_of(v, truth, ahead * 0, mask), [0.1]
    )
    z, location, scale = scaled(v)
    error = np.abs((truth - location) / scale - z @ net.weight.numpy())
    assert scores[0.1] == pytest.approx(error[mask > 0].mean(), rel=1e-4)


def test_quantiles_are_those_of_the_held_out_residuals_of_the_step(spec: InputSpec) -> None:
    x, y, known = world(1, noise=0.5)
    batch = batch_of(x, y, known * 0, ALL)
    net, _ = fitted(spec, batch, batch, [0.1])
    z, location, scale = scaled(x)
    residual = (y - location) / scale - z @ net.weight.numpy()
    expected = np.quantile(residual, QUANTILES, 0).T
    np.testing.assert_allclose(net.spread, expected - expected[:, [MEDIAN]], atol=1e-3)


def test_few_held_out_windows_pool_the_residuals_of_all_steps(spec: InputSpec) -> None:
    x, y, known = world(1, noise=0.5)
    few = slice(20)
    net, _ = fitted(
        spec,
        batch_of(x, y, known * 0, ALL),
        batch_of(x[few], y[few], known[few] * 0, ALL[few]),
        [0.1],
    )
    z, location, scale = scaled(x[few])
    residual = (y[few] - location) / scale - z @ net.weight.numpy()
    expected = np.quantile(residual, QUANTILES)
    np.testing.assert_allclose(net.spread, [expected - expected[MEDIAN]] * H, atol=1e-3)


def test_quantiles_of_the_closed_form_never_cross(spec: InputSpec) -> None:
    x, y, known = world(1, noise=0.5)
    batch = batch_of(x, y, known, ALL)
    net, _ = fitted(spec, batch, batch, [0.1])
    assert (net.quantiles(batch).diff(dim=-1) >= 0).all()


def test_no_covariate_at_all_is_fine(spec: InputSpec) -> None:
    bare = InputSpec(**{**spec.to_json(), "n_known": 0})
    x, y, known = world(1)
    batch = batch_of(x, y, known[..., :0], ALL)
    net, _ = fitted(bare, batch, batch, [1e-6])
    np.testing.assert_allclose(net.quantiles(batch)[..., MEDIAN], y, rtol=2e-3)


def test_several_batches_are_one_sample(spec: InputSpec) -> None:
    x, y, known = world(1, effect=0.3, noise=0.5)
    whole = batch_of(x, y, known, ALL)
    parts = [Batch(*(v[i : i + 100] for v in whole)) for i in range(0, N, 100)]
    one, many = (LinearForecaster(model_of(kind="linear"), spec) for _ in range(2))
    fit(one, lambda: [whole], lambda: [whole], lambda: [whole], [0.1])
    fit(many, lambda: parts, lambda: parts, lambda: parts, [0.1])
    for a, b in zip(one.state_dict().values(), many.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_a_forecast_sees_no_target(spec: InputSpec) -> None:
    x, y, known = world(1, noise=0.5)
    batch = batch_of(x, y, known, ALL)
    net, _ = fitted(spec, batch, batch, [0.1])
    blind = batch_of(x, y + 1e3, known, ALL * 0)
    assert torch.equal(net.quantiles(batch), net.quantiles(blind))
