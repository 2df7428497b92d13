"""Shards: every series in one of them, whatever it is called, and what becomes of one that cannot be forecast."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatecast.core.errors import ScoringError
from gatecast.core.forecast import QuantileForecast
from gatecast.core.ledger import Ledger
from gatecast.data import ingest
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Feed, RawFile
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows
from gatecast.evaluation.baselines import seasonal_naive
from gatecast.evaluation.predictor import NetPredictor
from gatecast.scoring import read_forecasts, run, run_spec, shards, snapshots, store
from gatecast.scoring.config import Score
from gatecast.scoring.run import score
from tests.scoring.staging import HOSTILE

Promote = Callable[[Feed], Any]


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two series a shard."""
    monkeypatch.setattr(run_spec, "SERIES", 2)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the champion give no number for some series."""
    real = NetPredictor.predict

    def make(*names: str) -> None:
        def predict(self: NetPredictor, panel: Panel, windows: Windows) -> QuantileForecast:
            found = real(self, panel, windows)
            found.values[np.isin(panel.ids[windows.series].astype(str), names), 2] = np.nan
            return found

        monkeypatch.setattr(NetPredictor, "predict", predict)

    return make


def rules(**changes: Any) -> Score:
    return Score(**changes)


def test_a_series_stays_in_its_shard() -> None:
    """By the check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms."""
    assert shards.shard_of(["123456789"], 1 << 40)[0] == 0xCBF43926


@given(st.lists(st.text(), unique=True), st.integers(1, 50))
def test_a_shard_depends_on_the_id_alone(ids: list[str], n: int) -> None:
    whole = shards.shard_of(ids, n)
    assert ((whole >= 0) & (whole < n)).all()
    assert [shards.shard_of([i], n)[0] for i in ids] == list(whole)


def test_a_small_feed_is_one_shard_and_a_large_one_many() -> None:
    assert [run_spec.number_of_shards(n) for n in (0, 1, 1023, 1024, 10_000)] == [1, 1, 1, 2, 16]
    assert [run_spec.number_of_shards(n) for n in (65_536, 65_537, 1_000_000)] == [16, 17, 245]


def test_a_snapshot_lies_shard_by_shard_and_is_the_same_data(
    daily_feed: Feed, promote: Promote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a million series, those of a shard are read in one go."""
    monkeypatch.setattr(run_spec, "SERIES", 1)
    taken = snapshots.take(daily_feed, promote(daily_feed), None) / "panel"
    lies, checked = Panel.load(taken), ingest.check_feed(daily_feed)
    built = build_panel(checked.observations, checked.static, daily_feed, 7, 7, feasible=False)
    assert (np.diff(shards.shard_of(lies.ids, 4)) >= 0).all()
    assert list(lies.ids) != list(built.ids)
    assert lies.meta == built.meta
    assert sorted(lies.ids) == list(built.ids)


def test_hostile_series_ids_come_back_unchanged(
    project: Path, daily_feed: Feed, promote: Promote, small_shards: None
) -> None:
    frame = pd.read_csv("sales.csv", parse_dates=["ds"])
    one = frame[frame["unique_id"] == "s0"]
    every = [one.assign(unique_id=name, y=one["y"] + k) for k, name in enumerate(HOSTILE)]
    pd.concat(every).to_parquet("sales.parquet")
    feed = daily_feed.model_copy(update={"files": [RawFile(path="sales.parquet")]})
    promote(feed)
    done = score(feed)
    assert len(done.manifest["parts"]) == -(-len(HOSTILE) // 2)
    table = read_forecasts("sales")
    assert table.groupby("unique_id").size().to_dict() == dict.fromkeys(HOSTILE, 7)
    expected = {"index.json", "manifest.json", *(part["name"] for part in done.manifest["parts"])}
    assert {p.name for p in Path("forecasts").rglob("*") if p.is_file()} == expected


def test_ten_reruns_leave_the_same_bytes(
    daily_feed: Feed, promote: Promote, small_shards: None
) -> None:
    promote(daily_feed)
    found = set()
    for n in range(10):
        done = score(daily_feed)
        folder = Path(done.where)
        found.add(tuple((folder / part["name"]).read_bytes() for part in done.manifest["parts"]))
        if n % 2:  # lost: it is made again, and is the same
            shutil.rmtree(folder)
    assert len(found) == 1


def test_a_series_that_the_model_cannot_forecast_gets_seasonal_naive_and_says_so(
    daily_feed: Feed, promote: Promote, broken: Callable[..., None]
) -> None:
    promote(daily_feed)
    broken("s2")
    done = score(daily_feed, rules=rules(min_success_fraction=0.75))
    table = read_forecasts("sales")
    mine = table["unique_id"] == "s2"
    assert (done.manifest["fallbacks"], done.manifest["quarantined"]) == (1, 0)
    assert set(table.loc[mine, "fallback"]) == {shards.NAIVE}
    assert set(table.loc[~mine, "fallback"]) == {""}
    (folder,) = snapshots.SNAPSHOTS.glob("*/panel")
    panel = Panel.load(folder)
    naive = seasonal_naive(7, 7).predict(panel, Windows(np.array([2]), panel.history[[2]]))
    np.testing.assert_array_equal(table.loc[mine, "gatecast"], naive.median[0])


def test_a_series_in_quarantine_is_listed_and_not_in_the_table(
    daily_feed: Feed, promote: Promote, broken: Callable[..., None]
) -> None:
    promote(daily_feed)
    broken("s2")
    done = score(daily_feed, rules=rules(min_success_fraction=0.75, fallback="quarantine"))
    assert set(read_forecasts("sales")["unique_id"]) == {"s0", "s1", "s3"}
    assert (done.manifest["fallbacks"], done.manifest["quarantined"]) == (0, 1)
    assert done.manifest["quarantine"] == [["s2", shards.LEFT_OUT]]


def test_a_series_that_seasonal_naive_cannot_forecast_either_is_in_quarantine(
    daily_feed: Feed,
    promote: Promote,
    broken: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promote(daily_feed)
    broken("s1", "s2")

    class OnlyTheFirst:
        def predict(self, panel: Panel, windows: Windows) -> QuantileForecast:
            found = seasonal_naive(7, 7).predict(panel, windows)
            found.values[1:] = np.inf
            return found

    monkeypatch.setattr(shards, "seasonal_naive", lambda *_: OnlyTheFirst())
    done = score(daily_feed, rules=rules(min_success_fraction=0.5))
    assert (done.manifest["fallbacks"], done.manifest["quarantined"]) == (1, 1)
    assert done.manifest["quarantine"] == [["s2", shards.NOTHING]]
    assert set(read_forecasts("sales")["unique_id"]) == {"s0", "s1", "s3"}


def test_too_few_forecasts_of_the_model_itself_publish_nothing(
    daily_feed: Feed, promote: Promote, broken: Callable[..., None]
) -> None:
    promote(daily_feed)
    broken("s2")
    with pytest.raises(ScoringError, match=r"TOO-FEW.*3 of 4 series"):
        score(daily_feed, rules=rules(min_success_fraction=0.8))
    assert store.runs("sales") == []
    assert Ledger().entries(run.KIND, "sales") == []
    (failed,) = Ledger().entries(run.FAILED, "sales")
    assert (failed.facts["fallbacks"], failed.facts["series"]) == (1, 4)
    assert score(daily_feed, rules=rules(min_success_fraction=0.75)).fresh
    assert len(store.runs("sales")) == 1
