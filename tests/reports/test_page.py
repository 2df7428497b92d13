"""The page of a scoring run: opens from disk without a network, trusts no id, and shows where it failed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.core.errors import ScoringError
from gatecast.core.forecast import QuantileForecast
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Covariates, Feed, Task
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows
from gatecast.reports import page
from gatecast.reports.review import CHANGED, CHOSEN, LARGEST, review
from gatecast.scoring import config, shard_files, shards, sinks
from gatecast.scoring.snapshots import SNAPSHOTS
from gatecast.scoring.storage import open_storage
from tests.browser.chromium import CHROMIUM, browser

HORIZON = 6
ADDRESSES = {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}
HOSTILE = [
    "<script>document.title = 'hacked'</script>",
    "</svg><img src=x onerror=\"document.title='hacked'\">",
    "a\0b",
    "line\nbreak",
    "\u202eturned",
    "🚲",
    "x" * 4096,
]

Publish = Callable[..., dict[str, Any]]


@pytest.fixture
def shops(project: Path) -> Callable[..., Panel]:
    """Snapshot of hourly series, ten days long, in two regions; the bigger the later in the list."""

    def snapshot(ids: list[str], timezone: str | None = None) -> Panel:
        stamps = pd.date_range("2025-03-25", periods=240, freq="h")
        wave = 10 + np.sin(2 * np.pi * stamps.hour / 24)
        series = [
            pd.DataFrame({"unique_id": i, "ds": stamps, "y": (k + 1) * wave})
            for k, i in enumerate(ids)
        ]
        static = pd.DataFrame(
            {"unique_id": ids, "region": ["north" if k % 2 else "south" for k in range(len(ids))]}
        )
        feed = Feed(
            name="shops", frequency="h", timezone=timezone, task=Task(horizon=HORIZON, season_length=24),
            covariates=Covariates(static=["region"], categorical=["region"]),
        )  # fmt: skip
        built = build_panel(pd.concat(series, ignore_index=True), static, feed, feasible=False)
        built.save(SNAPSHOTS / built.meta.data_hash[:16] / "panel")
        return built

    return snapshot


@pytest.fixture
def published(project: Path) -> Publish:
    """A published run: median 1, 2, … of the series, the 80 % interval 2 wide; what is named fell back or was lost."""

    def run(
        built: Panel,
        key: str,
        back: int = 0,
        fallbacks: tuple[str, ...] = (),
        lost: tuple[str, ...] = (),
        moved: dict[str, float] | None = None,
        cut: int = 1,
    ) -> dict[str, Any]:
        sink = sinks.sink(config.SinkSettings())
        level = np.arange(1.0, built.n_series + 1)
        for name, by in (moved or {}).items():
            level[built.ids == name] += by
        spread = np.array([-9, -1, -0.8, -0.6, -0.4, 0, 0.4, 0.6, 0.8, 1, 9])
        values = np.repeat((level[:, None] + spread)[:, None], HORIZON, 1).astype(np.float32)
        there = np.flatnonzero(~np.isin(built.ids, lost))
        reason = np.where(np.isin(built.ids, fallbacks), shards.NAIVE, "").astype(object)
        files = []
        for number, some in enumerate(np.array_split(there, cut)):
            forecast = QuantileForecast(values[some], Windows(some, built.history[some] - back))
            table = shard_files.encode(built, forecast, reason[some], {"run_key": key})
            at = open_storage(sink.shard_address("shops", key))
            files.append(shard_files.write(at, table, shard_files.name_of(number, 1)))
        manifest = {
            "run_key": key, "source": "shops", "kind": "live", "model": "gatecast-shops", "version": 3,
            "variant": "lstm", "digest": "d" * 64, "data_hash": built.meta.data_hash, "as_of": None,
            "cutoff": str(built.axis[built.last - 1 - back]), "horizon": HORIZON, "series": built.n_series,
            "fallbacks": len(fallbacks), "quarantined": len(lost), "revision": 1, "seconds": 1.5,
            "scored_at": f"2025-04-04T00:00:0{len(sink.manifests())}+00:00", "gatecast": "0.1.0",
            "quarantine": [[i, shards.NOTHING] for i in lost], "parts": files,
        }  # fmt: skip
        sink.publish("shops", key, manifest)
        return manifest

    return run


def looked_at(manifest: dict[str, Any], *show: str) -> Any:
    return review(manifest, sinks.sink(config.SinkSettings()), show)


def names(seen: Any, kind: str) -> list[str]:
    return [str(seen.panel.ids[fan.series]) for fan in seen.fans.get(kind, [])]


def drawn(manifest: dict[str, Any], *show: str) -> Path:
    path = Path("reports/scoring/shops.html")
    return page.draw(manifest, sinks.sink(config.SinkSettings()), list(show), path).absolute()


def elements(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Every element of a page, with its attributes."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, given: found.append((tag, given))  # type: ignore
    parser.feed(text)
    return found


def test_fallbacks_and_quarantine_are_counted_where_they_happened(
    shops: Any, published: Publish
) -> None:
    ids = [f"s{i}" for i in range(8)]
    run = published(shops(ids), "k1", fallbacks=("s1", "s3"), lost=("s5",), cut=3)
    seen = looked_at(run)
    assert seen.groups["region"] == [("north", 4, 2, 1), ("south", 4, 0, 0)]
    assert seen.reasons == [(shards.NAIVE, 2), (shards.NOTHING, 1)]
    assert [(name, state) for name, state, *_ in seen.failed] == [
        ("s5", "quarantined"),
        ("s1", "fallback"),
        ("s3", "fallback"),
    ]
    assert sum(series for _, series, *_ in seen.groups["shard"]) == 8


def test_a_shard_that_lost_all_its_series_is_counted(shops: Any, published: Publish) -> None:
    built = shops(["a", "b"])
    published(built, "k1", lost=("a", "b"))
    seen = looked_at(published(built, "k2", lost=("a", "b")))
    assert seen.reasons == [(shards.NOTHING, 2)]
    assert seen.fans == {}


def test_series_that_moved_are_found_at_the_stamps_both_runs_forecast(
    shops: Any, published: Publish
) -> None:
    built = shops([f"s{i}" for i in range(9)], "Europe/Berlin")
    published(built, "k1", back=4)
    seen = looked_at(published(built, "k2", moved={"s2": 5.0, "s7": -3.0}, cut=2))
    assert names(seen, CHANGED) == ["s2", "s7"]
    first, second = seen.fans[CHANGED]
    assert (first.change, second.change) == (pytest.approx(2.5), pytest.approx(1.5))
    np.testing.assert_array_equal(np.isnan(first.before), [False] * 2 + [True] * 4)
    assert seen.before["run_key"] == "k1"


def test_a_first_run_and_runs_that_do_not_overlap_have_nothing_to_compare(
    shops: Any, published: Publish
) -> None:
    built = shops(["a", "b"])
    assert CHANGED not in looked_at(published(built, "k1", back=HORIZON)).fans
    assert CHANGED not in looked_at(published(built, "k2", moved={"a": 5.0})).fans


def test_the_largest_and_the_chosen_series_are_drawn(shops: Any, published: Publish) -> None:
    run = published(shops([f"s{i}" for i in range(20)]), "k1", cut=4)
    seen = looked_at(run, "s3", "nobody")
    assert names(seen, LARGEST) == [f"s{i}" for i in range(19, 13, -1)]
    assert names(seen, CHOSEN) == ["s3"]
    assert seen.missing == ["nobody"]


def test_no_id_becomes_markup(shops: Any, published: Publish) -> None:
    run = published(shops(HOSTILE), "k1", fallbacks=(HOSTILE[0],), lost=(HOSTILE[1],))
    text = drawn(run, *HOSTILE, "<b>nobody</b>").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text
    assert not {"script", "img"} & {tag for tag, _ in elements(text)}
    assert "&lt;b&gt;nobody" in text
    assert "a\\x00b" in text
    assert "line\\nbreak" in text
    assert "\\u202eturned" in text
    assert "x" * 200 not in text


@pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed")
def test_the_page_opens_from_disk_without_a_network(
    shops: Any, published: Publish, tmp_path: Path
) -> None:
    built = shops([*HOSTILE, "plain"])
    published(built, "k1", back=2)
    run = published(built, "k2", fallbacks=(HOSTILE[0],), lost=(HOSTILE[1],), moved={"plain": 9})
    path = drawn(run, "plain")
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    addresses = [at for _, given in elements(text) for key, at in given if key in ADDRESSES]
    assert all(at.startswith("#") for at in addresses)
    assert not re.search(r"url\((?!#)|@import", text)
    with browser(tmp_path / "profile") as tab:
        tab.open(f"file://{path}")
        tab.wait("document.querySelectorAll('figure svg').length === 8")  # chosen, moved, largest
        tab.wait("document.readyState === 'complete'")
        assert tab.value("document.title") == f"shops: forecasts from {run['cutoff']}"
        assert tab.value("performance.getEntriesByType('resource').length") == 0
        assert tab.value("document.querySelectorAll('script, img').length") == 0
        summary = tab.value("document.querySelector('#summary').innerText")
        assert re.findall(r"^[\dv].*$", summary, re.M) == ["8", "75.0%", "1", "1", "1.5", "v3"]
        failed = tab.value("document.querySelector('#failed').innerText")
        assert HOSTILE[0] in failed
        assert HOSTILE[1] in failed
        assert "north" in tab.value("document.querySelector('#map').innerText")
        wide = "Math.min(...[...document.querySelectorAll('figure svg')].map(s => s.clientWidth))"
        assert tab.value(wide) > 200


def test_an_earlier_run_that_cannot_be_read_does_not_hide_this_one(
    shops: Any, published: Publish
) -> None:
    built = shops(["a", "b"])
    published(built, "k1")
    Path("forecasts/shops/k1/part-00000.1.parquet").write_bytes(b"")
    text = drawn(published(built, "k2")).read_text(encoding="utf-8")
    assert "The run before cannot be read: ScoringError[CORRUPT]" in text
    assert text.count("<figure") == 2


def test_a_page_that_cannot_be_drawn_is_a_warning_about_a_published_run(
    shops: Any, published: Publish
) -> None:
    run = published(shops(["a"]), "k1")
    shutil.rmtree(SNAPSHOTS)
    said = page.after("shops", run["run_key"])
    assert "warning" in said
    assert "ScoringError[SNAPSHOT]" in said


def test_the_page_of_a_run_of_the_list_says_why_and_where_series_were_left_out(
    shops: Any, published: Publish
) -> None:
    published(shops(["a", "b", "c"]), "k1", lost=("a",), cut=2)
    for key in (None, "k1"):
        text = page.of_run("shops", key).read_text(encoding="utf-8")
        assert shards.NOTHING in text
        assert "<th>shard</th>" in text


def test_a_past_run_is_drawn_again(shops: Any, published: Publish) -> None:
    built = shops(["a", "b"])
    published(built, "k1", back=2)
    published(built, "k2")
    assert page.of_run("shops", show=["b"]).name == "shops-k2.html"
    old = page.of_run("shops", "k1", show=["b"])
    assert old.name == "shops-k1.html"
    assert "run k1" in old.read_text(encoding="utf-8")
    with pytest.raises(ScoringError) as caught:
        page.of_run("shops", "k3")
    assert caught.value.code == "NO-RUN"
