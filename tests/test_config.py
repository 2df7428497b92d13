"""A wrong value stops the command before any work, naming the key and the file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatecast import checks
from gatecast.config import Config
from gatecast.core.errors import ConfigError
from gatecast.core.forecast import MEDIAN, QUANTILES
from gatecast.data.config import Covariates, Demo, Feed, RawFile, Splits, Task, data_dir
from gatecast.scoring.config import Sink
from gatecast.training.config import Fit
from gatecast.tuning.config import Search

ROOT = Path(__file__).resolve().parents[1]


def good() -> Config:
    """A configuration in which everything is present and in range."""
    feed = Feed(name="shop", files=[RawFile("x.csv")], time=["ds"], task=Task(horizon=24))
    return Config(
        source="shop",
        variants=["gru", "lstm"],
        feed=feed,
        fit=Fit(),
        storage=Sink(),
        variant="gru",
    )


def put(node: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        node = getattr(node, name)
    assert hasattr(node, last)
    setattr(node, last, value)


def refused(path: str, value: Any) -> ConfigError:
    wrong = good()
    put(wrong, path, value)
    with pytest.raises(ConfigError) as caught:
        checks.check(wrong, {"source": "shop", "model": "gru", "trainer": "smoke"})
    return caught.value


def test_a_configuration_in_range_passes() -> None:
    checks.check(good())


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
    edge = good()
    put(edge, path, value)
    checks.check(edge)


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
        ({"space": {"units": 8}}, "`space.units` is 8"),
        ({"space": {"units": {"low": 8, "hihg": 16}}}, "`hihg`"),
    ],
)
def test_a_tuning_recipe_out_of_range_is_refused(changes: dict[str, Any], said: str) -> None:
    wrong = good()
    wrong.search = Search(**{"space": {"units": {"low": 8, "high": 64}}} | changes)
    with pytest.raises(ConfigError) as caught:
        checks.check(wrong, {"tune": "mine"})
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
        ("files", [RawFile("")]),
        ("time", []),
    ],
)
def test_a_value_of_a_source_recipe_out_of_range_is_refused(path: str, value: Any) -> None:
    error = refused(f"feed.{path}", value)
    assert error.code == "RANGE"
    assert f"conf/source/shop.yaml: `{path}`" in str(error)


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
        (Covariates(past=["t"], future=["t"]), "two roles"),
        (Covariates(past=["t"], categorical=["wind"]), "wind"),
        (Covariates(past=["y"]), "target"),
    ],
)
def test_covariates_that_contradict_each_other_are_refused(
    covariates: Covariates, told: str
) -> None:
    error = refused("feed.covariates", covariates)
    assert error.code == "RANGE"
    assert told in str(error)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"layout": "wide_rows", "start": "2000-01-01"}, "`id`"),
        ({"layout": "wide_rows", "id": "V1"}, "`start`"),
        ({"layout": "wide", "covariates": Covariates(past=["t"])}, "`covariates`"),
    ],
)
def test_a_layout_without_the_keys_it_needs_is_refused(keys: dict[str, Any], told: str) -> None:
    wrong = good()
    for name, value in keys.items():
        put(wrong.feed, name, value)
    with pytest.raises(ConfigError, match=told):
        checks.check(wrong)


@pytest.mark.parametrize(("key", "value"), [("n_series", 0), ("n_days", 13)])
def test_a_demo_too_small_is_refused(key: str, value: int) -> None:
    wrong = good()
    assert wrong.feed is not None
    wrong.feed.kind, wrong.feed.files = "demo", []
    checks.check(wrong)
    wrong.feed.demo = Demo(**{key: value})
    with pytest.raises(ConfigError, match=f"demo.{key}"):
        checks.check(wrong)


@pytest.mark.parametrize(
    "event", [{"above": 1.0, "below": 0.0}, {"over": 1.0}, {"above": float("nan")}], ids=str
)
def test_an_event_has_one_finite_threshold(event: dict[str, float]) -> None:
    wrong = good()
    assert wrong.feed is not None
    wrong.feed.task.event = event
    with pytest.raises(ConfigError, match=r"`task.event` is .* one finite threshold"):
        checks.check(wrong)


def test_a_variant_is_not_called_persistence_but_may_be_called_logistic() -> None:
    named = good()
    named.variants = ["logistic"]
    checks.check(named)
    named.variants = ["persistence"]
    with pytest.raises(ConfigError, match="without the names of the baselines"):
        checks.check(named)


def test_spans_of_whole_steps_and_fractions_may_be_mixed() -> None:
    mixed = good()
    assert mixed.feed is not None
    mixed.feed.task.splits = Splits("series_end", 24, 0.25)
    checks.check(mixed)


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


MODES = ("now", "due", "backfill")


def test_a_command_does_its_first_mode_unless_told_otherwise() -> None:
    for modes, mode in ((MODES, "now"), (("promote", "rollback"), "promote"), ((), "")):
        chosen = Config()
        checks.check_mode(chosen, modes)
        assert chosen.mode == mode


@pytest.mark.parametrize(
    ("given", "modes", "said"),
    [
        ({"mode": "rolback"}, ("promote", "rollback"), "Did you mean 'rollback'"),
        ({"mode": "rollback"}, MODES, "none of now, due, backfill"),
        ({"mode": "due"}, ("promote", "rollback"), "none of promote, rollback"),
        ({"mode": "due"}, (), "left out here"),
        ({"mode": "backfill", "begin": "2025-03-01"}, MODES, "`to` and `mode=backfill` need"),
        ({"mode": "backfill", "end": "2025-03-01"}, MODES, "`from` and `mode=backfill` need"),
        ({"end": "2025-03-01"}, MODES, "`to` and `mode=backfill` need"),
        ({"hindcast": True}, MODES, "`hindcast` is of `mode=backfill`"),
        ({"mode": "due", "as_of": "2025-03-01"}, MODES, "takes the time from its slots"),
    ],
)
def test_what_a_command_cannot_be_asked_to_do_is_refused(
    given: dict[str, Any], modes: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        checks.check_mode(Config(**given), modes)
    assert said in str(caught.value)


def test_only_a_long_table_says_when_a_row_became_known() -> None:
    wide = good()
    assert wide.feed is not None
    wide.feed.known_at, wide.feed.layout = "said", "wide"
    with pytest.raises(ConfigError, match=r"`known_at` is 'said', but must be null for wide"):
        checks.check(wide)
    assert "a column of its own" in str(refused("feed.known_at", "y"))
