"""Where raw files are found, and how each layout becomes one long table."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatecast.core.errors import GatecastError
from gatecast.data import contract, sources
from gatecast.data.config import Demo, DemoFeed, Feed, RawFile, Task

MakeFeed = Callable[..., Feed]
Ingested = Callable[..., contract.Checked]
Refusal = Callable[..., str]
LongCsv = Callable[..., str]


def write(path: Path | str, text: str) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def one_row(y: float) -> str:
    return f"id,ds,y\na,2024-01-01T00:00,{y}\n"


def value_read(feed: Feed) -> float:
    return float(sources.read(feed)["y"].iloc[0])


def kept() -> list[str]:
    """Everything in data/raw, hidden files included."""
    return sorted(p.name for p in Path("data/raw").iterdir())


# --- where a file is looked for ---------------------------------------------------------------------


def test_the_data_folder_of_the_environment_comes_first(
    make_feed: MakeFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "elsewhere/feed.csv", one_row(1))
    write("data/raw/feed.csv", one_row(2))
    write("feed.csv", one_row(3))
    monkeypatch.setenv("GATECAST_DATA_DIR", str(tmp_path / "elsewhere"))
    assert value_read(make_feed()) == 1


def test_data_raw_comes_before_the_project_folder(make_feed: MakeFeed) -> None:
    write("data/raw/feed.csv", one_row(2))
    write("feed.csv", one_row(3))
    assert value_read(make_feed()) == 2


def test_the_project_folder_comes_last(
    make_feed: MakeFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("feed.csv", one_row(3))
    monkeypatch.setenv("GATECAST_DATA_DIR", str(tmp_path / "nowhere"))
    assert value_read(make_feed()) == 3


def test_an_absolute_path_is_used_as_it_is(make_feed: MakeFeed, tmp_path: Path) -> None:
    path = write(tmp_path / "elsewhere/x.csv", one_row(4))
    assert value_read(make_feed(files=[RawFile(path=str(path))])) == 4


def test_a_missing_file_is_refused_with_every_place_that_was_tried(
    make_feed: MakeFeed, refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATECAST_DATA_DIR", str(tmp_path / "nowhere"))
    message = refusal(make_feed(file="gone.csv"), "FILE-MISSING")
    assert str(tmp_path / "nowhere/gone.csv") in message
    assert "data/raw/gone.csv" in message
    assert "GATECAST_DATA_DIR" in message


def test_a_folder_in_place_of_a_file_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    Path("feed.csv").mkdir()
    assert "feed.csv" in refusal(make_feed(), "FILE-MISSING")


def test_a_glob_reads_all_of_its_files(make_feed: MakeFeed, ingested: Ingested) -> None:
    write("in/2024-01.csv", "id,ds,y\na,2024-01-01T00:00,1\n")
    write("in/2024-02.csv", "id,ds,y\na,2024-01-01T01:00,2\nb,2024-01-01T01:00,3\n")
    checked = ingested(make_feed(file="in/*.csv"))
    assert checked.report["rows_in"] == 3
    assert list(checked.observations["y"]) == [1, 2, 3]


def test_an_error_names_the_file_of_the_glob_it_is_in(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    write("in/jan.csv", "id,ds,y\na,2024-01-01T00:00,1\n")
    write("in/mar.csv", "id,ds,y\na,2024-01-01T01:00,1\na,2024-01-01T02:00,lots\n")
    assert "in/mar.csv line 3" in refusal(make_feed(file="in/*.csv"), "Y-TEXT")


def test_an_absolute_glob_reads_all_of_its_files(
    make_feed: MakeFeed, ingested: Ingested, tmp_path: Path
) -> None:
    write("in/jan.csv", "id,ds,y\na,2024-01-01T00:00,1\n")
    write("in/feb.csv", "id,ds,y\na,2024-01-01T01:00,2\n")
    assert ingested(make_feed(file=str(tmp_path / "in/*.csv"))).report["accepted"] == 2


def test_a_file_whose_name_holds_brackets_is_found(make_feed: MakeFeed) -> None:
    assert value_read(make_feed(one_row(5), file="export[1].csv")) == 5


def test_several_files_of_a_recipe_are_one_feed(make_feed: MakeFeed, ingested: Ingested) -> None:
    write("one.csv", "id,ds,y\na,2024-01-01T00:00,1\n")
    write("two.csv", "id,ds,y\na,2024-01-01T01:00,2\n")
    feed = make_feed(files=[RawFile(path="one.csv"), RawFile(path="two.csv")])
    assert list(ingested(feed).observations["y"]) == [1, 2]


# --- checksums ----------------------------------------------------------------------------------------


def test_a_file_with_the_declared_sha256_is_read(make_feed: MakeFeed) -> None:
    digest = hashlib.sha256(one_row(6).encode()).hexdigest()
    write("feed.csv", one_row(6))
    assert value_read(make_feed(files=[RawFile(path="feed.csv", sha256=digest)])) == 6


def test_a_file_with_another_sha256_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    write("feed.csv", one_row(6))
    message = refusal(make_feed(files=[RawFile(path="feed.csv", sha256="0" * 64)]), "FILE-HASH")
    assert "feed.csv" in message
    assert "sha256" in message


# --- downloads ----------------------------------------------------------------------------------------


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = one_row(7).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:20] if "broken" in self.path else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """Address of an HTTP server that delivers a feed; addresses with ``broken`` end half-way."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def test_a_file_that_is_nowhere_is_downloaded_into_data_raw(
    make_feed: MakeFeed, server: str
) -> None:
    digest = hashlib.sha256(one_row(7).encode()).hexdigest()
    feed = make_feed(files=[RawFile(path="feed.csv", url=f"{server}/feed.csv", sha256=digest)])
    assert value_read(feed) == 7
    assert kept() == ["feed.csv"]


