"""The belt from end to end, as a user runs it: `dvc repro`, then scoring, monitoring, status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gatecast.scoring import read_forecasts

VARIANTS = {"lstm", "gru", "linear", "seggru"}


def stages_run(output: str) -> set[str]:
    """Names of the stages that `dvc repro` executed."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def read(clone: Any, path: str) -> dict[str, Any]:
    return dict(json.loads((clone.path / path).read_text(encoding="utf-8")))


def test_one_command_runs_every_stage_and_names_the_winner(belt: Any) -> None:
    log = (belt.path / "first.log").read_text(encoding="utf-8")
    once = {"ingest", "window", "evaluate", "explain", "promote"}
    assert stages_run(log) == once | {f"train@{v}" for v in VARIANTS}
    assert "wins by mase" in log
    assert "champion of gatecast-demo is version 1" in log


def test_variants_and_baselines_are_scored_on_the_same_origins(belt: Any) -> None:
    board = read(belt, "reports/leaderboard.json")
    assert set(board["scores"]) == VARIANTS | {"naive", "seasonal_naive"}
    assert len({scores["values"] for scores in board["scores"].values()}) == 1
    assert board["scores"][board["best"]]["mase"] < board["scores"]["seasonal_naive"]["mase"]


def test_the_report_has_tables_and_pictures(belt: Any) -> None:
    reports = belt.path / "reports"
    table = pd.read_csv(reports / "leaderboard.csv", index_col="variant")
    assert list(table["mase"]) == sorted(table["mase"])
    for name in ("error_by_step.png", *(f"forecasts/{v}.png" for v in VARIANTS)):
        assert (reports / name).read_bytes().startswith(b"\x89PNG")
    steps = pd.read_csv(reports / "error_by_step.csv")
    assert set(steps["step"]) == set(range(1, 25))
    assert set(pd.read_parquet(reports / "per_series.parquet")["variant"]) == VARIANTS | {
        "naive",
        "seasonal_naive",
    }


def test_without_a_variant_of_events_their_board_is_empty(belt: Any) -> None:
    assert read(belt, "reports/events.json")["scores"] == {}
    assert (belt.path / "reports/reliability.png").read_bytes().startswith(b"\x89PNG")
    assert read(belt, "reports/promotion.json")["elsewhere"] == []


def test_rows_in_are_accounted_for(belt: Any) -> None:
    report = read(belt, "data/observations/ingest_report.json")
    assert report["rows_in"] == report["accepted"] + report["repaired"] + report["quarantined"]
    assert report["missing_rows"] > 0


