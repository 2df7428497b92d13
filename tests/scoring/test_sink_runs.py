"""Scoring runs that publish to a database: revisions, and a database that goes away in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gatecast.core import failpoints
from gatecast.core.errors import ScoringError
from gatecast.core.failpoints import DIED
from gatecast.core.ledger import Ledger
from gatecast.data.config import Feed
from gatecast.reports import lineage, monitor
from gatecast.scoring import read_forecasts, store
from gatecast.scoring.config import SinkSettings
from gatecast.scoring.run import score
from gatecast.scoring.sinks import Sink
from tests.scoring.staging import DATABASES
from tests.servers import Postgres

SCORE = textwrap.dedent("""
    import sys
    from pathlib import Path
    from gatecast.core import ledger
    from gatecast.data.config import FileFeed
    from gatecast.scoring.config import SinkSettings
    from gatecast.scoring.run import score
    ledger.SECONDS = 1.0
    feed = FileFeed.model_validate_json(Path("feed.json").read_text())
    score(feed, recipe=SinkSettings(kind=sys.argv[1], address=sys.argv[2]))
""")


@pytest.mark.parametrize("recipe", DATABASES, indirect=True)
def test_a_corrected_feed_is_a_new_revision_and_the_old_one_stays(
    recipe: SinkSettings, sink: Sink, daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    first, again = score(daily_feed, recipe=recipe), score(daily_feed, recipe=recipe)
    assert (first.fresh, again.fresh) == (True, False)
    before = read_forecasts("sales", sink=sink)
    assert before.groupby("unique_id").size().to_dict() == {f"s{i}": 7 for i in range(4)}
    frame = pd.read_csv("sales.csv")
    frame.loc[frame.index[-1], "y"] += 5
    frame.to_csv("sales.csv", index=False)
    second = score(daily_feed, recipe=recipe)
    assert (second.manifest["revision"], second.manifest["cutoff"]) == (2, first.manifest["cutoff"])
    key = first.manifest["run_key"]
    pd.testing.assert_frame_equal(read_forecasts("sales", key, sink), before)
    assert set(read_forecasts("sales", sink=sink)["run_key"]) == {second.manifest["run_key"]}
    seen = monitor.monitor(daily_feed, sink=sink)["runs"]
    assert [run["run_key"] for run in seen] == [key, second.manifest["run_key"]]
    assert seen[0]["forecasts"] == 28
    facts = lineage.of_forecast("sales", key, sink)
    assert facts["forecast"]["folder"] == sink.where("sales", key)
    assert not Path("forecasts").exists()
    assert not list(Path("data/scoring/parts").rglob("*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["duckdb", "postgres"], indirect=True)
def test_a_run_killed_before_it_publishes_is_published_from_its_parts_by_the_next(
    recipe: SinkSettings, sink: Sink, daily_feed: Feed, promote: Callable[[Feed], Any]
) -> None:
    promote(daily_feed)
    Path("feed.json").write_text(daily_feed.model_dump_json())
    command = [sys.executable, "-c", SCORE, recipe.kind, recipe.address]
    env = os.environ | {"GATECAST_FAILPOINT": "scoring: lease checked"}
    assert subprocess.run(command, env=env).returncode == DIED
    assert store.runs(sink=sink) == []
    done = score(daily_feed, recipe=recipe)
    assert done.fresh
    assert [part["name"] for part in done.manifest["parts"]] == ["part-00000.1.parquet"]
    assert len(read_forecasts("sales", sink=sink)) == 4 * 7
    assert len(Ledger().entries("scoring", "sales")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["postgres"], indirect=True)
def test_a_database_that_goes_away_costs_no_forecast(
    recipe: SinkSettings,
    sink: Sink,
    daily_feed: Feed,
    promote: Callable[[Feed], Any],
    postgres_server: Postgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promote(daily_feed)
    for point in ("scoring: parts complete", "scoring: lease checked", "loading: rows loaded"):
        with monkeypatch.context() as patch:
            patch.setattr(
                failpoints, "reach", lambda at, p=point: at == p and postgres_server.stop()
            )
            with pytest.raises(ScoringError) as caught:
                score(daily_feed, recipe=recipe)
        assert caught.value.code == "UNREACHABLE"
        with pytest.raises(ScoringError) as caught:
            store.runs(sink=sink)
        assert caught.value.code == "UNREACHABLE"
        postgres_server.start()
        assert store.runs(sink=sink) == []
    done = score(daily_feed, recipe=recipe)
    assert [part["name"] for part in done.manifest["parts"]] == [
        "part-00000.1.parquet"
    ]  # the first's
    assert len(read_forecasts("sales", sink=sink)) == 4 * 7
