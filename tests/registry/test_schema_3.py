"""Packages of the schema before, in which settings and sizes had other names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gatecast.core.forecast import QuantileForecast
from gatecast.data.panel import Panel
from gatecast.data.windows import latest
from gatecast.registry import package
from tests.training.conftest import make_panel  # noqa: F401

BEFORE = Path(__file__).resolve().parents[1] / "fixtures/package_schema_3"


def test_a_package_of_the_schema_before_forecasts_the_same_to_the_bit(
    make_panel: Callable[..., Panel],  # noqa: F811
) -> None:
    """An ensemble written by gatecast 0.1 (schema 3), and its forecasts of this panel by the same version."""
    hour = np.arange(96)
    panel = make_panel(
        {
            "a": 10 + 3 * np.sin(hour * np.pi / 2) + 0.05 * hour,
            "b": 20 + np.cos(hour * np.pi / 2),
        }
    )
    forecast = package.load(BEFORE).predict(panel, latest(panel))
    assert isinstance(forecast, QuantileForecast)
    expected = np.array(json.loads((BEFORE.parent / "package_schema_3.json").read_text()), "f4")
    np.testing.assert_array_equal(forecast.values, expected)


def test_a_package_of_the_schema_before_is_described_by_the_names_of_today() -> None:
    content = package.describe(BEFORE)
    members = content["model"]["members"]
    assert [m["kind"] for m in members] == ["recurrent", "recurrent", "linear"]
    assert [m["n_seeds"] for m in members] == [2, 1, 1]
    assert members[0] | {"n_experts": 2, "relative_weight": 2.0} == members[0]
    assert content["spec"]["members"][0]["n_origins"] == 2
