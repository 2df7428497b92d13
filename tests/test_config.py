"""A wrong value stops the command before any work, naming the key and the file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gatecast import cli
from gatecast.cli.commands import promote, score
from gatecast.config import Settings
from gatecast.core.errors import ConfigError
from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.core.schema import read
from gatecast.data.config import data_dir
from gatecast.data.sources import read_feed
from gatecast.scoring.config import SinkSettings
from gatecast.training.config import Fit
from gatecast.tuning.config import Search

ROOT = Path(__file__).resolve().parents[1]


GOOD: dict[str, dict[str, Any]] = {
    "params": {"source": "shop", "variants": ["gru", "lstm"]},
    "feed": {"name": "shop", "files": [{"path": "x.csv"}], "time": ["ds"], "task": {"horizon": 24}},
    "fit": {},
    "search": {"space": {"units": {"low": 8, "high": 64}}},
    "storage": {},
}
"""Settings in which everything is in range."""

READERS: dict[str, Callable[..., Any]] = {
    "params": partial(read, Settings),
    "feed": read_feed,
    "fit": partial(read, Fit),
    "search": partial(read, Search),
    "storage": partial(read, SinkSettings),
}
FILES = {
    "params": "params.yaml",
    "feed": "conf/source/shop.yaml",
    "fit": "conf/trainer/smoke.yaml",
    "search": "conf/tune/mine.yaml",
    "storage": "conf/sink/mine.yaml",
}


def changed(path: str, value: Any) -> Any:
    """Read good settings in which one value is another."""
    section, *inner = path.split(".")
    if section not in GOOD:
        section, inner = "params", [section, *inner]
    content = deepcopy(GOOD[section])
    node = content
    for name in inner[:-1]:
        node = node.setdefault(name, {})
    node[inner[-1]] = value
    return READERS[section](content, FILES[section])


def refused(path: str, value: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        changed(path, value)
    return caught.value


def test_settings_in_range_pass() -> None:
    for section, content in GOOD.items():
        READERS[section](content, FILES[section])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("horizon", 1),
        ("seed", 0),
        ("backtest.stride", 1),
        ("promote.margin", 0.0),
        ("score.min_success_fraction", 0.0),
        ("score.workers", 1),
        ("promote.min_skill", -1.0),
        ("feed.task.splits.test", 48),
        ("feed.task.splits.validation", 0.5),
        ("feed.task.season_length", 1),
        ("fit.averaging", 0.0),
        ("fit.threads", 1),
        ("fit.devices", -1),
        ("fit.devices", 32),
        ("fit.log_every", 1),
    ],
)
def test_the_ends_of_a_range_belong_to_it(path: str, value: Any) -> None:
    changed(path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("horizon", -3),
        ("horizon", 0),
        ("season_length", 0),
        ("seed", -1),
        ("variants", []),
        ("variants", ["gru", "gru"]),
        ("backtest.stride", 0),
        ("promote.min_skill", 1.0),
        ("promote.margin", -0.1),
        ("score.min_success_fraction", 1.1),
        ("score.workers", 0),
        ("promote.margin", 1.0),
        ("promote.min_origins", 0),
        ("promote.coverage_95", [0.9]),
        ("promote.coverage_95", [0.9, 0.8]),
        ("promote.coverage_95", [0.9, 1.1]),
        ("promote.confidence", 0.4),
        ("promote.confidence", 1.0),
        ("promote.max_segment_loss", -0.1),
        ("promote.min_segment_series", 0),
    ],
)
def test_a_value_of_params_yaml_out_of_range_is_refused(path: str, value: Any) -> None:
    error = refused(path, value)
    assert error.code == "RANGE"
    assert f"params.yaml: `{path}` is {value!r}" in str(error)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 0}, "`trials` is 0"),
        ({"minutes": 0.0}, "`minutes` is 0.0"),
        ({"space": {}}, "`space` is {}"),
        ({"space": {"units": {"low": 8}}}, "`space.units` is (8, None)"),
        ({"space": {"units": {"low": 8, "high": "x"}}}, "`space.units` is (8, 'x')"),
        ({"space": {"units": {"low": 8, "high": 8}}}, "`space.units.low` is 8"),
        ({"space": {"units": {"low": 0, "high": 8, "log": True}}}, "above 0 for `log`"),
        ({"space": {"units": 8}}, "`space.units` cannot be used: 8 is not a mapping"),
        ({"space": {"units": {"low": 8, "hihg": 16}}}, "`space.units.hihg`. Did you mean 'high'?"),
    ],
)
def test_a_tuning_recipe_out_of_range_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        READERS["search"](GOOD["search"] | changes, FILES["search"])
    assert "conf/tune/mine.yaml" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rows", 0),
        ("task.horizon", 0),
        ("task.horizon", -3),
        ("task.season_length", 0),
        ("task.stride", 0),
        ("task.splits.validation", 0.0),
        ("task.splits.validation", -1),
        ("task.splits.test", 1.5),
        ("task.splits.test", float("nan")),
        ("files", []),
        ("files", [{"path": ""}]),
        ("time", []),
    ],
)
def test_a_value_of_a_source_recipe_out_of_range_is_refused(path: str, value: Any) -> None:
    error = refused(f"feed.{path}", value)
    assert error.code == "RANGE"
    assert f"conf/source/shop.yaml: `{path}" in str(error)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("max_epochs", 0),
        ("steps_per_epoch", 0),
        ("batch_size", 0),
        ("patience", 0),
        ("max_validation_windows", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("weight_decay", -0.1),
        ("averaging", 1.0),
        ("threads", 0),
        ("log_every", 0),
        ("devices", 0),
        ("devices", -2),
        ("devices", 33),  # more than windows in a batch
    ],
)
def test_a_value_of_a_trainer_recipe_out_of_range_is_refused(path: str, value: Any) -> None:
    error = refused(f"fit.{path}", value)
    assert error.code == "RANGE"
    assert f"conf/trainer/smoke.yaml: `{path}`" in str(error)


@pytest.mark.parametrize(
    ("path", "value", "meant"),
    [
        ("promote.metric", "masse", "mase"),
        ("feed.kind", "file", "files"),
        ("feed.layout", "wide_row", "wide_rows"),
        ("feed.duplicates", "means", "mean"),
        ("feed.bad_rows", "quarantin", "quarantine"),
        ("feed.task.splits.by", "series", "series_end"),
        ("fit.precision", "bf16-mix", "bf16-mixed"),
        ("score.fallback", "seasonal-naive", "seasonal_naive"),
        ("score.engine", "locale", "local"),
        ("storage.kind", "parket", "parquet"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_nearest_known_one(
    path: str, value: str, meant: str
) -> None:
    error = refused(path, value)
    assert error.code == "CHOICE"
    assert f"Did you mean '{meant}'?" in str(error)
    assert ".yaml" in str(error)


@pytest.mark.parametrize(
    ("covariates", "told"),
    [
        ({"past": ["t"], "future": ["t"]}, "two roles"),
        ({"past": ["t"], "categorical": ["wind"]}, "wind"),
        ({"past": ["y"]}, "target"),
    ],
)
def test_covariates_that_contradict_each_other_are_refused(
    covariates: dict[str, Any], told: str
) -> None:
    error = refused("feed.covariates", covariates)
    assert error.code == "RANGE"
    assert told in str(error)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"layout": "wide_rows", "start": "2000-01-01"}, "`id`"),
        ({"layout": "wide_rows", "id": "V1"}, "`start`"),
        ({"layout": "wide", "covariates": {"past": ["t"]}}, "`covariates`"),
    ],
)
def test_a_layout_without_the_keys_it_needs_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_feed(GOOD["feed"] | keys, FILES["feed"])


@pytest.mark.parametrize(("key", "value"), [("n_series", 0), ("n_days", 13)])
def test_a_demo_too_small_is_refused(key: str, value: int) -> None:
    small = {"name": "demo", "kind": "demo", "task": {"horizon": 24}}
    read_feed(small, "conf/source/demo.yaml")
    with pytest.raises(ConfigError, match=f"demo.{key}"):
        read_feed(small | {"demo": {key: value}}, "conf/source/demo.yaml")


@pytest.mark.parametrize("key", ["files", "layout", "start", "rows"])
def test_a_setting_of_files_is_none_of_the_demo(key: str) -> None:
    demo = {"name": "demo", "kind": "demo", "task": {"horizon": 24}, key: 3}
    with pytest.raises(ConfigError, match=f"there is no setting `{key}`") as caught:
        read_feed(demo, "conf/source/demo.yaml")
    assert caught.value.code == "UNKNOWN-KEY"


@pytest.mark.parametrize(
    "event", [{"above": 1.0, "below": 0.0}, {"over": 1.0}, {"above": float("nan")}], ids=str
)
def test_an_event_has_one_finite_threshold(event: dict[str, float]) -> None:
    error = refused("feed.task.event", event)
    assert "`task.event` is" in str(error)
    assert "one finite threshold" in str(error)


def test_a_variant_is_not_called_persistence_but_may_be_called_logistic() -> None:
    assert changed("variants", ["logistic"]).variants == ["logistic"]
    assert "without the names of the baselines" in str(refused("variants", ["persistence"]))


def test_spans_of_whole_steps_and_fractions_may_be_mixed() -> None:
    changed("feed.task.splits", {"by": "series_end", "validation": 24, "test": 0.25})


def test_the_quantile_grid_is_symmetric_around_its_median() -> None:
    q = QUANTILES
    assert q[MEDIAN] == 0.5
    assert list(q) == sorted(q)
    assert [a + b for a, b in zip(q, reversed(q), strict=True)] == pytest.approx([1.0] * len(q))


def test_the_data_folder_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATECAST_DATA_DIR", "~/feeds")
    assert data_dir() == Path.home() / "feeds"
    monkeypatch.delenv("GATECAST_DATA_DIR")
    assert data_dir() is None


# --- through the command line -------------------------------------------------------------------------

Ingest = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's recipes and commands in a folder of their own, with a small demo."""
    for name in ("conf", "pipelines"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    edit(tmp_path / "conf/source/demo.yaml", "n_series: 200", "n_series: 5")
    edit(tmp_path / "conf/source/demo.yaml", "n_days: 100", "n_days: 20")
    return tmp_path


@pytest.fixture
def run_ingest(copy: Path) -> Ingest:
    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "pipelines/ingest.py", *args]
        whole = {k: v for k, v in os.environ.items() if k != "GATECAST_DATA_DIR"}
        whole |= {"PYTHONPATH": str(ROOT / "src")} | env
        return subprocess.run(
            command, cwd=copy, env=whole, capture_output=True, text=True, check=False
        )

    return run


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


