"""Runs of events: what is true of runs of quantiles is true of them, and neither gets in the other's way."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from gatecast.cli.commands import score as command
from gatecast.config import Config, Settings
from gatecast.core import failpoints
from gatecast.core.errors import GatecastError, RegistryError, ScoringError
from gatecast.core.forecast import EventForecast
from gatecast.core.ledger import Ledger
from gatecast.data.config import Feed
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows
from gatecast.evaluation.base_rate import BaseRate
from gatecast.evaluation.predictor import NetPredictor
from gatecast.registry import aliases, gate
from gatecast.registry.mlflow.store import DATABASE
from gatecast.reports import history, lineage, monitor, page
from gatecast.reports import scoring as report
from gatecast.schedule import backfill, clock
from gatecast.schedule.config import Schedule
from gatecast.scoring import config, read_forecasts, run, shards, sinks, store
from gatecast.scoring.config import Score, SinkSettings
from gatecast.scoring.run import score_all
from gatecast.scoring.sinks import Sink
from tests.scoring.conftest import sales
from tests.scoring.staging import DATABASES
from tests.servers import execute

Promote = Callable[[Feed], Any]
PROVENANCE = ["model_name", "model_version", "model_digest", "data_hash", "run_key", "scored_at"]


@pytest.fixture(scope="module")
def promoted(
    promote: Promote,
    promote_event: Promote,
    empty_store: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A project with a champion of quantiles and one of events; copy it."""
    folder = tmp_path_factory.mktemp("promoted")
    shutil.copy(empty_store, folder / DATABASE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "GATECAST_LEDGER_URI", "GATECAST_DATA_DIR"):
            patch.delenv(name, raising=False)
        feed = sales(folder)
        promote(feed)
        promote_event(feed)
    return folder


@pytest.fixture
def both(project: Path, promoted: Path, daily_feed: Feed) -> Feed:
    """A feed with a champion of quantiles and one of events."""
    shutil.copytree(promoted, project, dirs_exist_ok=True)
    return daily_feed


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the champion of events give no number for some series."""
    real = NetPredictor.predict

    def make(*names: str) -> None:
        def predict(self: NetPredictor, panel: Panel, windows: Windows) -> Any:
            forecast = real(self, panel, windows)
            if isinstance(forecast, EventForecast):
                lost = np.isin(panel.ids[windows.series].astype(str), names)
                forecast.probability[lost, 2] = np.nan
            return forecast

        monkeypatch.setattr(NetPredictor, "predict", predict)

    return make


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make no run of some models publishable."""
    real = run.publish

    def make(*models: str) -> None:
        def refuse(snapshot: Any, best: Any, *rest: Any) -> Any:
            if best.model in models:
                raise RegistryError("DIGEST", f"not the package of {best.model}")
            return real(snapshot, best, *rest)

        monkeypatch.setattr(run, "publish", refuse)

    return make


def keys() -> dict[str, str]:
    return {store.task_of(m): m["run_key"] for m in store.runs("sales")}


def test_one_command_publishes_a_run_of_each_task_on_one_snapshot(both: Feed) -> None:
    (quantiles, event), errors = score_all(both)
    assert errors == {}
    assert "task" not in quantiles.manifest  # as before there were runs of events
    assert (event.manifest["task"], event.manifest["event"]) == ("event", {"above": 75.0})
    assert event.manifest["data_hash"] == quantiles.manifest["data_hash"]
    assert event.manifest["revision"] == quantiles.manifest["revision"] == 1
    assert len(list(Path("data/scoring").glob("*/panel"))) == 1
    again, _ = score_all(both)
    assert [summary.fresh for summary in again] == [False, False]
    rows = [entry.facts["model"] for entry in Ledger().entries("scoring", "sales")]
    assert rows == ["gatecast-sales", "gatecast-sales-event"]


