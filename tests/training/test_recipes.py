"""Every shipped model recipe trains, is packaged, and forecasts the same from its package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes import CONF, model_recipe
from gatecast.core.forecast import EventForecast, QuantileForecast
from gatecast.data.panel import Panel
from gatecast.data.windows import latest
from gatecast.evaluation.predictor import NetPredictor
from gatecast.registry import package
from gatecast.training import trainer
from gatecast.training.config import Fit
from tests.recipes import model_of


def numbers(forecast: EventForecast | QuantileForecast) -> np.ndarray:
    is_event = isinstance(forecast, EventForecast)
    return forecast.probability if is_event else forecast.values


# A member of an ensemble trains in a process of its own: a minute for the eight of `ensemble`.
RECIPES = [
    pytest.param(path.stem, marks=pytest.mark.slow)
    if "kind: ensemble" in path.read_text(encoding="utf-8")
    else path.stem
    for path in sorted((CONF / "model").glob("*.yaml"))
]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_is_packaged_and_forecasts(
    name: str, workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    model = model_recipe(name)
    fit = smoke.model_copy(update={"max_epochs": 1, "steps_per_epoch": 1})
    trained = trainer.train(name, demo_panel, model, fit, 1)
    package.write(Path("models") / name, name, model, 1, demo_panel.meta, trained)
    fresh = NetPredictor(name, trained.net, trained.spec, trained.scaling, demo_panel.meta)
    windows = latest(demo_panel)
    expected = numbers(fresh.predict(demo_panel, windows))
    got = numbers(package.load(Path("models") / name).predict(demo_panel, windows))
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("decoder", ["direct", "segment"])
def test_a_model_of_an_event_trains(
    decoder: str, workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    model = model_of(decoder=decoder, head="event", event={"above": 150.0})
    fit = smoke.model_copy(update={"max_epochs": 1, "steps_per_epoch": 2})
    trained = trainer.train("event", demo_panel, model, fit, 1)
    net = NetPredictor("event", trained.net, trained.spec, trained.scaling, demo_panel.meta)
    p = net.predict(demo_panel, latest(demo_panel)).probability
    assert (np.diff(p, axis=1) >= 0).all()