WRONG = {
    "a typo in params.yaml": ("params.yaml", "seed: 1", "sead: 1", ["sead", "'seed'"]),
    "a typo deep in params.yaml": ("params.yaml", "min_skill:", "minskill:", ["promote.minskill"]),
    "a wrong type in params.yaml": ("params.yaml", "horizon: null", "horizon: day", ["`horizon`"]),
    "half a step": ("params.yaml", "horizon: null", "horizon: 2.5", ["`horizon`"]),
    "a horizon of -3": ("params.yaml", "horizon: null", "horizon: -3", ["`horizon`", "-3"]),
    "a typo in a recipe": (
        "conf/source/demo.yaml",
        "frequency:",
        "frequenzy:",
        ["frequenzy", "'frequency'"],
    ),
    "a typo deep in a recipe": (
        "conf/source/demo.yaml",
        "  season_length:",
        "  seasonlength:",
        ["task.seasonlength"],
    ),
    "a wrong type in a recipe": ("conf/source/demo.yaml", "n_days: 20", "n_days: many", ["n_days"]),
    "a horizon of -3 in a recipe": (
        "conf/source/demo.yaml",
        "horizon: 24",
        "horizon: -3",
        ["task.horizon", "-3"],
    ),
    "a list where a word is meant": (
        "conf/source/demo.yaml",
        "frequency: h",
        "frequency: [h]",
        ["frequency"],
    ),
    "a recipe that is no YAML": ("conf/source/demo.yaml", "covariates:", "covariates: [", []),
    "params.yaml that is no YAML": ("params.yaml", "variants:", "variants: [", []),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_in_a_file_stops_the_command_and_names_key_and_file(
    copy: Path, run_ingest: Ingest, case: str
) -> None:
    file, old, new, told = WRONG[case]
    edit(copy / file, old, new)
    done = run_ingest()
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "ConfigError[" in done.stderr
    for word in (file, *told):
        assert word in done.stderr
    assert not (copy / "data").exists()


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("source=dmeo", ["conf/source/dmeo.yaml", "Did you mean 'demo'?"]),
        ("horizen=24", ["horizen"]),
        ("horizon=-3", ["`horizon`", "-3"]),
        ("feed.task.horizon=day", ["feed.task.horizon"]),
        ("as_of=soon", ["as_of=soon"]),
    ],
)
def test_a_mistake_on_the_command_line_stops_the_command_and_names_it(
    copy: Path, run_ingest: Ingest, argument: str, told: list[str]
) -> None:
    done = run_ingest(argument)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for word in told:
        assert word in done.stderr
    assert not (copy / "data").exists()


