"""A source recipe from a file's first rows: what is guessed, what is left to the user, and that ingest accepts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from gatecast.core.errors import ConfigError, IngestError
from gatecast.data import ingest, sources
from gatecast.data.build_panel import build_panel
from gatecast.drafting.recipe import Draft, draft


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATECAST_DATA_DIR", raising=False)
    Path("data/raw").mkdir(parents=True)


def sales(n: int = 120) -> pd.DataFrame:
    """Three stores, daily; units and price end a week before the promotions."""
    rng = np.random.default_rng(0)
    stores = []
    for store, region, size in (("north", "A", 100), ("south", "B", 150), ("east", "A", 90)):
        days = pd.date_range("2024-01-01", periods=n)
        columns = {"store": store, "date": days, "region": region, "size_m2": size}
        own = pd.DataFrame(columns).assign(
            units=rng.poisson(20, n).astype(float),
            price=rng.normal(5, 1, n).round(2),
            promo=rng.integers(0, 2, n),
        )
        own.loc[n - 7 :, ["units", "price"]] = np.nan
        stores.append(own)
    return pd.concat(stores, ignore_index=True)


def written(table: pd.DataFrame, **how: Any) -> str:
    """The name of a raw file that holds the table."""
    table.to_csv("data/raw/feed.csv", index=False, **how)
    return "feed.csv"


def accepted(drafted: Draft) -> dict[str, Any]:
    """The settings of a draft, after ingest has accepted it."""
    content: dict[str, Any] = yaml.safe_load(drafted.text)
    feed = sources.read_feed(content | {"name": "sales"}, "conf/source/sales.yaml")
    checked = ingest.check_feed(feed)
    build_panel(checked.observations, checked.static, feed, None, None)
    return content


def test_columns_are_told_by_their_values_and_names() -> None:
    content = accepted(draft("sales", written(sales()), {}))
    assert content == {
        "files": [{"path": "feed.csv"}],
        "time": ["date"],
        "id": "store",
        "target": "units",
        "covariates": {
            "static": ["region", "size_m2"],
            "past": ["price"],
            "future": ["promo"],
            "categorical": ["region"],
        },
        "frequency": "D",
        "task": {"horizon": 6},
    }


def test_every_guess_says_why_in_the_recipe_and_on_the_terminal() -> None:
    drafted = draft("sales", written(sales()), {"target": "units"})
    assert "id: store               # guess: 3 series in these rows\n" in drafted.text
    assert "\ntarget: units\n" in drafted.text
    assert any(line.startswith("covariates.past: [price] ") for line in drafted.remarks)
    assert not any(line.startswith("target") for line in drafted.remarks)


def test_what_the_user_says_is_not_guessed() -> None:
    said = {"target": "price", "future": ["promo"], "past": ["units"], "static": [], "horizon": 3}
    content = accepted(draft("sales", written(sales()), said))
    assert content["target"] == "price"
    assert content["covariates"] == {"past": ["units"], "future": ["promo"]}
    assert content["task"] == {"horizon": 3}


def test_semicolons_decimal_commas_and_days_first_are_seen() -> None:
    table = sales().assign(date=sales()["date"].dt.strftime("%d.%m.%Y"))
    content = accepted(draft("sales", written(table, sep=";", decimal=","), {}))
    assert (content["separator"], content["decimal"]) == (";", ",")
    assert content["time_format"] == "%d.%m.%Y"


@pytest.mark.parametrize(
    "form",
    [
        *("%d.%m.%Y %H:%M", "%H:%M %d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%y", "%m/%d/%y"),
        *("%d-%b-%Y", "%b %d %Y", "%d %B %Y"),
    ],
)
def test_the_format_of_the_stamps_is_told_by_all_of_them(form: str) -> None:
    days = pd.date_range("2024-05-01", periods=90)
    table = pd.DataFrame({"t": days.strftime(form), "y": days.dayofweek})
    assert accepted(draft("sales", written(table), {}))["time_format"] == form


def test_days_that_could_be_months_are_said_so() -> None:
    days = pd.date_range("2024-05-01", periods=9)
    table = pd.DataFrame({"t": days.strftime("%d/%m/%Y"), "y": range(1, 18, 2)})
    assert "could be the other way round" in draft("sales", written(table), {"frequency": "D"}).text
    table["t"] = days.strftime("%d %B %Y")
    assert "could be the other way round" not in draft("sales", written(table), {}).text


def test_a_table_of_numbers_beside_the_time_is_wide() -> None:
    rng = np.random.default_rng(0)
    months = pd.date_range("2015-01-01", periods=60, freq="MS").strftime("%Y-%m")
    table = pd.DataFrame({"month": months, "north": rng.normal(size=60), "south": 1.0})
    content = accepted(draft("sales", written(table), {}))
    assert content["layout"] == "wide"
    assert content["frequency"] == "MS"
    assert "target" not in content


def test_a_date_and_an_hour_in_two_columns_are_one_time() -> None:
    hours = pd.date_range("2024-01-01", periods=24 * 20, freq="h")
    date = hours.month.astype(str) + "/" + hours.day.astype(str) + "/" + hours.year.astype(str)
    table = pd.DataFrame(
        {"row": range(480), "date": date, "hr": hours.hour, "load": hours.dayofweek}
    )
    drafted = draft("sales", written(table), {})
    content = accepted(drafted)
    assert content["time"] == ["date", "hr"]
    assert content["time_format"] == "%m/%d/%Y %H"
    assert content["target"] == "load"
    assert "# not used: row (a number of the row)\n" in drafted.text


def test_of_several_columns_of_stamps_the_one_that_is_called_so_is_the_time() -> None:
    table = sales().assign(day="2024-06-01", delivered=sales()["date"] + pd.Timedelta("1D"))
    table = table[["delivered", *sales().columns, "day"]]
    drafted = draft("sales", written(table), {})
    assert accepted(drafted)["time"] == ["date"]
    assert "# not used: day (the same in every row)\n" in drafted.text
    assert "# not used: delivered (it holds times, too; `known_at` if" in drafted.text


def test_a_date_that_is_always_the_same_is_no_time() -> None:
    table = sales().rename(columns={"date": "t"}).assign(day="2024-06-01")
    assert accepted(draft("sales", written(table), {}))["time"] == ["t"]


def test_of_columns_without_a_telling_name_the_one_that_ends_first_is_the_target() -> None:
    table = sales().rename(columns={"units": "b", "promo": "a"}).drop(columns="price")
    table = table[["store", "date", "a", "b"]]
    content = accepted(draft("sales", written(table), {}))
    assert content["target"] == "b"
    assert content["covariates"] == {"future": ["a"]}


def test_calendar_columns_are_one_time() -> None:
    hours = pd.date_range("2024-01-01", periods=24 * 20, freq="h")
    table = pd.DataFrame(
        {"year": hours.year, "month": hours.month, "day": hours.day, "hour": hours.hour}
    )
    content = accepted(draft("sales", written(table.assign(y=hours.dayofweek)), {}))
    assert content["time"] == ["year", "month", "day", "hour"]


def test_the_zone_of_parquet_stamps_is_kept_and_offsets_are_remarked() -> None:
    hours = pd.date_range("2024-03-20", periods=24 * 20, freq="h", tz="Europe/Berlin")
    table = pd.DataFrame({"ts": hours, "load": np.arange(480) % 24})
    table.to_parquet("data/raw/feed.parquet")
    assert accepted(draft("sales", "feed.parquet", {}))["timezone"] == "Europe/Berlin"
    drafted = draft("sales", written(table), {})
    assert "timezone" not in accepted(drafted)
    assert any("the stamps carry offsets" in line for line in drafted.remarks)


@pytest.mark.parametrize(
    "frequency", ["D", "B", "h", "30min", "14D", "W-TUE", "MS", "ME", "QE-MAR"]
)
def test_stamps_that_are_missing_do_not_hide_the_frequency(frequency: str) -> None:
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2000-02-01", periods=120, freq=frequency)
    there = stamps[rng.random(120) > 0.1]
    table = pd.DataFrame({"ds": there, "y": rng.normal(size=len(there))})
    assert accepted(draft("sales", written(table), {}))["frequency"] == frequency


def test_a_text_among_numbers_means_missing() -> None:
    table = sales().astype({"units": "object"})
    table.loc[3, "units"] = "-"
    content = accepted(draft("sales", written(table), {}))
    assert content["na_values"] == ["-"]
    assert content["target"] == "units"


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (sales().drop(columns="date"), "DRAFT-TIME"),
        (sales().drop(columns=["store", "size_m2"]), "DRAFT-ID"),
        (sales()[["store", "date", "region"]], "DRAFT-TARGET"),
        (sales().iloc[[0, 1, 3, 7, 15, 31]], "DRAFT-FREQUENCY"),
    ],
)
def test_what_cannot_be_told_is_asked_for(table: pd.DataFrame, code: str) -> None:
    with pytest.raises(IngestError) as error:
        draft("sales", written(table), {})
    assert error.value.code == code
    assert "=" in error.value.fix


def test_a_file_that_cannot_be_read_is_a_coded_error() -> None:
    Path("empty.csv").touch()
    Path("header.csv").write_text("date,units\n")
    Path("latin.csv").write_bytes("date,größe\n".encode("latin-1"))
    Path("broken.parquet").write_text("x")
    codes = {}
    for path in ("none.csv", "empty.csv", "header.csv", "latin.csv", "broken.parquet"):
        with pytest.raises(IngestError) as error:
            draft("sales", path, {})
        codes[path] = error.value.code
    assert codes == {
        "none.csv": "FILE-MISSING",
        "empty.csv": "EMPTY-FILE",
        "header.csv": "EMPTY-FILE",
        "latin.csv": "ENCODING",
        "broken.parquet": "FILE-READ",
    }


def test_a_column_that_is_not_there_and_a_name_that_cannot_be_are_refused() -> None:
    path = written(sales())
    with pytest.raises(
        IngestError, match=r"COLUMN-MISSING.*no column 'unit'. Did you mean 'units'"
    ):
        draft("sales", path, {"target": "unit"})
    with pytest.raises(ConfigError, match=r"RANGE.*`name` is 'a/b'"):
        draft("a/b", path, {})