def test_after_a_repro_dvc_has_nothing_to_say_and_the_decision_stands(belt: Any) -> None:
    """Whoever runs it a second time finds the reasons for the promotion, not that nothing has happened since."""
    decided = (belt.path / "reports/promotion.md").read_bytes()
    assert belt.run("dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert stages_run(belt.run("dvc", "repro").stdout) == set()
    assert (belt.path / "reports/promotion.md").read_bytes() == decided
    assert "already_champion" in belt.run("python", "pipelines/promote.py").stdout
    assert belt.run("dvc", "status").stdout.strip() == "Data and pipelines are up to date."


def test_an_edited_recipe_runs_again_with_what_follows_and_nothing_else(belt: Any) -> None:
    """And once the edit is taken back, nothing is trained and nothing moves."""
    recipe = belt.path / "conf/model/gru.yaml"
    before = recipe.read_text(encoding="utf-8")
    try:
        recipe.write_text(before.replace("hidden_size: 64", "hidden_size: 32"), encoding="utf-8")
        assert stages_run(belt.run("dvc", "repro").stdout) == {
            "train@gru",
            "evaluate",
            "explain",
            "promote",
        }
    finally:
        recipe.write_text(before, encoding="utf-8")
        again = belt.run("dvc", "repro").stdout
    assert stages_run(again) == {"promote"}
    assert "already_champion" in again
    assert read(belt, "reports/promotion.json")["champion"] == 1


def test_scoring_twice_leaves_one_copy(belt: Any) -> None:
    folder = belt.path / "forecasts" / "demo"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert "has scored this feed already" in belt.run("python", "pipelines/score.py").stdout
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_the_same_run_in_a_database_has_the_same_rows(belt: Any) -> None:
    said = belt.run("python", "pipelines/score.py", "sink=duckdb").stdout
    try:
        assert "-> forecasts.duckdb, run" in said
        key = said.partition("-> forecasts.duckdb, run ")[2].split()[0]
        keys = ["unique_id", "step"]
        files, rows = (
            read_forecasts("demo", key, str(belt.path / sink)).sort_values(keys, ignore_index=True)
            for sink in ("forecasts", "forecasts.duckdb")
        )
        pd.testing.assert_frame_equal(files, rows)
    finally:
        (belt.path / "forecasts.duckdb").unlink(missing_ok=True)


def test_every_series_has_one_forecast_a_step_with_provenance(belt: Any) -> None:
    (table,) = (
        pd.read_parquet(p)
        for p in sorted((belt.path / "forecasts/demo").glob("*/part-*.parquet"))[:1]
    )
    assert len(table) == 12 * 24
    assert not table.duplicated(["unique_id", "step"]).any()
    assert (table["ds"] > table["cutoff"]).all()
    assert (table["gatecast-lo-95"] <= table["gatecast-lo-80"]).all()
    assert (table["gatecast-lo-80"] <= table["gatecast"]).all()
    assert (table["gatecast"] <= table["gatecast-hi-95"]).all()
    assert table["gatecast"].notna().all()
    promotion = read(belt, "reports/promotion.json")
    assert set(table["model_version"]) == {promotion["champion"]}
    assert set(table["model_digest"]) == {promotion["digest"]}


def test_tomorrow_can_be_played_today(belt: Any) -> None:
    belt.run("python", "pipelines/score.py", "as_of=2025-02-07T23:00")
    said = belt.run("python", "pipelines/monitor.py").stdout
    runs = {run["cutoff"]: run for run in read(belt, "reports/actuals.json")["runs"]}
    played = runs["2025-02-07 23:00:00"]
    assert played["actuals"] > 0.9 * played["forecasts"]
    assert played["scores"]["mase"] > 0
    assert "have come true" in said
    assert runs["2025-02-09 23:00:00"]["scores"] is None


def test_status_says_what_there_is(belt: Any) -> None:
    said = belt.run("python", "pipelines/status.py").stdout
    assert "gatecast-demo v1" in said
    assert ", champion for " in said
    assert "when promoted (seasonal naive" in said
    history = said[said.index("decisions, newest first") :]
    assert "promoted" in history
    assert "skill" in history
    assert "12 series" in said
    runs = said[said.index("scoring runs, newest first") :]
    assert "published" in runs
    assert "free disk" in said


def test_a_scoring_run_has_a_page_and_a_past_one_is_drawn_again(belt: Any) -> None:
    said = (belt.path / "score.log").read_text(encoding="utf-8")
    assert "page of the run: reports/scoring/demo.html" in said
    key = said.split("forecasts/demo/")[1][:16]
    path = belt.run("python", "pipelines/report.py", f"run_key={key}").stdout.strip()
    assert path == f"reports/scoring/demo-{key}.html"
    first, again = (
        (belt.path / p).read_text(encoding="utf-8") for p in ("reports/scoring/demo.html", path)
    )
    assert again.count("<figure") == 6  # the largest of 12 series
    assert f"run {key}" in again
    assert "forecasts from" in first  # of this run, or of one that a test has played since


def test_a_promotion_explains_itself_to_people(belt: Any) -> None:
    page = (belt.path / "reports/promotion.md").read_text(encoding="utf-8")
    assert page.startswith("# gatecast-demo: ")
    assert "**Next.**" in page


def test_without_a_previous_champion_a_rollback_is_refused_and_the_champion_stays(
    belt: Any,
) -> None:
    assert "mode=rollback" in belt.run("python", "pipelines/promote.py", "--help").stdout
    done = belt.run("python", "pipelines/promote.py", "mode=rollback", check=False)
    assert done.returncode == 2
    assert "RegistryError[NO-PREVIOUS]" in done.stderr
    assert "gatecast-demo v1" in belt.run("python", "pipelines/status.py").stdout


def test_status_of_an_empty_project_says_what_to_do(fresh_clone: Any) -> None:
    said = fresh_clone.run("python", "pipelines/status.py").stdout
    assert "dvc repro" in said
    assert "none: nothing of demo has been promoted" in said


def test_dvc_shows_metrics_plots_and_changed_parameters(belt: Any) -> None:
    metrics = json.loads(belt.run("dvc", "metrics", "show", "--json").stdout)
    scores = metrics[""]["data"]["reports/metrics.json"]["data"]
    assert set(scores) == {"best", "mase", "skill", "coverage_95", "variants"}
    assert set(scores["variants"]) == VARIANTS
    belt.run("dvc", "plots", "show", "-o", "dvc_plots")
    page = (belt.path / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert "MASE by step" in page
    assert "seasonal_naive" in page
    belt.edit("params.yaml", "seed: 1", "seed: 2")
    try:
        changed = json.loads(belt.run("dvc", "params", "diff", "--json").stdout)
        assert changed["params.yaml"]["seed"]["new"] == 2
    finally:
        belt.edit("params.yaml", "seed: 2", "seed: 1")


def test_a_variant_without_a_recipe_stops_the_belt_before_any_work(fresh_clone: Any) -> None:
    fresh_clone.edit("params.yaml", "  - lstm\n", "  - lstm\n  - my_lstn\n")
    done = fresh_clone.run("dvc", "repro", check=False)
    assert stages_run(done.stdout) == {"ingest"}
    assert "ConfigError[RECIPE]: params.yaml: `variants` names my_lstn" in done.stderr
    assert not (fresh_clone.path / "data/observations").exists()


def test_scoring_without_a_champion_says_what_to_do(fresh_clone: Any) -> None:
    done = fresh_clone.run("python", "pipelines/score.py", check=False)
    assert done.returncode != 0
    assert "ScoringError[NO-CHAMPION]" in done.stderr
    assert "dvc repro" in done.stderr
    assert not (fresh_clone.path / "forecasts").exists()


@pytest.mark.slow
def test_events_have_a_board_and_a_champion_of_their_own(fresh_clone: Any) -> None:
    nets = "  - rnn\n  - lstm\n  - gru\n  - lstm_experts\n  - linear\n"
    fresh_clone.edit("params.yaml", nets, "  - event_lstm\n")
    said = fresh_clone.run("dvc", "repro").stdout
    assert "above 200" in said
    assert "no variant forecasts quantiles" in said
    assert "nothing_to_promote" in said
    event = read(fresh_clone, "reports/promotion.json")["event"]
    assert event["challenger"] == "event_lstm"
    assert f"promote: event_lstm: {event['verdict']}: " in said
    board = read(fresh_clone, "reports/events.json")["scores"]
    assert set(board) == {"event_lstm", "persistence", "logistic"}
    assert "event_lstm" in fresh_clone.run("python", "pipelines/status.py").stdout
    fresh_clone.edit("params.yaml", "  - event_lstm\n", "  - event_lstm\n  - linear\n")
    said = fresh_clone.run("dvc", "repro").stdout
    promotion = read(fresh_clone, "reports/promotion.json")
    assert (promotion["challenger"], promotion["event"]["challenger"]) == ("linear", "event_lstm")
    back = fresh_clone.run(
        "python", "pipelines/promote.py", "mode=rollback", "event=true", check=False
    )
    assert "gatecast-demo-event has no champion before" in back.stderr
    assert read(fresh_clone, "reports/leaderboard.json")["elsewhere"] == ["event_lstm"]


@pytest.mark.slow
def test_a_changed_file_is_ingested_again_wherever_it_lies(
    fresh_clone: Any, tmp_path: Path
) -> None:
    data = tmp_path / "feed"
    data.mkdir()
    stamps = pd.date_range("2024-01-01", periods=400, freq="D")
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": [float(i % 7) for i in range(400)]})
    frame.to_csv(data / "my_data.csv", index=False)
    fresh_clone.edit("conf/source/files.yaml", "frequency: null ", "frequency: D ")
    fresh_clone.edit("params.yaml", "source: demo", "source: files")
    here = {"GATECAST_DATA_DIR": str(data)}

    def repro() -> set[str]:
        return stages_run(fresh_clone.run("dvc", "repro", "window", **here).stdout)

    refused = fresh_clone.run("dvc", "repro", "window", check=False, **here).stderr
    assert "IngestError[UNWATCHED]" in refused
    assert "Add `files` to `watch` in params.yaml" in refused
    fresh_clone.edit("params.yaml", "watch: []", "watch: [files]")
    assert repro() == {"watch@files", "ingest", "window"}
    assert repro() == {"watch@files"}
    frame.assign(y=frame["y"] + 1).to_csv(data / "my_data.csv", index=False)
    assert repro() == {"watch@files", "ingest", "window"}
    (data / "my_data.csv").rename(fresh_clone.path / "data/raw/my_data.csv")
    fresh_clone.edit("params.yaml", "watch: [files]", "watch: []")
    assert repro() == {"ingest"}
    assert repro() == set()
    frame.assign(y=frame["y"] + 2).to_csv(fresh_clone.path / "data/raw/my_data.csv", index=False)
    assert repro() == {"ingest", "window"}