def test_an_empty_params_yaml_is_told_what_to_write(copy: Path, run_ingest: Ingest) -> None:
    (copy / "params.yaml").write_text("- seed\n")
    done = run_ingest()
    assert done.returncode == 2
    assert "params.yaml holds no settings" in done.stderr
    assert "Write `variants: [lstm]`" in done.stderr


def test_an_unknown_recipe_in_params_yaml_is_refused_with_those_there_are(
    copy: Path, run_ingest: Ingest
) -> None:
    edit(copy / "params.yaml", "source: demo", "source: sales")
    done = run_ingest()
    assert done.returncode != 0
    assert "conf/source/sales.yaml" in done.stderr
    assert "m4_hourly" in done.stderr
    assert not (copy / "data").exists()


def test_a_feed_that_is_refused_leaves_nothing(copy: Path, run_ingest: Ingest) -> None:
    (copy / "my_data.csv").write_text("unique_id,ds,y\na,2024-01-01T00:00,many\n")
    edit(copy / "conf/source/files.yaml", "frequency: null", "frequency: h")
    done = run_ingest("source=files")
    assert done.returncode != 0
    assert "IngestError[Y-TEXT]: my_data.csv line 2" in done.stderr
    assert not (copy / "data").exists()


def test_check_reports_on_a_feed_and_writes_nothing(copy: Path, run_ingest: Ingest) -> None:
    done = run_ingest("check=true")
    assert done.returncode == 0
    assert "rows in" in done.stdout
    assert not (copy / "data").exists()


