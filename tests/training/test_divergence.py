"""A loss that is not a finite number stops a training at once, and the message says where to look."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatecast.core.errors import TrainError
from gatecast.data.panel import Panel
from gatecast.feed.sampling import TrainingWindows
from gatecast.feed.spec import input_spec
from gatecast.models.forecaster import RecurrentForecaster
from gatecast.training import trainer
from gatecast.training.config import Fit
from tests.recipes import model_of

MODEL = model_of(cell="gru", hidden_size=8, n_steps=3, n_origins=2)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoints go to a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def diverges(panel: Panel, smoke: Fit, **settings: Any) -> str:
    """The message of a training that diverges."""
    fit = smoke.model_copy(update={"max_epochs": 4, "log_every": 3} | settings)
    with pytest.raises(TrainError) as caught:
        trainer.train("v", panel, MODEL, fit, 1)
    assert caught.value.code == "DIVERGED"
    return str(caught.value)


def absurd(panel: Panel) -> tuple[Panel, str]:
    """The panel with an infinite value in its third series, as no ingest lets it pass, and that series."""
    values = np.array(panel.values)
    rows = slice(int(panel.indptr[2]), int(panel.indptr[3]))
    training = np.flatnonzero(np.isfinite(values[rows, 0]))[: int(panel.split_points[0][2]) // 2]
    values[rows, 0][training[-1]] = np.inf
    return replace(panel, values=values), str(panel.ids[2])


def test_the_message_names_the_first_step_its_rate_and_its_series(
    demo_panel: Panel, smoke: Fit
) -> None:
    panel, culprit = absurd(demo_panel)
    said = diverges(panel, smoke, batch_size=2, log_every=50, steps_per_epoch=40)
    where = re.search(r"DIVERGED\]: the loss of step (\d+) \(epoch 1\) is (\w+) at", said)
    assert where, said
    assert f"'{culprit}'" in said
    rate = re.search(r"learning rate ([\d.e+-]+); its batch holds", said)
    assert rate
    step = int(where[1])
    cosine = 0.5 * (1 + math.cos(math.pi * step / 160)) + 0.01
    assert float(rate[1]) == pytest.approx(3e-3 * (step + 1) / 50 * cosine, rel=0.01)
    spec = input_spec(panel, MODEL)
    drawn = [TrainingWindows(panel, spec, 2, 1).draw(0, k).series for k in range(step + 1)]
    first = next(k for k, series in enumerate(drawn) if 2 in series)
    assert first <= step  # the first window of the series need not see the value


def test_an_absurd_learning_rate_is_named(demo_panel: Panel, smoke: Fit) -> None:
    said = diverges(demo_panel, smoke, learning_rate=1e30)
    assert "the loss of step 1 (epoch 1) is nan at learning rate 4e+28" in said
    assert "Lower `learning_rate` in conf/trainer/" in said


def test_the_last_good_checkpoint_stays(
    demo_panel: Panel, smoke: Fit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values that overflow come with the third epoch; the weights of the second are kept."""
    draw, usual = TrainingWindows.draw, RecurrentForecaster.loss

    def loss(*args: Any) -> Any:
        error, count = usual(*args)
        return error * 1e30 * 1e30, count

    def drawing(self: TrainingWindows, epoch: int, step: int) -> Any:
        if (epoch, step) == (2, 1):
            monkeypatch.setattr(RecurrentForecaster, "loss", loss)
        return draw(self, epoch, step)

    monkeypatch.setattr(TrainingWindows, "draw", drawing)
    assert "the loss of step 9 (epoch 3) is inf" in diverges(demo_panel, smoke)
    (last,) = folder.glob("checkpoints/v/*/last.ckpt")
    good = torch.load(last, weights_only=True)
    assert good["epoch"] == 1
    assert all(w.isfinite().all() for w in good["state_dict"].values())


def test_a_validation_loss_that_is_not_finite_stops_too(
    demo_panel: Panel, smoke: Fit, folder: Path
) -> None:
    values = np.array(demo_panel.values)
    row = np.arange(len(values)) - np.repeat(demo_panel.indptr[:-1], demo_panel.lengths)
    begin, end = (np.repeat(x, demo_panel.lengths) for x in demo_panel.split_points[:2])
    values[(row >= begin) & (row < end), 0] = np.inf
    assert "the validation loss after 4 steps is" in diverges(
        replace(demo_panel, values=values), smoke
    )
    assert not list(folder.glob("checkpoints/v/*/last.ckpt"))
