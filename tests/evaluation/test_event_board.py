"""The board of events: what is on it, in which order, and the files that are there even if nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from gatecast.data.panel import Panel
from gatecast.evaluation import event_board
from gatecast.evaluation.events import EventResult
from gatecast.evaluation.predictor import NetPredictor
from gatecast.training import trainer
from gatecast.training.config import Fit
from tests.recipes import model_of

Event = dict[str, float]
Variants = Callable[[str, Event], NetPredictor]


@pytest.fixture(scope="module")
def panel(make_panel: Callable[..., Panel]) -> Panel:
    r = np.random.default_rng(0)
    walk = {k: 20 + np.cumsum(r.normal(size=300)) for k in ("north", "south")}
    return make_panel(walk)


@pytest.fixture(scope="module")
def variant(panel: Panel) -> Variants:
    """A quickly fitted variant."""

    def make(name: str, event: Event) -> NetPredictor:
        model = model_of(kind="logistic", head="event", event=event, penalties=[10.0])
        t = trainer.train(name, panel, model, Fit(threads=1), 1)
        return NetPredictor(name, t.net, t.spec, t.scaling, panel.meta)

    return make


@pytest.fixture(scope="module")
def results(panel: Panel, variant: Variants) -> list[EventResult]:
    return event_board.compare(panel, [variant("mine", {"above": 20.0})])


def test_baselines_stand_beside_a_variant_the_least_brier_score_first(
    results: list[EventResult],
) -> None:
    table = event_board.board(results)
    assert set(table.index) == {"mine", "persistence", "logistic"}
    assert table["brier"].is_monotonic_increasing
    assert set(table["event"]) == {"above 20"}
    assert table["values"].nunique() == 1


def test_a_variant_called_logistic_takes_the_baselines_place(
    panel: Panel, variant: Variants
) -> None:
    found = event_board.compare(panel, [variant("logistic", {"above": 20.0})])
    assert [r.name for r in found] == ["persistence", "logistic"]


def test_every_event_has_baselines_of_its_own(panel: Panel, variant: Variants) -> None:
    both = [variant("high", {"above": 20.0}), variant("low", {"below": 10.0})]
    table = event_board.board(event_board.compare(panel, both))
    assert set(table.index[table["event"] == "above 20"]) == {
        "high",
        "persistence above 20",
        "logistic above 20",
    }
    assert "logistic below 10" in table.index[table["event"] == "below 10"]


def test_the_files_say_who_was_asked_what(
    results: list[EventResult], panel: Panel, tmp_path: Path
) -> None:
    event_board.write(tmp_path, results, panel, {"mine": "abc"})
    board = json.loads((tmp_path / "events.json").read_text())
    assert board["data_hash"] == panel.meta.data_hash
    assert board["digests"] == {"mine": "abc"}
    assert board["best"] == "mine"
    assert board["scores"]["mine"]["event"] == "above 20"
    table = pd.read_csv(tmp_path / "events.csv", index_col="variant")
    assert table.loc["mine", "brier"] == pytest.approx(board["scores"]["mine"]["brier"])
    assert len(np.unique(matplotlib.image.imread(tmp_path / "reliability.png"))) > 20


def test_the_package_with_the_least_brier_score_goes_to_the_gate(
    results: list[EventResult], panel: Panel, tmp_path: Path
) -> None:
    worse = [replace(r, pooled=r.pooled | {"brier": 0.9}) for r in results if r.name == "mine"]
    none = [replace(r, name="none", pooled=r.pooled | {"brier": np.nan}) for r in worse]
    both = [*none, *worse, *results[:2], *(replace(r, name="best") for r in results[2:])]
    event_board.write(tmp_path, both, panel, {"none": "c", "mine": "a", "best": "b"})
    assert json.loads((tmp_path / "events.json").read_text())["best"] == "best"
    assert event_board.winner(both, panel, {"mine": "a", "none": "c"}) == "mine"
    assert event_board.winner(both, panel, {}) is None  # baselines alone


def test_the_sources_own_event_goes_to_the_gate_whatever_others_score(
    panel: Panel, variant: Variants
) -> None:
    asks = replace(panel, meta=replace(panel.meta, event={"below": 10.0}))
    both = [variant("high", {"above": 20.0}), variant("low", {"below": 10.0})]
    found = event_board.compare(panel, both)
    packages = {"high": "a", "low": "b"}
    assert event_board.winner(found, asks, packages) == "low"
    assert event_board.winner(found, panel, packages) == "high"  # the first, where it asks none


def test_without_a_variant_of_events_the_files_are_there_and_empty(
    panel: Panel, tmp_path: Path
) -> None:
    found = event_board.compare(panel, [])
    event_board.write(tmp_path, found, panel, {})
    board = json.loads((tmp_path / "events.json").read_text())
    assert (board["scores"], board["best"]) == ({}, None)
    assert len(pd.read_csv(tmp_path / "events.csv")) == 0
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")


def test_the_terminal_table_marks_the_best_variant(results: list[EventResult]) -> None:
    text = event_board.render(event_board.board(results), "tiny")
    assert "mine *" in text
    assert "logistic *" not in text
    assert "above 20" in text