def test_a_right_configuration_ingests(copy: Path, run_ingest: Ingest) -> None:
    assert run_ingest().returncode == 0
    assert (copy / "data/observations/ingest_report.json").is_file()
    assert [p.name for p in copy.iterdir() if p.name == "outputs"] == []


@pytest.mark.parametrize("name", ["../x", "a/b", "x'y", "sales[1]", ".hidden", "", "sales-event"])
def test_a_source_whose_name_is_no_plain_file_name_is_refused(name: str) -> None:
    """It names folders, an experiment and a registered model."""
    error = refused("feed.name", name)
    assert error.code == "RANGE"
    assert "it names the source" in str(error)


def test_a_command_does_its_first_mode_unless_told_otherwise() -> None:
    assert score.Options().mode == "now"
    assert promote.Options().mode == "promote"


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        ("promote", {"mode": "rolback"}, "Did you mean 'rollback'"),
        ("score", {"mode": "rollback"}, "one of now, due, backfill"),
        ("promote", {"mode": "due"}, "one of promote, rollback"),
        ("promote", {"reason": "worse"}, "`reason` only applies to mode=rollback"),
        ("ingest", {"mode": "due"}, "there is no setting `mode`"),
        ("score", {"mode": "backfill", "from": "2025-03-01"}, "mode=backfill requires `to`"),
        ("score", {"mode": "backfill", "to": "2025-03-01"}, "mode=backfill requires `from`"),
        ("score", {"to": "2025-03-01"}, "`to` requires mode=backfill"),
        ("score", {"hindcast": True}, "`hindcast` only applies to mode=backfill"),
        ("lineage", {}, "run_key=…, version=… and digest=…"),
        ("lineage", {"version": 1, "digest": "2330"}, "run_key=…, version=… and digest=…"),
    ],
)
def test_what_a_command_cannot_be_asked_to_do_is_refused(
    command: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(cli.command(command).options, given, "the command line")
    assert said in str(caught.value)


def test_only_a_long_table_says_when_a_row_became_known() -> None:
    wide = GOOD["feed"] | {"known_at": "said", "layout": "wide"}
    with pytest.raises(ConfigError, match=r"`known_at` is 'said', but must be null for wide"):
        read_feed(wide, FILES["feed"])
    assert "a column of its own" in str(refused("feed.known_at", "y"))
