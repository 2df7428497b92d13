"""A loss that is not a finite number stops a training at once, and the message says where to look."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatecast.data.panel import Panel
from gatecast.feed.sampling import TrainingWindows
from gatecast.feed.spec import input_spec

Jobs = Callable[..., Any]


def absurd(panel: Panel) -> tuple[Panel, str]:
    """The panel with an infinite value in its third series, as no ingest lets it pass, and that series."""
    values = np.array(panel.values)
    rows = slice(int(panel.indptr[2]), int(panel.indptr[3]))
    training = np.flatnonzero(np.isfinite(values[rows, 0]))[: int(panel.split_points[0][2]) // 2]
    values[rows, 0][training[-1]] = np.inf
    return replace(panel, values=values), str(panel.ids[2])


def test_the_message_names_the_first_step_its_rate_and_its_series(small: Panel, job: Jobs) -> None:
    panel, culprit = absurd(small)
    training = job(batch_size=2, log_every=50, steps_per_epoch=40)
    panel.save(training.path / "panel")
    ended = training.run()
    assert ended.code == 2, ended.err
    found = re.search(r"DIVERGED\]: the loss of step (\d+) \(epoch 1\) is (\w+) at", ended.err)
    assert found, ended.err
    assert f"'{culprit}'" in ended.err
    rate = re.search(r"learning rate ([\d.e+-]+); its batch holds", ended.err)
    assert rate
    step = int(found[1])
    cosine = 0.5 * (1 + math.cos(math.pi * step / 160)) + 0.01
    assert float(rate[1]) == pytest.approx(3e-3 * (step + 1) / 50 * cosine, rel=0.01)
    spec = input_spec(panel, training.model)
    drawn = [TrainingWindows(panel, spec, 2, 1).draw(0, k).series for k in range(step + 1)]
    first = next(k for k, series in enumerate(drawn) if 2 in series)
    assert first <= step  # the first window of the series need not see the value


def test_an_absurd_learning_rate_is_named(job: Jobs) -> None:
    ended = job(learning_rate=1e30).run()
    assert ended.code == 2
    assert "the loss of step 1 (epoch 1) is nan at learning rate 4e+28" in ended.err
    assert "Lower `learning_rate` in conf/trainer/" in ended.err


def test_the_last_good_checkpoint_stays(job: Jobs) -> None:
    """Values that overflow come with the third epoch; the weights of the second are kept."""
    training = job()
    body = """
from gatecast.models.forecaster import RecurrentForecaster
def explode():
    usual = RecurrentForecaster.loss
    def loss(*args):
        error, count = usual(*args)
        return error * 1e30 * 1e30, count
    RecurrentForecaster.loss = loss
at(2, 1, explode)
"""
    ended = training.run(body)
    assert ended.code == 2
    assert "the loss of step 9 (epoch 3) is inf" in ended.err
    good = training.checkpoint()
    assert good["epoch"] == 1
    assert all(w.isfinite().all() for w in good["state_dict"].values())


def test_a_validation_loss_that_is_not_finite_stops_too(small: Panel, job: Jobs) -> None:
    training, values = job(), np.array(small.values)
    row = np.arange(len(values)) - np.repeat(small.indptr[:-1], small.lengths)
    begin, end = (np.repeat(x, small.lengths) for x in small.split_points[:2])
    values[(row >= begin) & (row < end), 0] = np.inf
    replace(small, values=values).save(training.path / "panel")
    ended = training.run()
    assert ended.code == 2, ended.err
    assert "DIVERGED]: the validation loss after 4 steps is" in ended.err
    assert not list(Path(training.path).glob("checkpoints/v/*/last.ckpt"))
