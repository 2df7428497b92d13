"""How season and horizon size a model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.data.calendar import steps_per_day
from gatecast.models.config import Model
from gatecast.models.inputs import InputSpec
from gatecast.models.shape import resolve_shape
from tests.recipes import model_of


def shape(frequency: str, season: int, horizon: int, **recipe: object) -> tuple[int, int]:
    """(window, segment) of a recipe."""
    found = resolve_shape(model_of(**recipe), season, horizon, steps_per_day(frequency))  # type: ignore[arg-type]
    return found["context_length"], found["stride"]


@pytest.mark.parametrize(
    ("frequency", "season", "horizon", "window", "segment"),
    [
        ("h", 24, 24, 7 * 24, 24),  # a week, a step a day
        ("h", 24, 96, 8 * 24, 24),  # twice the horizon, in whole days
        ("h", 168, 24, 3 * 168, 84),  # a weekly season: no divisor of a week up to 96 is larger
        ("D", 7, 14, 28, 7),
        ("D", 7, 10, 21, 7),
        ("MS", 12, 18, 36, 12),
        ("MS", 12, 19, 48, 12),
        ("15min", 96, 96, 7 * 96, 96),
        ("15min", 672, 96, 3 * 672, 96),
        ("W-MON", 52, 8, 3 * 52, 52),
        ("D", 365, 30, 3 * 365, 73),
        ("h", 1, 24, 48, 1),  # no season
        ("YS", 1, 1, 8, 1),  # never fewer than eight rows
        ("D", 97, 7, 3 * 97, 1),  # a prime season longer than 96
    ],
)
def test_shapes_that_seasons_resolve_to(
    frequency: str, season: int, horizon: int, window: int, segment: int
) -> None:
    assert shape(frequency, season, horizon) == (window, segment)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 800), st.integers(1, 500))
def test_a_resolved_window_is_whole_seasons_that_cover_twice_the_horizon_or_thirty_seasons(
    season: int, horizon: int
) -> None:
    found = resolve_shape(model_of(), season, horizon, 24)
    lookback = found["context_length"] + (found["n_steps"] - 1) * found["stride"]
    assert found["context_length"] % season == 0
    assert found["context_length"] >= 2 * horizon or lookback > 29 * season
    assert season == 1 or lookback <= 30 * season
    assert season % found["stride"] == 0
    assert found["stride"] <= min(96, found["context_length"])


def test_what_a_recipe_says_is_taken() -> None:
    found = resolve_shape(
        model_of(context_length=30, stride=10, n_steps=4, n_origins=2), 24, 24, 24
    )
    assert (found["context_length"], found["stride"], found["n_steps"], found["n_origins"]) == (
        30,
        10,
        4,
        2,
    )


@pytest.mark.parametrize(("window", "kept"), [(47, "level"), (48, "seasonal")])
def test_a_seasonal_normalisation_needs_two_seasons_in_a_window(window: int, kept: str) -> None:
    recipe = model_of(context_length=window, normalisation="seasonal")
    assert resolve_shape(recipe, 24, 24, 24)["normalisation"] == kept


def test_the_closed_form_has_one_step_that_sees_twice_as_far() -> None:
    found = resolve_shape(model_of(kind="linear"), 24, 24, 24)
    sizes = {"context_length": 2 * 168, "stride": 1, "n_steps": 1, "n_origins": 1}
    assert found == sizes | {"normalisation": "level"}


@pytest.mark.parametrize(("wider", "window"), [(2, 720), (1, 720), (0.5, 360), (0.01, 24)])
def test_narrower_is_a_share_of_what_the_rules_leave(wider: float, window: int) -> None:
    """Four times the horizon would be 2,880 rows; thirty seasons are 720."""
    found = resolve_shape(model_of(kind="linear", context_multiple=wider), 24, 720, 24)
    assert found["context_length"] == window


def test_the_closed_form_takes_a_given_window_as_it_is() -> None:
    assert (
        resolve_shape(model_of(kind="linear", context_length=50), 24, 24, 24)["context_length"]
        == 50
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 9))
def test_the_lookback_is_what_all_steps_see_together(window: int, segment: int, steps: int) -> None:
    spec = InputSpec(3, 1, window, segment, steps, 1)
    seen = {t * segment + row for t in range(steps) for row in range(window)}
    assert spec.lookback == max(seen) + 1


def test_a_spec_survives_json(make_spec: Callable[..., InputSpec]) -> None:
    import json

    spec = make_spec(nonnegative=True)
    assert InputSpec(**json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(("horizon", "forks"), [(24, 7), (96, 7), (168, 4), (720, 1)])
def test_long_horizons_are_forecast_from_fewer_forks(horizon: int, forks: int) -> None:
    assert resolve_shape(model_of(), 24, horizon, 24)["n_origins"] == forks


@pytest.mark.parametrize(
    "recipe", [model_of(), model_of(context_multiple=2, n_steps=9), model_of(kind="linear")]
)
def test_no_sequence_looks_back_further_than_thirty_seasons(recipe: Model) -> None:
    found = resolve_shape(recipe, 24, 720, 24)
    assert found["context_length"] + (found["n_steps"] - 1) * found["stride"] <= 720
