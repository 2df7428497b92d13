"""One dense buffer: masks for gaps, codes for names, split points, the way to disk and back."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatecast.core.errors import GatecastError, PanelError
from gatecast.core.forecast import QUANTILES
from gatecast.data import contract, windows
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Feed, Splits, Task
from gatecast.data.panel import Panel, write_series

MakeFeed = Callable[..., Feed]
Ingested = Callable[..., contract.Checked]
LongCsv = Callable[..., str]
Build = Callable[..., Panel]


@pytest.fixture
def panel_of(ingested: Ingested) -> Build:
    """``panel_of(feed, feasible=False)``: ingest and build."""

    def run(feed: Feed, feasible: bool = False, **task: Any) -> Panel:
        checked = ingested(feed)
        return build_panel(checked.observations, checked.static, feed, feasible=feasible, **task)

    return run


def target(panel: Panel, i: int = 0) -> list[float | None]:
    part = panel.values[panel.indptr[i] : panel.indptr[i + 1], 0]
    return [None if np.isnan(v) else float(v) for v in part]


# --- the buffer ---------------------------------------------------------------------------------------


def test_a_gap_is_masked_not_zero_filled(make_feed: MakeFeed, panel_of: Build) -> None:
    panel = panel_of(make_feed("id,ds,y\na,2024-01-01T00:00,1\na,2024-01-01T03:00,2\n"))
    assert target(panel) == [1, None, None, 2]
    assert list(panel.observed) == [True, False, False, True]


def test_an_empty_value_is_masked_and_a_zero_is_not(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    panel = panel_of(make_feed(long_csv({"a": [1, None, 0]})))
    assert list(panel.observed) == [True, False, True]


def test_series_lie_end_to_end_and_each_begins_at_its_first_value(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    panel = panel_of(make_feed(long_csv({"a": [1, 2], "b": [None, None, 3, None, 5]})))
    assert list(panel.ids) == ["a", "b"]
    assert list(panel.indptr) == [0, 2, 5]
    assert list(panel.position) == [0, 2]
    assert target(panel, 1) == [3, None, 5]
    assert panel.values.dtype == np.float32


def test_rows_after_the_last_value_carry_what_is_known_ahead(
    make_feed: MakeFeed, panel_of: Build
) -> None:
    text = "id,ds,y,ahead\n" + "".join(
        f"a,2024-01-01T{k:02d}:00,{k if k < 3 else ''},{k + 10}\n" for k in range(5)
    )
    panel = panel_of(make_feed(text, cov={"future": ["ahead"]}))
    assert list(panel.history) == [3]
    assert list(panel.lengths) == [5]
    assert list(panel.values[:, 1]) == [10, 11, 12, 13, 14]
    assert list(windows.latest(panel).origin) == [3]


def test_channels_are_target_then_past_then_future_with_their_roles(
    make_feed: MakeFeed, panel_of: Build
) -> None:
    text = "id,ds,sales,f,p\na,2024-01-01T00:00,1,2,3\na,2024-01-01T01:00,4,5,6\n"
    panel = panel_of(make_feed(text, target="sales", cov={"future": ["f"], "past": ["p"]}))
    assert [(c.name, c.role) for c in panel.meta.channels] == [
        ("sales", "target"),
        ("p", "past"),
        ("f", "future"),
    ]
    assert list(panel.values[0]) == [1, 3, 2]


def test_names_become_codes_and_nothing_is_code_zero(make_feed: MakeFeed, panel_of: Build) -> None:
    text = "id,ds,y,wind\n" + "".join(
        f"a,2024-01-01T{k:02d}:00,1,{w}\n" for k, w in enumerate(["SE", "NW", "", "cv", "NW"])
    )
    panel = panel_of(make_feed(text, cov={"past": ["wind"], "categorical": ["wind"]}))
    assert panel.meta.channels[1].categories == ["NW", "SE", "cv"]
    assert list(panel.values[:, 1]) == [2, 1, 0, 3, 1]


def test_statics_are_numbers_or_codes_aligned_with_the_series(
    make_feed: MakeFeed, panel_of: Build
) -> None:
    text = "id,ds,y,size,kind\nb,2024-01-01T00:00,1,2.5,shop\na,2024-01-01T00:00,1,,home\n"
    text += "c,2024-01-01T00:00,1,7,\nc,2024-01-01T01:00,2,7,\n"
    panel = panel_of(make_feed(text, cov={"static": ["size", "kind"]}))
    assert list(panel.ids) == ["a", "b", "c"]
    assert [c.categories for c in panel.meta.static] == [None, ["home", "shop"]]
    expected = [[np.nan, 1], [2.5, 2], [7, 0]]
    assert np.array_equal(panel.static, expected, equal_nan=True)


@pytest.mark.parametrize("role", ["past", "future", "static"])
@pytest.mark.parametrize("value", ["1e39", "1e400"])
def test_no_covariate_is_ever_infinite(
    make_feed: MakeFeed, panel_of: Build, role: str, value: str
) -> None:
    text = f"id,ds,y,x\na,2024-01-01T00:00,1,{value}\nb,2024-01-01T01:00,1,2\n"
    feed = make_feed(text, cov={role: ["x"]})
    try:
        panel = panel_of(feed)
    except GatecastError:
        return  # refusing the value is as good as masking it
    assert not np.isinf(panel.values).any()
    assert not np.isinf(panel.static).any()


# --- frequencies --------------------------------------------------------------------------------------


def ticks(first: str, minutes: int, n: int) -> list[str]:
    begin = datetime.fromisoformat(first)
    return [str(begin + timedelta(minutes=minutes * k)) for k in range(n)]


def months(first: str, step: int, n: int) -> list[str]:
    begin = datetime.fromisoformat(first)
    at = [begin.month - 1 + step * k for k in range(n)]
    return [str(begin.replace(year=begin.year + m // 12, month=m % 12 + 1)) for m in at]


FREQUENCIES = {
    "15min": ticks("2024-02-28 22:45", 15, 120),
    "30min": ticks("2024-02-28 23:30", 30, 120),
    "h": ticks("2023-12-31 23:00", 60, 120),
    "D": ticks("2024-01-30", 1440, 120),
    "W-MON": ticks("2023-11-06", 10080, 120),
    "MS": months("2015-11-01", 1, 120),
    "QS": months("1990-10-01", 3, 120),
    "YS": months("1850-01-01", 12, 120),
}


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_a_panel_of_any_frequency_has_its_stamps_and_windows(
    make_feed: MakeFeed, panel_of: Build, frequency: str
) -> None:
    stamps = FREQUENCIES[frequency]
    present = [k for k in range(len(stamps)) if k != 50]  # one gap
    text = "id,ds,y\n" + "".join(f"a,{stamps[k]},{k}\n" for k in present)
    task = Task(horizon=4, season_length=1, splits=Splits(validation=12, test=16))
    panel = panel_of(make_feed(text, frequency=frequency, task=task), feasible=True)
    assert target(panel) == [None if k == 50 else k for k in range(120)]
    assert [str(t) for t in panel.axis[:120]] == stamps
    assert len(panel.axis) >= 120 + 4
    assert panel.axis.is_unique
    splits = panel.meta.splits
    assert splits["train_end"] == stamps[92]
    assert splits["validation_end"] == stamps[104]
    assert list(windows.rolling_origins(panel, "test").origin) == [104, 108, 112, 116]


# --- splits -------------------------------------------------------------------------------------------


def split_feed(make_feed: MakeFeed, text: str, season: int = 1, **splits: Any) -> Feed:
    return make_feed(text, task=Task(horizon=2, season_length=season, splits=Splits(**splits)))


LATE = {"old": list(range(1, 41)), "new": [None] * 20 + list(range(1, 21)), "gone": [5] * 30}


def test_splits_by_time_are_the_same_moments_for_all_series(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    panel = panel_of(split_feed(make_feed, long_csv(LATE), by="time", validation=5, test=10))
    train, validation, end = panel.split_points
    assert list(panel.ids) == ["gone", "new", "old"]
    assert list(train + panel.position) == [25, 25, 25]
    assert list(validation + panel.position) == [30, 30, 30]
    assert list(end + panel.position) == [30, 40, 40]


def test_splits_by_series_end_count_back_from_each_series_own_end(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    feed = split_feed(make_feed, long_csv(LATE), by="series_end", validation=5, test=10)
    train, validation, end = panel_of(feed).split_points
    assert list(end) == [30, 20, 40]
    assert list(validation) == [20, 10, 30]
    assert list(train) == [15, 5, 25]


def test_a_series_shorter_than_its_test_span_has_empty_spans_not_negative_ones(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    text = long_csv({"a": list(range(1, 41)), "tiny": [1, 2, 3]})
    for by in ("time", "series_end"):
        feed = split_feed(make_feed, text, by=by, validation=5, test=10)
        for points in panel_of(feed).split_points:
            assert (points >= 0).all()


def test_fractions_are_rounded_down_to_whole_seasons(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    text = long_csv({"a": [1.0] * 100})
    splits = panel_of(split_feed(make_feed, text, 7, validation=0.1, test=0.2)).meta.splits
    stamps = ticks("2024-01-01", 60, 100)
    assert splits["validation_end"] == stamps[77]  # 80, down to 11 weeks of 7 steps
    assert splits["train_end"] == stamps[63]  # 67, down to 9


def test_steps_are_counted_exactly(make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv) -> None:
    text = long_csv({"a": [1.0] * 100})
    splits = panel_of(split_feed(make_feed, text, 7, validation=11, test=13)).meta.splits
    stamps = ticks("2024-01-01", 60, 100)
    assert (splits["train_end"], splits["validation_end"]) == (stamps[76], stamps[87])


def test_rows_known_ahead_do_not_move_the_splits(make_feed: MakeFeed, panel_of: Build) -> None:
    rows = [f"a,{t},{1 if k < 30 else ''},0" for k, t in enumerate(ticks("2024-01-01", 60, 40))]
    text = "\n".join(["id,ds,y,ahead", *rows]) + "\n"
    panel = panel_of(make_feed(text, cov={"future": ["ahead"]}))
    assert panel.meta.splits["validation_end"] == "2024-01-02 04:00:00"  # 30 - 2 steps


@pytest.mark.parametrize("span", ["validation", "test"])
def test_a_feed_too_short_for_its_task_is_refused_with_the_way_out(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv, span: str
) -> None:
    splits = {"validation": 5, "test": 5} | {span: 1}
    feed = split_feed(make_feed, long_csv({"a": [1.0] * 20}), **splits)
    with pytest.raises(PanelError, match=f"no {span} window") as caught:
        panel_of(feed, feasible=True)
    assert caught.value.code == "TOO-SHORT"
    assert "'shop'" in str(caught.value)
    assert "-S horizon=" in str(caught.value)


def test_a_feed_without_a_training_origin_is_refused(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    feed = split_feed(make_feed, long_csv({"a": [1.0] * 8}), validation=4, test=4)
    with pytest.raises(PanelError, match="no training window"):
        panel_of(feed, feasible=True)


def test_scoring_may_build_a_panel_of_any_length(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    assert panel_of(make_feed(long_csv({"a": [1]})), feasible=False).n_series == 1


# --- the resolved task --------------------------------------------------------------------------------


def test_the_recipe_gives_the_task_and_an_override_wins(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    feed = make_feed(long_csv({"a": [1.0] * 40}), task=Task(horizon=6, season_length=24, stride=3))
    meta = panel_of(feed).meta
    assert (meta.horizon, meta.season_length, meta.stride) == (6, 24, 3)
    meta = panel_of(feed, horizon=5, season_length=12, stride=1).meta
    assert (meta.horizon, meta.season_length, meta.stride) == (5, 12, 1)


@pytest.mark.parametrize(("freq", "horizon"), [("h", 3), ("MS", 2)])
def test_covariates_known_further_ahead_than_the_horizon_are_left_out(
    make_feed: MakeFeed, panel_of: Build, freq: str, horizon: int
) -> None:
    stamps = pd.date_range("2024-01-01", periods=30, freq=freq)
    rows = [f"a,{t},{k if k < 24 else ''},{k}" for k, t in enumerate(stamps)]
    feed = make_feed(
        "id,ds,y,ahead\n" + "\n".join(rows) + "\n", cov={"future": ["ahead"]}, frequency=freq
    )
    built = panel_of(feed, horizon=horizon, season_length=1)
    assert list(built.values[:, 1]) == list(range(24 + horizon))


def test_without_a_stride_origins_are_a_horizon_apart(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    feed = make_feed(long_csv({"a": [1.0] * 40}), task=Task(horizon=6, season_length=24))
    assert panel_of(feed, horizon=5).meta.stride == 5


def test_made_up_stamps_have_no_calendar(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    text = long_csv({"a": [1.0] * 40})
    assert panel_of(make_feed(text)).meta.calendar == ["time_of_day", "day_of_week"]
    assert panel_of(make_feed(text, calendar=False)).meta.calendar == []


def test_holidays_of_an_unknown_country_are_refused(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    with pytest.raises(GatecastError, match="XX") as caught:
        panel_of(make_feed(long_csv({"a": [1.0] * 40}), holidays="XX"))
    assert caught.value.code == "HOLIDAYS"


# --- to disk and back ---------------------------------------------------------------------------------


@pytest.fixture
def rich(make_feed: MakeFeed, panel_of: Build) -> Panel:
    """A panel with every kind of channel, gaps and difficult ids."""
    text = "id,ds,y,t,wind,size\n" + "".join(
        f'"{name}",2024-01-01T{k:02d}:00,{"" if k == 3 else k},{k / 3},{"NW" if k % 2 else "é"},{s}\n'
        for s, name in enumerate(["007", "NA", "🚲", "two\nlines"])
        for k in range(s, 9)
    )
    cov = {"past": ["t"], "future": ["wind"], "static": ["size"], "categorical": ["wind"]}
    return panel_of(make_feed(text, cov=cov))


def test_a_panel_comes_back_from_disk_as_it_was(rich: Panel) -> None:
    rich.save(Path("panel"))
    back = Panel.load(Path("panel"))
    assert back.meta == rich.meta
    assert np.array_equal(back.values, rich.values, equal_nan=True)
    assert np.array_equal(back.observed, rich.observed)
    assert np.array_equal(back.indptr, rich.indptr)
    pd.testing.assert_frame_equal(back.series, rich.series)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    ids=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=5, max_size=5),
    levels=st.integers(1, 11),
)
def test_any_panel_comes_back_from_disk_as_it_was(
    rich: Panel, lengths: list[int], ids: list[str], levels: int
) -> None:
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    rng = np.random.default_rng(sum(lengths))
    values = rng.normal(size=(indptr[-1], 3)).astype(np.float32)
    values[rng.random(values.shape) < 0.3] = np.nan
    n = len(lengths)
    series = pd.DataFrame({"unique_id": pd.Series(ids[:n], dtype="str"), "position": range(n)})
    series = series.assign(history=lengths, size=rng.normal(size=n).astype(np.float32))
    meta = replace(rich.meta, quantiles=QUANTILES[:levels])
    panel = Panel(values, ~np.isnan(values[:, 0]), indptr, series, meta)
    panel.save(Path("panel"))
    back = Panel.load(Path("panel"))
    assert back.meta == meta
    assert np.array_equal(back.values, values, equal_nan=True)
    assert np.array_equal(back.indptr, indptr)
    assert list(back.ids) == ids[:n]
    assert np.array_equal(back.history, lengths)


def test_a_loaded_panel_is_mapped_not_read_and_changes_never_reach_the_disk(rich: Panel) -> None:
    rich.save(Path("panel"))
    back = Panel.load(Path("panel"))
    assert isinstance(back.values, np.memmap)
    before = Path("panel/values.npy").read_bytes()
    back.values[:] = 0
    assert Path("panel/values.npy").read_bytes() == before


def test_a_panel_in_another_order_holds_the_same_series(rich: Panel) -> None:
    order = np.array([2, 0, 3, 1])
    other = rich.ordered(order)
    assert list(other.ids) == list(rich.ids[order])
    assert other.meta == rich.meta
    for k, i in enumerate(order):
        mine, its = (slice(*p.indptr[[n, n + 1]]) for p, n in ((other, k), (rich, i)))
        assert np.array_equal(other.values[mine], rich.values[its], equal_nan=True)
        assert np.array_equal(other.observed[mine], rich.observed[its])
    for name in ("position", "history", "static", "lengths"):
        assert np.array_equal(getattr(other, name), getattr(rich, name)[order])
    assert rich.ordered(np.arange(4)) is rich


def test_a_released_panel_reads_the_same(rich: Panel) -> None:
    rich.save(Path("panel"))
    back = Panel.load(Path("panel"))
    np.testing.assert_array_equal(back.values, rich.values)
    back.release()
    np.testing.assert_array_equal(back.values, rich.values)
    np.testing.assert_array_equal(back.observed, rich.observed)
    rich.release()  # one that is not mapped has nothing to give back
    np.testing.assert_array_equal(back.values, rich.values)


def test_there_is_nothing_pickled_in_a_panel(rich: Panel) -> None:
    rich.save(Path("panel"))
    for path in Path("panel").glob("*.npy"):
        np.load(path, allow_pickle=False)
    json.loads(Path("panel/panel.json").read_text(encoding="utf-8"))


def test_a_missing_panel_is_refused_with_the_command_that_makes_it() -> None:
    with pytest.raises(PanelError, match="dvc repro window") as caught:
        Panel.load(Path("nowhere"))
    assert caught.value.code == "PANEL-MISSING"


@pytest.mark.parametrize("file", ["values.npy", "observed.npy", "indptr.npy", "series.arrow"])
@pytest.mark.parametrize("damage", ["empty", "half", "gone"])
def test_a_damaged_panel_is_refused(rich: Panel, file: str, damage: str) -> None:
    rich.save(Path("panel"))
    path = Path("panel", file)
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    with pytest.raises(PanelError, match="panel") as caught:
        Panel.load(Path("panel"))
    assert caught.value.code == "PANEL-READ"


@pytest.mark.parametrize("change", [lambda s: s.drop(columns="history"), lambda s: s.iloc[1:]])
def test_a_table_of_other_series_is_refused(
    rich: Panel, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    rich.save(Path("panel"))
    write_series(Path("panel"), change(rich.series))
    with pytest.raises(PanelError) as caught:
        Panel.load(Path("panel"))
    assert caught.value.code == "PANEL-READ"


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"channels": [], "static": []}'])
def test_a_damaged_panel_json_is_refused(rich: Panel, text: str) -> None:
    rich.save(Path("panel"))
    Path("panel/panel.json").write_text(text)
    with pytest.raises(PanelError) as caught:
        Panel.load(Path("panel"))
    assert caught.value.code == "PANEL-READ"


# --- the data hash ------------------------------------------------------------------------------------

HASHED = {"a": [1.0, 2, 3, 4, 5, 6], "b": [7.0, 8, 9]}


def test_the_same_feed_has_the_same_hash(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv
) -> None:
    hashes = {panel_of(make_feed(long_csv(HASHED))).meta.data_hash for _ in range(2)}
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"series": {**HASHED, "a": [1.0, 2, 3, 4, 5, 6.5]}},
        {"series": {"a": HASHED["a"], "c": HASHED["b"]}},
        {"series": {**HASHED, "b": [None, 8, 9]}},
        {"start": "2024-01-02"},
        {"horizon": 3},
        {"stride": 1},
        {"season_length": 2},
        {"timezone": "UTC"},
    ],
    ids=lambda c: next(iter(c)),
)
def test_whatever_changes_a_forecast_changes_the_hash(
    make_feed: MakeFeed, panel_of: Build, long_csv: LongCsv, change: dict[str, Any]
) -> None:
    before = panel_of(make_feed(long_csv(HASHED))).meta.data_hash
    text = long_csv(change.pop("series", HASHED), start=change.pop("start", "2024-01-01"))
    recipe = {k: change.pop(k) for k in ("timezone",) if k in change}
    assert panel_of(make_feed(text, **recipe), **change).meta.data_hash != before


def test_a_fraction_is_at_least_one_horizon_long(make_feed: Callable[..., Feed]) -> None:
    """Twenty years with a horizon of four: a tenth of them would be too short to validate on."""
    years = pd.date_range("2000-01-01", periods=24, freq="YS").as_unit("us")
    rows = pd.DataFrame({"unique_id": "a", "ds": years, "y": np.arange(24.0)})
    feed = make_feed(
        frequency="YS",
        task=Task(horizon=4, season_length=1, splits=Splits(by="time", validation=0.1, test=0.1)),
    )
    built = build_panel(rows, rows[["unique_id"]].drop_duplicates(), feed)
    train_end, validation_end, end = built.split_points
    assert (train_end[0], validation_end[0], end[0]) == (16, 20, 24)


def test_a_loaded_panel_travels_to_another_process_as_its_folder(rich: Panel) -> None:
    rich.save(Path("panel"))
    sent = pickle.dumps(Panel.load(Path("panel")))
    assert len(sent) < 500
    back = pickle.loads(sent)
    assert isinstance(back.values, np.memmap)
    np.testing.assert_array_equal(back.values, rich.values)
    assert back.meta == rich.meta


def test_a_panel_that_was_changed_after_loading_travels_as_it_is(rich: Panel) -> None:
    rich.save(Path("panel"))
    changed = replace(Panel.load(Path("panel")), values=rich.values + 1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(changed)).values, rich.values + 1)