def test_the_table_holds_the_probability_by_each_step_and_which_event(both: Feed) -> None:
    score_all(both)
    table = read_forecasts("sales", kind="event")
    columns = ["unique_id", "cutoff", "ds", "step", "probability", "fallback", *PROVENANCE, "event"]
    assert list(table.columns) == columns
    assert set(table["event"]) == {"above 75"}
    assert set(table["model_name"]) == {"gatecast-sales-event"}
    p = table.sort_values(["unique_id", "step"])["probability"].to_numpy().reshape(4, 7)
    assert (np.diff(p, axis=1) >= 0).all()
    assert (p[0] < 0.1).all()  # s0, about 55
    assert (p[3] > 0.9).all()  # s3, about 85
    assert "probability" not in read_forecasts("sales")
    assert set(read_forecasts("sales", keys()["event"])["event"]) == {"above 75"}
    assert [m["run_key"] for m in store.runs("sales", kind="event")] == [keys()["event"]]


def test_without_a_champion_of_events_its_table_is_missed_by_name(
    daily_feed: Feed, promote: Promote
) -> None:
    promote(daily_feed)
    (done,), errors = score_all(daily_feed)
    assert errors == {}
    assert done.manifest.keys().isdisjoint({"task", "event"})
    with pytest.raises(ScoringError, match=r"NO-FORECASTS.*kind event(?s:.*)kind='quantile'"):
        read_forecasts("sales", kind="event")


def test_a_source_whose_only_champion_forecasts_events_is_scored(
    daily_feed: Feed, promote_event: Promote
) -> None:
    promote_event(daily_feed)
    (done,), errors = score_all(daily_feed)
    assert errors == {}
    assert done.manifest["task"] == "event"


def test_without_any_champion_nothing_is_scored(daily_feed: Feed) -> None:
    with pytest.raises(ScoringError, match="NO-CHAMPION"):
        score_all(daily_feed)


@pytest.mark.parametrize("fails", ["gatecast-sales", "gatecast-sales-event"])
def test_a_champion_that_fails_does_not_withhold_the_other(
    fails: str, both: Feed, refused: Callable[..., None]
) -> None:
    refused(fails)
    (done,), errors = score_all(both)
    (error,) = errors.values()
    assert done.manifest["model"] != fails
    assert isinstance(error, RegistryError)


def test_a_series_without_a_probability_gets_its_base_rate_and_says_so(
    both: Feed, broken: Callable[..., None]
) -> None:
    broken("s2")
    (_, done), _ = score_all(both, rules=Score(min_success_fraction=0.75))
    assert (done.manifest["fallbacks"], done.manifest["quarantined"]) == (1, 0)
    table = read_forecasts("sales", kind="event")
    mine = table["unique_id"] == "s2"
    assert set(table.loc[mine, "fallback"]) == {shards.RATE}
    assert set(table.loc[~mine, "fallback"]) == {""}
    y = pd.read_csv("sales.csv").query("unique_id == 's2'")["y"].to_numpy()
    happened = np.lib.stride_tricks.sliding_window_view(y, 7) > 75
    by_step = np.maximum.accumulate(happened, axis=1)
    expected = (by_step.sum(0) + 0.5) / (len(by_step) + 1)
    np.testing.assert_allclose(table.loc[mine, "probability"], expected, rtol=1e-5)


def test_too_few_probabilities_publish_nothing_of_events(
    both: Feed, broken: Callable[..., None]
) -> None:
    broken("s2")
    done, errors = score_all(both)
    error = errors["event"]
    assert [store.task_of(summary.manifest) for summary in done] == ["quantile"]
    assert "TOO-FEW" in str(error)
    assert "mode=rollback event=true" in str(error)
    quarantine = Score(min_success_fraction=0.75, fallback="quarantine")
    (_, events), _ = score_all(both, rules=quarantine)
    assert events.manifest["quarantine"] == [["s2", shards.LEFT_OUT]]


def test_the_base_rate_of_a_series_without_a_past_is_unknown(both: Feed) -> None:
    score_all(both)
    (folder,) = Path("data/scoring").glob("*/panel")
    panel = Panel.load(folder)
    forecast = BaseRate(7, {"above": 75.0}).predict(panel, Windows(np.array([0]), np.array([0])))
    assert np.isnan(forecast.probability).all()