def test_a_download_with_another_sha256_is_refused_and_not_kept(
    make_feed: MakeFeed, refusal: Refusal, server: str
) -> None:
    url = f"{server}/feed.csv"
    assert url in refusal(
        make_feed(files=[RawFile(path="feed.csv", url=url, sha256="0" * 64)]), "FILE-HASH"
    )
    assert kept() == []


def test_a_download_that_breaks_off_is_refused_and_not_kept(
    make_feed: MakeFeed, refusal: Refusal, server: str
) -> None:
    refusal(make_feed(files=[RawFile(path="feed.csv", url=f"{server}/broken.csv")]), "OFFLINE")
    assert kept() == []


def test_a_download_keeps_the_folder_of_the_path(make_feed: MakeFeed, server: str) -> None:
    feed = make_feed(files=[RawFile(path="deep/feed.csv", url=f"{server}/feed.csv")])
    assert value_read(feed) == 7


def test_without_a_network_the_message_says_where_to_put_the_file(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/feed.csv"
    message = refusal(make_feed(files=[RawFile(path="feed.csv", url=url)]), "OFFLINE")
    assert url in message
    assert "data/raw/" in message
    assert "GATECAST_DATA_DIR" in message
    assert kept() == []


# --- fsspec addresses ---------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """An empty in-memory file system, which stands for any object store."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


def test_a_file_address_is_read(make_feed: MakeFeed, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", one_row(8))
    assert value_read(make_feed(file=f"file://{path}")) == 8


def test_an_object_store_is_read(make_feed: MakeFeed, memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/bucket/feed.csv", one_row(9).encode())
    assert value_read(make_feed(file="memory://bucket/feed.csv")) == 9


def test_a_glob_in_an_object_store_reads_all_of_its_files(
    make_feed: MakeFeed, memory: fsspec.AbstractFileSystem
) -> None:
    memory.pipe("/bucket/a.csv", one_row(1).encode())
    memory.pipe("/bucket/b.csv", one_row(2).encode())
    table = sources.read(make_feed(file="memory://bucket/*.csv"))
    assert sorted(table["y"]) == [1, 2]
    assert set(table["file"]) == {"a.csv", "b.csv"}


def test_parquet_in_an_object_store_is_read(
    make_feed: MakeFeed, memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"id": ["a"], "ds": [pd.Timestamp("2024-01-01")], "y": [3.0]})
    memory.pipe("/bucket/x.parquet", frame.to_parquet())
    assert value_read(make_feed(file="memory://bucket/x.parquet")) == 3


def test_a_missing_object_is_refused(
    make_feed: MakeFeed, refusal: Refusal, memory: fsspec.AbstractFileSystem
) -> None:
    address = "memory://bucket/gone.csv"
    assert address in refusal(make_feed(file=address), "FILE-MISSING")


def test_an_unknown_scheme_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    assert "carrier://" in refusal(make_feed(file="carrier://pigeon/x.csv"), "FILE-MISSING")


@pytest.mark.skipif(importlib.util.find_spec("s3fs") is not None, reason="s3fs is installed")
def test_a_scheme_whose_package_is_missing_names_the_package(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    assert "s3fs" in refusal(make_feed(file="s3://bucket/x.csv"), "SCHEME")


# --- layouts: look-alikes of the five real files ------------------------------------------------------


def test_m4_rows_with_quotes_and_trailing_empty_cells(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    write(
        "m4.csv",
        '"V1","V2","V3","V4","V5"\n"H1",605,586,,\n"H2",3124,2990.5,2862,2809\n',
    )
    feed = make_feed(file="m4.csv", layout="wide_rows", id="V1", time=[], start="2000-01-01 00:00")
    got = ingested(feed).observations
    assert list(got["unique_id"]) == ["H1"] * 2 + ["H2"] * 4
    assert list(got["y"]) == [605, 586, 3124, 2990.5, 2862, 2809]
    assert list(got["ds"][2:].dt.hour) == [0, 1, 2, 3]
    assert got["ds"].min() == pd.Timestamp("2000-01-01")


def test_in_wide_rows_a_blank_before_a_value_is_a_gap_and_the_place_tells_the_time(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    write("m4.csv", "V1,V2,V3,V4\nx,,5,\ny,1,,3\n")
    feed = make_feed(file="m4.csv", layout="wide_rows", id="V1", time=[], start="2000-01-01 00:00")
    got = ingested(feed).observations.dropna()
    assert [tuple(r) for r in got[["unique_id", "y"]].to_numpy()] == [("x", 5), ("y", 1), ("y", 3)]
    assert list(got["ds"].dt.hour) == [1, 0, 2]


def test_ett_columns_become_series(make_feed: MakeFeed, ingested: Ingested) -> None:
    names = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    rows = [[round(10 * i + j + 0.25, 3) for j in range(7)] for i in range(30)]
    stamps = pd.date_range("2016-07-01", periods=30, freq="h")
    body = [f"{t},{','.join(map(str, r))}" for t, r in zip(stamps, rows, strict=True)]
    write("ett.csv", "\n".join(["date," + ",".join(names), *body]) + "\n")
    feed = make_feed(file="ett.csv", layout="wide", id=None, time=["date"])
    got = ingested(feed).observations.pivot(index="ds", columns="unique_id", values="y")
    assert np.array_equal(got[names].to_numpy(), np.array(rows))
    assert list(got.index) == list(stamps)


def test_bike_hours_with_a_date_and_an_hour_column_and_hours_missing(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = "instant,dteday,hr,weathersit,temp,cnt\n1,1/1/2011,0,1,0.24,16\n2,1/1/2011,1,1,0.22,40\n"
    text += "3,1/1/2011,4,2,0.2,1\n4,12/31/2011,23,3,0.2,7\n"
    feed = make_feed(
        text,
        id=None,
        time=["dteday", "hr"],
        time_format="%m/%d/%Y %H",
        target="cnt",
        cov={"future": ["temp", "weathersit"], "categorical": ["weathersit"]},
    )
    checked = ingested(feed)
    got = checked.observations
    stamps = ["2011-01-01 00:00", "2011-01-01 01:00", "2011-01-01 04:00", "2011-12-31 23:00"]
    assert list(got["ds"]) == list(pd.to_datetime(stamps))
    assert set(got["unique_id"]) == {"shop"}
    assert list(got["weathersit"]) == ["1", "1", "2", "3"]
    assert checked.report["missing_rows"] == 365 * 24 - 4


def test_pm25_with_four_time_columns_empty_targets_and_a_text_category(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = "No,year,month,day,hour,pm2.5,DEWP,cbwd\n1,2010,1,1,0,129,-21,NW\n"
    text += "2,2010,1,1,1,NA,-21,cv\n3,2010,1,1,2,148,-16,SE\n"
    feed = make_feed(
        text,
        id=None,
        time=["year", "month", "day", "hour"],
        time_format="%Y %m %d %H",
        target="pm2.5",
        cov={"future": ["DEWP", "cbwd"], "categorical": ["cbwd"]},
    )
    checked = ingested(feed)
    got = checked.observations
    assert list(got["ds"].dt.hour) == [0, 1, 2]
    assert np.array_equal(got["y"], [129, np.nan, 148], equal_nan=True)
    assert list(got["cbwd"]) == ["NW", "cv", "SE"]
    assert checked.report["missing_values"] == 1


def test_parquet_and_csv_of_the_same_feed_give_the_same_observations(
    make_feed: MakeFeed, ingested: Ingested, long_csv: LongCsv
) -> None:
    text = long_csv({"007": [1.5, None, 3], "NA": [4, 5, 6]})
    write("x.csv", text)
    frame = pd.read_csv("x.csv", dtype={"id": "str"}, keep_default_na=False, na_values={"y": [""]})
    from_csv = ingested(make_feed(file="x.csv")).observations
    stamped = frame.assign(ds=pd.to_datetime(frame["ds"]))
    from_parquet = ingested(make_feed(stamped, file="x.parquet")).observations
    pd.testing.assert_frame_equal(from_csv, from_parquet)


@pytest.mark.parametrize("kind", ["int64", "category"])
def test_parquet_ids_of_any_type_become_text(
    make_feed: MakeFeed, ingested: Ingested, kind: str
) -> None:
    frame = pd.DataFrame({"id": [7, 7, 12], "ds": pd.to_datetime(["2024-01-01"] * 3), "y": 1.0})
    frame["ds"] += pd.to_timedelta([0, 1, 0], unit="h")
    if kind == "category":
        frame["id"] = frame["id"].astype("str").astype("category")
    got = ingested(make_feed(frame, file="x.parquet")).observations
    assert sorted(set(got["unique_id"])) == ["12", "7"]


def test_parquet_dates_are_stamps(make_feed: MakeFeed, ingested: Ingested) -> None:
    days = [d.date() for d in pd.date_range("2024-02-28", periods=3)]
    frame = pd.DataFrame({"id": "a", "ds": days, "y": [1, 2, 3]})
    got = ingested(make_feed(frame, file="x.parquet", frequency="D")).observations
    assert [str(d.date()) for d in got["ds"]] == ["2024-02-28", "2024-02-29", "2024-03-01"]


CELLS = st.one_of(st.none(), st.integers(-50, 50))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(table=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=8))
def test_wide_long_and_rows_of_the_same_values_are_the_same_observations(
    make_feed: MakeFeed, ingested: Ingested, table: list[list[int | None]]
) -> None:
    table = [[0, 0, 0], *table]  # every series has a value, and all begin together
    stamps = pd.date_range("2024-01-01", periods=len(table), freq="h")
    names = ["a", "007", "NA"]
    text = [["" if v is None else str(v) for v in row] for row in table]
    wide = [",".join(["ds", *names])]
    wide += [f"{t},{','.join(row)}" for t, row in zip(stamps, text, strict=True)]
    rows = [",".join(["id", *(f"V{k}" for k in range(len(table)))])]
    rows += [",".join([n, *(row[j] for row in text)]) for j, n in enumerate(names)]
    long = ["id,ds,y"]
    long += [
        f"{n},{t},{row[j]}"
        for j, n in enumerate(names)
        for t, row in zip(stamps, text, strict=True)
    ]
    feeds = [
        make_feed("\n".join(wide) + "\n", file="wide.csv", layout="wide", id=None),
        make_feed(
            "\n".join(rows) + "\n", file="rows.csv", layout="wide_rows", time=[], start="2024-01-01"
        ),
        make_feed("\n".join(long) + "\n", file="long.csv"),
    ]
    expected = {
        (names[j], stamps[i]): row[j]
        for i, row in enumerate(table)
        for j in range(3)
        if row[j] is not None
    }
    for feed in feeds:
        got = ingested(feed).observations.dropna()
        keys = zip(got["unique_id"], got["ds"], strict=True)
        assert dict(zip(keys, got["y"], strict=True)) == expected


def test_rows_reads_only_the_first_rows_of_a_file(make_feed: MakeFeed, long_csv: LongCsv) -> None:
    assert list(sources.read(make_feed(long_csv({"a": [1, 2, 3, 4]}), rows=2))["y"]) == [1, 2]


def test_semicolons_and_decimal_commas_can_be_declared(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = "id;ds;y\na;2024-01-01T00:00;1,5\na;2024-01-01T01:00;-0,25\n"
    got = ingested(make_feed(text, separator=";", decimal=",")).observations
    assert list(got["y"]) == [1.5, -0.25]


def test_a_byte_order_mark_is_no_part_of_the_first_column(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    assert ingested(make_feed(b"\xef\xbb\xbf" + one_row(1).encode())).report["accepted"] == 1


def test_a_feed_without_an_id_column_is_one_series_named_like_its_source(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    got = ingested(make_feed("ds,y\n2024-01-01T00:00,1\n", id=None)).observations
    assert list(got["unique_id"]) == ["shop"]


def test_columns_the_recipe_does_not_name_are_left_out(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = "id,ds,y,casual,registered\na,2024-01-01T00:00,3,1,2\n"
    assert list(ingested(make_feed(text)).observations.columns) == ["unique_id", "ds", "y"]


def test_missing_values_may_be_spelt_as_the_recipe_says(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = "id,ds,y\na,2024-01-01T00:00,-999\na,2024-01-01T01:00,4\n"
    got = ingested(make_feed(text, na_values=["-999"])).observations
    assert np.array_equal(got["y"], [np.nan, 4], equal_nan=True)


# --- files that cannot be read ------------------------------------------------------------------------


def test_a_missing_column_is_refused_with_the_file_and_the_column(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    message = refusal(make_feed(one_row(1), target="sales"), "COLUMN-MISSING")
    assert "feed.csv" in message
    assert "'sales'" in message


def test_a_misspelt_column_is_refused_with_the_columns_that_are_there(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = "id,ds,Sales,region\na,2024-01-01T00:00,1,north\n"
    message = refusal(make_feed(text, target="sales"), "COLUMN-MISSING")
    assert "Did you mean 'Sales'?" in message
    assert "region" in message


def test_a_wide_table_without_series_is_refused_with_its_file(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    feed = make_feed("ds\n2024-01-01\n", layout="wide", id=None)
    assert "feed.csv" in refusal(feed, "COLUMN-MISSING")


def test_an_empty_file_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    assert "feed.csv" in refusal(make_feed(""), "EMPTY-FILE")


@pytest.mark.parametrize("layout", ["long", "wide", "wide_rows"])
def test_a_file_with_only_a_header_is_refused(
    make_feed: MakeFeed, refusal: Refusal, layout: str
) -> None:
    feed = make_feed("id,ds,y\n", layout=layout, start="2024-01-01")
    assert "feed.csv has no rows" in refusal(feed, "EMPTY-FILE")


def test_text_that_is_not_utf8_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    text = "id,ds,y\nKöln,2024-01-01T00:00,1\n".encode("latin-1")
    assert "feed.csv" in refusal(make_feed(text), "ENCODING")


def test_an_open_quote_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    assert "feed.csv" in refusal(make_feed('id,ds,y\n"a,2024-01-01T00:00,1\n'), "CSV-SHAPE")


def test_an_undeclared_decimal_comma_that_splits_a_cell_is_refused_not_cut_off(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = "id,ds,y\na,2024-01-01T00:00,1\na,2024-01-01T01:00,2,5\n"
    assert "feed.csv" in refusal(make_feed(text), "CSV-SHAPE")


def test_a_row_of_a_wide_table_with_too_many_cells_is_refused_not_shifted(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = "ds,A,B\n2001,2005,1999,7\n2002,2006,1998,8\n"  # shifted, column A would be the years
    refusal(make_feed(text, layout="wide", id=None, frequency="YS"), "CSV-SHAPE")


def test_two_columns_of_the_same_name_are_refused(make_feed: MakeFeed) -> None:
    feed = make_feed("ds,A,A\n2024-01-01,1,2\n2024-01-02,3,4\n", layout="wide", id=None)
    with pytest.raises(GatecastError, match="'A'"):
        sources.read(feed)


def test_a_damaged_parquet_file_is_refused(make_feed: MakeFeed, refusal: Refusal) -> None:
    assert "x.parquet" in refusal(make_feed(b"PAR1 not really", file="x.parquet"), "FILE-READ")


@pytest.mark.parametrize("name", ["unique_id", "ds", "y", "file", "line"])
def test_a_covariate_cannot_have_a_reserved_name(
    make_feed: MakeFeed, refusal: Refusal, name: str
) -> None:
    text = f"site,t,sales,{name}\na,2024-01-01T00:00,1,2\n"
    feed = make_feed(text, id="site", time=["t"], target="sales", cov={"past": [name]})
    assert f"'{name}'" in refusal(feed, "RESERVED")


def test_the_file_may_use_reserved_names_for_what_they_mean(
    make_feed: MakeFeed, ingested: Ingested
) -> None:
    text = "unique_id,ds,y\na,2024-01-01T00:00,1\n"
    assert ingested(make_feed(text, id="unique_id")).report["accepted"] == 1


def test_a_start_that_is_no_time_is_refused(make_feed: MakeFeed) -> None:
    feed = make_feed("id,a,b\nx,1,2\n", layout="wide_rows", time=[], start="soon")
    with pytest.raises(GatecastError, match="soon"):
        sources.read(feed)


def test_a_start_off_the_grid_is_refused_not_moved(make_feed: MakeFeed) -> None:
    keys = {"layout": "wide_rows", "time": [], "start": "2000-01-15", "frequency": "MS"}
    with pytest.raises(GatecastError, match="2000-01-15"):
        sources.read(make_feed("id,a,b\nx,1,2\n", **keys))


def test_a_blank_line_does_not_shift_the_line_numbers(
    make_feed: MakeFeed, refusal: Refusal
) -> None:
    text = "id,ds,y\na,2024-01-01T00:00,1\n\n\na,2024-01-01T01:00,lots\n"
    assert "line 5" in refusal(make_feed(text), "Y-TEXT")


# --- the fingerprint of a feed ------------------------------------------------------------------------


def test_the_fingerprint_is_name_size_and_sha256_and_no_path_of_this_machine(
    make_feed: MakeFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "elsewhere/feed.csv", one_row(1))
    monkeypatch.setenv("GATECAST_DATA_DIR", str(tmp_path / "elsewhere"))
    mark = sources.fingerprint(make_feed(), None)
    body = one_row(1).encode()
    assert mark["files"] == [
        {"name": "feed.csv", "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    ]
    assert str(tmp_path) not in str(mark)


def test_the_fingerprint_changes_with_one_byte(make_feed: MakeFeed) -> None:
    before = sources.fingerprint(make_feed(one_row(1)), None)
    assert before == sources.fingerprint(make_feed(one_row(1)), None)
    assert before != sources.fingerprint(make_feed(one_row(2)), None)


def test_the_fingerprint_of_a_glob_changes_when_a_file_joins(make_feed: MakeFeed) -> None:
    write("in/a.csv", one_row(1))
    before = sources.fingerprint(make_feed(file="in/*.csv"), None)
    write("in/b.csv", one_row(1))
    assert before != sources.fingerprint(make_feed(file="in/*.csv"), None)


def test_the_fingerprint_of_the_demo_tells_the_day_it_plays() -> None:
    feed = DemoFeed(
        name="demo", kind="demo", demo=Demo(n_series=5, n_days=20), task=Task(horizon=24)
    )
    assert sources.fingerprint(feed, None) != sources.fingerprint(feed, "2025-01-10T23:00")


# --- actuals ------------------------------------------------------------------------------------------


def test_actuals_have_the_shape_of_the_feed_and_are_never_part_of_it(make_feed: MakeFeed) -> None:
    write("later.csv", one_row(42))
    feed = make_feed(one_row(1), actuals=RawFile(path="later.csv"))
    later = sources.read_actuals(feed)
    assert later is not None
    assert list(later["y"]) == [42]
    assert list(sources.read(feed)["y"]) == [1]


def test_a_recipe_without_actuals_has_none(make_feed: MakeFeed) -> None:
    assert sources.read_actuals(make_feed(one_row(1))) is None
