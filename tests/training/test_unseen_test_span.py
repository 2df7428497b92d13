"""Nothing behind the validation span has a say in a package: weights, penalties, vetoes, calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes import CONF, model_recipe
from gatecast.data.panel import Panel, coded
from gatecast.models.config import Model
from gatecast.registry import package
from gatecast.training import trainer
from gatecast.training.config import Fit

# their members train in processes of their own, which takes long to start
SLOW = ("ensemble", "event_lstm")
RECIPES = [
    pytest.param(path.stem, marks=pytest.mark.slow if path.stem in SLOW else ())
    for path in sorted((CONF / "model").glob("*.yaml"))
]


@pytest.fixture(scope="module")
def spoiled(demo_panel: Panel) -> Panel:
    """The demo with noise in place of every value behind the end of the validation span."""
    assert not any(coded(demo_panel.meta.channels, c.role) for c in demo_panel.meta.channels)
    rng = np.random.default_rng(0)
    values = np.array(demo_panel.values)
    begin, end = demo_panel.indptr[:-1], demo_panel.indptr[1:]
    for first, last in zip(begin + demo_panel.split_points[1], end, strict=True):
        values[first:last] = rng.normal(1000, 500, (last - first, values.shape[1]))
    # the same meta: the hash of the data would tell them apart
    return replace(demo_panel, values=values)


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Panel], str]:
    """Digest of the package of a recipe trained on a panel, each in a folder of its own."""

    def train(name: str, panel: Panel) -> str:
        folder = tmp_path / str(id(panel))
        folder.mkdir()
        monkeypatch.chdir(folder)
        fit = Fit(
            accelerator="cpu",
            max_epochs=1,
            steps_per_epoch=2,
            batch_size=4,
            max_validation_windows=8,
            threads=1,
        )
        model: Model = model_recipe(name)
        trained = trainer.train(name, panel, model, fit, 1)
        return package.write(Path("models") / name, name, model, 1, panel.meta, trained)

    return train


@pytest.mark.parametrize("name", RECIPES)
def test_what_lies_behind_the_validation_span_changes_no_byte_of_a_package(
    name: str, demo_panel: Panel, spoiled: Panel, packed: Callable[[str, Panel], str]
) -> None:
    assert packed(name, spoiled) == packed(name, demo_panel)


def test_what_lies_within_the_validation_span_does(
    demo_panel: Panel, packed: Callable[[str, Panel], str]
) -> None:
    """The test above could not fail if the digest did not see the data."""
    values = np.array(demo_panel.values)
    first, last, _ = (demo_panel.indptr[:-1] + points for points in demo_panel.split_points)
    for begin, end in zip(first, last, strict=True):
        values[begin:end, 0] *= 1.5
    assert packed("linear", replace(demo_panel, values=values)) != packed("linear", demo_panel)
