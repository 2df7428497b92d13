"""A variant that forecasts an event: its package, its run, its model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.core.forecast import EventForecast
from gatecast.core.ledger import Ledger
from gatecast.data.panel import Panel
from gatecast.data.windows import latest
from gatecast.evaluation import baselines, event_board, leaderboard
from gatecast.evaluation.backtest import Backtest
from gatecast.evaluation.table import panel_of, to_table
from gatecast.registry import package, promotion
from gatecast.registry.config import Promote
from gatecast.registry.mlflow import runs, store
from gatecast.reports import promotion as report
from gatecast.training import trainer
from gatecast.training.config import Fit
from tests.recipes import model_of

MODEL = model_of(kind="logistic", head="event", event={"above": 33.0}, penalties=[1.0])


@pytest.fixture
def folder(workplace: Path, tiny: Panel) -> Path:
    """The package of logistic regression."""
    trained = trainer.train("logistic", tiny, MODEL, Fit(threads=1), 1)
    package.write(workplace / "models/logistic", "logistic", MODEL, 1, tiny.meta, trained)
    return workplace / "models/logistic"


def test_a_package_knows_its_event_and_answers_probabilities(folder: Path, tiny: Panel) -> None:
    predictor = package.load(folder)
    forecast = predictor.predict(tiny, latest(tiny))
    assert predictor.spec.event == {"above": 33.0}
    assert isinstance(forecast, EventForecast)
    assert forecast.shape == (4, tiny.meta.horizon)
    table = to_table(tiny, forecast)
    assert list(table.columns) == ["unique_id", "cutoff", "ds", "step", "probability"]
    assert (table.groupby("unique_id")["probability"].diff().dropna() >= 0).all()


def test_the_logged_model_takes_a_long_table_and_returns_probabilities(
    folder: Path, tiny: Panel, frame: pd.DataFrame
) -> None:
    import mlflow

    run_id = runs.ensure(folder)
    model_id = store.client().get_run(run_id).outputs.model_outputs[0].model_id
    model = mlflow.pyfunc.load_model(f"models:/{model_id}")
    read = panel_of(frame, tiny.meta)
    expected = to_table(read, package.load(folder).predict(read, latest(read)))
    pd.testing.assert_frame_equal(model.predict(frame), expected, rtol=1e-5)
    assert model.metadata.signature.outputs.input_names()[-1] == "probability"


def test_scores_of_an_event_and_its_picture_are_logged_to_the_run(
    folder: Path, tiny: Panel
) -> None:
    (result,) = (
        r for r in event_board.compare(tiny, [package.load(folder)]) if r.name == "logistic"
    )
    picture = folder.parent / "reliability.png"
    picture.write_bytes(b"\x89PNG")
    runs.log_evaluation(tiny, result, folder, [picture])
    client, run_id = store.client(), runs.ensure(folder)
    metrics = client.get_run(run_id).data.metrics
    assert metrics["test_brier"] == pytest.approx(result.pooled["brier"])
    assert metrics["test_auroc"] == pytest.approx(result.pooled["auroc"])
    steps = client.get_metric_history(run_id, "test_brier_by_step")
    assert [m.step for m in steps] == list(range(1, tiny.meta.horizon + 1))
    assert [f.path for f in client.list_artifacts(run_id, "plots")] == ["plots/reliability.png"]


def evaluated(folder: Path, panel: Panel) -> Path:
    """The leaderboard of a list of variants that only forecast events."""
    m, backtest = panel.meta, Backtest.of(panel)
    both = baselines.naive(m.horizon), baselines.seasonal_naive(m.horizon, m.season_length)
    results = [backtest.run(p) for p in both]
    table = leaderboard.leaderboard(results, "mase")
    digests: dict[str, Any] = {"logistic": package.digest(folder)}
    reports = folder.parents[1] / "reports"
    leaderboard.write(reports, results, table, panel, backtest, "mase", digests, ["logistic"])
    return reports / "leaderboard.json"


def test_a_list_of_events_alone_promotes_no_quantiles_and_says_so(
    folder: Path, tiny: Panel
) -> None:
    board = evaluated(folder, tiny)
    assert json.loads(board.read_text())["best"] is None
    facts = promotion.promote(tiny, board, folder.parent, Promote())
    assert facts["verdict"] == "nothing_to_promote"
    assert "logistic" in facts["reason"]
    assert facts["champion"] is None
    report.write(folder.parent / "promotion.json", facts)
    assert Ledger().entries("promotion", "gatecast-tiny") == []


def test_a_recipes_own_event_wins_over_the_sources(tiny: Panel) -> None:
    asks = replace(tiny, meta=replace(tiny.meta, event={"above": 20.0}))
    own = trainer.train("own", asks, MODEL, Fit(threads=1), 1)
    source = trainer.train(
        "source", asks, MODEL.model_copy(update={"event": {}}), Fit(threads=1), 1
    )
    assert own.spec.event == {"above": 33.0}
    assert source.spec.event == {"above": 20.0}
    assert np.abs(own.net.bias.numpy() - source.net.bias.numpy()).max() > 0.1  # type: ignore[union-attr,operator]