def test_after_a_rollback_the_same_feed_is_scored_anew(both: Feed, promote_event: Promote) -> None:
    (_, first), _ = score_all(both)
    model = first.manifest["model"]
    for champion, before in ((2, 1), (1, 2)):  # another was promoted, and rolled back
        facts = {"verdict": gate.ROLLBACK, "champion": champion, "champion_before": before}
        Ledger().append(aliases.KIND, model, facts)
    (quantiles, again), _ = score_all(both)
    assert (quantiles.fresh, again.fresh) == (False, True)
    assert again.manifest["revision"] == 2


@pytest.mark.parametrize(
    "point", ["scoring: snapshot written", "scoring: part written", "scoring: published"]
)
def test_a_run_killed_between_two_steps_is_taken_up(
    point: str,
    both: Feed,
    forked: Callable[..., int],
    ended: Callable[[int], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    event = {"quantile": None, "event": run.registry.champion("sales", task="event")}
    monkeypatch.setenv("GATECAST_FAILPOINT", point)
    assert ended(forked(score_all, both, None, None, None, event)) == failpoints.DIED
    monkeypatch.delenv("GATECAST_FAILPOINT")
    with closing(sqlite3.connect("ledger.db", timeout=60)) as ledger, ledger:
        ledger.execute("update leases set expires_at = 0")
    score_all(both, champions=event)
    assert len(store.runs("sales", kind="event")) == 1
    assert len(read_forecasts("sales", kind="event")) == 4 * 7
    assert len(Ledger().entries("scoring", "sales")) == 1


def test_two_processes_at_once_publish_each_run_once(
    both: Feed,
    forked: Callable[..., int],
    ended: Callable[[int], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    champions = {task: run.registry.champion("sales", task=task) for task in ("quantile", "event")}
    children = [forked(score_all, both, None, None, None, champions) for _ in range(2)]
    assert [ended(child) for child in children] == [0, 0]
    assert sorted(store.task_of(m) for m in store.runs("sales")) == ["event", "quantile"]
    assert len(Ledger().entries("scoring", "sales")) == 2
    assert len(read_forecasts("sales", kind="event")) == 4 * 7


def test_a_shard_file_that_changed_is_corrupt(both: Feed) -> None:
    (_, done), _ = score_all(both)
    (part,) = done.manifest["parts"]
    file = Path(done.where, part["name"])
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ScoringError, match="CORRUPT"):
        read_forecasts("sales", kind="event")
    assert len(read_forecasts("sales")) == 4 * 7


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
def test_a_database_made_before_there_were_events_takes_them(
    recipe: SinkSettings, sink: Sink, both: Feed
) -> None:
    champions = {task: run.registry.champion("sales", task=task) for task in ("quantile", "event")}
    score_all(both, "2024-05-15", None, recipe, champions | {"event": None})
    execute(recipe.address, "ALTER TABLE gatecast_forecasts DROP COLUMN event", "SELECT 1")
    (_, done), errors = score_all(both, None, None, recipe, champions)
    assert errors == {}
    in_files, _ = score_all(both, champions=champions)
    wanted = read_forecasts("sales", in_files[1].manifest["run_key"])
    table = read_forecasts("sales", sink=sink, kind="event")
    sort = lambda t: t.sort_values(["unique_id", "step"], ignore_index=True)  # noqa: E731
    pd.testing.assert_frame_equal(sort(table), sort(wanted))
    assert len(read_forecasts("sales", sink=sink)) == 4 * 7
    assert done.manifest["rows"] == 4 * 7


def test_the_page_shows_which_series_are_most_at_risk(both: Feed) -> None:
    (_, done), _ = score_all(both)
    assert "forecasts above 75" in report.text(done)
    said = page.after("sales", done.manifest["run_key"])
    assert "reports/scoring/sales-event.html" in said
    text = Path("reports/scoring/sales-event.html").read_text()
    assert "risk of above 75" in text
    rows = text[text.index('id="risks"') :]
    assert rows.index(">s3<") < rows.index(">s0<")
    assert text.count("<svg") == 4
    later, _ = score_all(both, "2024-05-18")
    assert page.of_run("sales").name == f"sales-{later[0].manifest['run_key']}.html"


def test_what_moved_since_the_run_before_is_seen_among_runs_of_events_only(both: Feed) -> None:
    score_all(both, "2024-05-17")
    (_, done), _ = score_all(both)
    page.after("sales", done.manifest["run_key"])
    text = Path("reports/scoring/sales-event.html").read_text()
    (before,) = [
        m for m in store.runs("sales", kind="event") if m["run_key"] != done.manifest["run_key"]
    ]
    assert f"the probability of run {before['run_key']}" in text
    assert "points</span>" in text


def test_probabilities_are_judged_when_values_arrive(both: Feed) -> None:
    score_all(both, "2024-05-15")  # four of seven days are known
    quantiles, event = monitor.monitor(both)["runs"]
    assert (quantiles["task"], event["task"]) == ("quantile", "event")
    scores = event["scores"]
    assert (scores["values"], scores["brier"], scores["values_of_steps"]) == (0, None, 4 * 4)
    table = read_forecasts("sales", kind="event").query("step <= 4")
    known = pd.read_csv("sales.csv", parse_dates=["ds"])
    table = table.merge(known, on=["unique_id", "ds"]).sort_values(["unique_id", "step"])
    label = (table["y"] > 75).groupby(table["unique_id"]).cummax()
    brier = ((table["probability"] - label) ** 2).mean()
    assert scores["brier_of_steps"] == pytest.approx(brier, abs=1e-5)
    said = monitor.line(json.loads(monitor.REPORT.read_text()))
    assert "16 of 28 forecasts can be judged, Brier score 0." in said
    assert "above 75 happened in - of 0 complete horizons" in said


def test_events_are_scored_at_the_end_of_complete_horizons(both: Feed) -> None:
    score_all(both, "2024-05-10")
    scores = monitor.monitor(both)["runs"][1]["scores"]
    table = read_forecasts("sales", kind="event")
    table = table.merge(pd.read_csv("sales.csv", parse_dates=["ds"]), on=["unique_id", "ds"])
    label = (table["y"] > 75).groupby(table["unique_id"]).any()
    last = table.query("step == 7").set_index("unique_id")["probability"]
    assert (scores["values"], scores["values_of_steps"]) == (4, 4 * 7)
    assert scores["brier"] == pytest.approx(((last - label) ** 2).mean(), abs=1e-5)
    assert scores["base_rate"] == label.mean()


def test_a_value_that_follows_gaps_judges_no_probability(both: Feed) -> None:
    score_all(both, "2024-05-15")
    known = pd.read_csv("sales.csv", parse_dates=["ds"])
    gone = (known["ds"] > "2024-05-15") & ((known["ds"] != "2024-05-18") | (known["y"] > 75))
    known[~gone].to_csv("sales.csv", index=False)
    content = monitor.monitor(both)
    event = content["runs"][1]
    assert (event["actuals"] > 0, event["scores"]) == (True, None)
    assert "0 of 28 forecasts can be judged" in monitor.line(content)


def test_status_and_lineage_know_runs_of_events(both: Feed) -> None:
    score_all(both)
    rows = history.render(
        history.last("sales", sinks.sink(config.SinkSettings()), Ledger())
    ).splitlines()
    tasks = [row.split()[1] for row in rows if row.strip().startswith("20")]
    assert sorted(tasks) == ["event", "quantile"]
    facts = lineage.of_forecast("sales", keys()["event"])
    assert facts["model"] == "gatecast-sales-event"
    assert [m["run_key"] for m in facts["forecasts"]] == [keys()["event"]]
    assert list(lineage.recently_used("sales", 7, task="event")) == [1]


def test_a_slot_and_a_backfill_score_both(both: Feed) -> None:
    schedule = Schedule(cron="0 6 * * *")
    now = pd.Timestamp("2024-05-19 07:00", tz="UTC").to_pydatetime()
    tick = clock.run_due(both, schedule, now)
    assert sorted(tick.run_keys) == sorted(keys().values())
    hindcast = backfill.Span("2024-05-10", "2024-05-11", hindcast=True)
    assert backfill.run_span(hindcast, both, schedule).slots == {backfill.SCORED: 2}
    assert len(store.runs("sales", kind="event")) == len(store.runs("sales", kind="quantile")) == 3


DAILY = Schedule(cron="0 6 * * *")
NOON = pd.Timestamp("2024-05-19 12:00", tz="UTC").to_pydatetime()


def test_a_slot_is_noted_without_the_run_of_events_that_failed(
    both: Feed, refused: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    refused("gatecast-sales-event")
    tick = clock.run_due(both, DAILY, NOON)
    assert tick.run_keys == [keys()["quantile"]]
    (row,) = tick.done
    assert (row.facts["failed"], row.facts["run_key"]) == (["event"], keys()["quantile"])
    assert "not the package of gatecast-sales-event" in capsys.readouterr().err
    with pytest.raises(ScoringError, match="SLOTS"):
        tick.check()
    later = clock.run_due(both, DAILY, NOON)
    assert (later.done, later.failed) == ([], {})


def test_a_slot_without_its_run_of_quantiles_stays_missing_while_that_of_events_is_published(
    both: Feed, refused: Callable[..., None]
) -> None:
    refused("gatecast-sales")
    tick = clock.run_due(both, DAILY, NOON)
    assert (tick.done, tick.run_keys) == ([], [keys()["event"]])
    refused()
    (row,) = clock.run_due(both, DAILY, NOON).done
    assert row.facts.keys().isdisjoint({"failed"})
    assert row.facts["event"]["run_key"] == keys()["event"]


def test_all_errors_of_a_slot_are_printed(
    both: Feed, refused: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    refused("gatecast-sales", "gatecast-sales-event")
    tick = clock.run_due(both, DAILY, NOON)
    said = capsys.readouterr().err
    assert "not the package of gatecast-sales\n" in said
    assert "not the package of gatecast-sales-event\n" in said
    assert (tick.done, tick.run_keys, list(map(len, tick.failed.values()))) == ([], [], [2])


def test_a_backfill_publishes_what_it_can_and_carries_the_errors(
    both: Feed, refused: Callable[..., None]
) -> None:
    refused("gatecast-sales-event")
    span = backfill.Span("2024-05-10", "2024-05-11", hindcast=True)
    done = backfill.run_span(span, both, DAILY)
    assert [str(error)[:13] for errors in done.failed.values() for error in errors] == [
        "RegistryError",
        "RegistryError",
    ]
    assert len(store.runs("sales", kind="quantile")) == 2
    with pytest.raises(ScoringError, match="SLOTS"):
        done.check()


def test_a_feed_that_cannot_be_read_is_said_once(both: Feed) -> None:
    Path("sales.csv").write_text("unique_id,ds\n")
    done, errors = score_all(both)
    assert (done, list(errors)) == ([], ["quantile"])


def test_a_snapshot_is_marked_as_used_when_the_second_champion_begins(
    both: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ages = run.publish, []

    def publish(snapshot: Path, *rest: Any) -> Any:
        ages.append(time.time() - snapshot.stat().st_mtime)
        summary = real(snapshot, *rest)
        os.utime(snapshot, (0, 0))  # as if the run had taken hours
        return summary

    monkeypatch.setattr(run, "publish", publish)
    score_all(both)
    assert len(ages) == 2
    assert max(ages) < 60


@pytest.mark.parametrize("mode", ["now", "due"])
def test_the_command_draws_the_page_of_what_was_published_before_it_fails(
    mode: Literal["now", "due"], both: Feed, refused: Callable[..., None]
) -> None:
    refused("gatecast-sales-event")
    settings = Settings(variants=["lstm"], schedule=Schedule(cron="* * * * *"))
    called = Config(settings, {"source": both, "sink": SinkSettings()}, {})
    with pytest.raises(GatecastError, match="SLOTS" if mode == "due" else "DIGEST"):
        command.main.body(called, command.Options(mode=mode))
    assert [path.name for path in Path("reports/scoring").glob("*.html")] == ["sales.html"]
