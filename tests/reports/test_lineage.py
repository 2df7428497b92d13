"""From a forecast to what made it, and from a version to all it has ever forecast."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gatecast.core.errors import RegistryError, ScoringError
from gatecast.data.config import Feed
from gatecast.registry.mlflow import store
from gatecast.reports import lineage
from gatecast.scoring import read_forecasts
from gatecast.scoring.run import score

Promote = Callable[[Feed], object]


def test_a_forecast_row_leads_to_commit_data_and_parameters(
    daily_feed: Feed, promote: Promote
) -> None:
    promote(daily_feed)
    score(daily_feed)
    row = read_forecasts("sales").iloc[0]
    facts = lineage.of_forecast(None, row["run_key"])
    assert (facts["model"], facts["version"]) == (row["model_name"], row["model_version"])
    assert facts["digest"] == row["model_digest"]
    assert facts["forecast"]["data_hash"] == row["data_hash"]
    run = store.client().get_run(facts["run"]["id"])
    assert facts["run"]["data_hash"] == run.data.tags["gatecast.data_hash"]
    assert facts["run"]["git_commit"] == run.data.tags.get("mlflow.source.git.commit")
    assert facts["parameters"] == run.data.params
    assert facts["parameters"]["model.kind"] == "linear"
    assert facts["decisions"][0]["verdict"] == "promoted"
    assert "champion" in facts["aliases"]


def test_a_version_leads_to_all_its_forecasts_deleted_and_unnoted_ones_too(
    daily_feed: Feed, promote: Promote
) -> None:
    promote(daily_feed)
    days = ("2024-04-20", "2024-05-01", "2024-05-10")
    first, second, third = (score(daily_feed, day).manifest["run_key"] for day in days)
    shutil.rmtree(Path("forecasts/sales") / first)
    copy = Path("forecasts/sales") / "0123456789abcdef"  # its scorer died before the ledger
    shutil.copytree(Path("forecasts/sales") / third, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"run_key": copy.name}))
    found = {m["run_key"]: m for m in lineage.of_version("sales", 1)["forecasts"]}
    assert set(found) == {first, second, third, copy.name}
    assert found[first]["folder"] is None
    assert Path(found[second]["folder"]).is_dir()
    assert [found[key]["in_ledger"] for key in (first, copy.name)] == [True, False]


def test_a_version_is_found_by_the_beginning_of_its_digest(
    daily_feed: Feed, promote: Promote
) -> None:
    promote(daily_feed)
    digest = lineage.of_version("sales", 1)["digest"]
    assert lineage.of_digest("sales", digest[:12])["version"] == 1
    with pytest.raises(RegistryError, match="NO-VERSION") as caught:
        lineage.of_digest("sales", "f" * 64)
    assert "Check the digest" in str(caught.value)
    assert "more of the digest" not in str(caught.value)
    with pytest.raises(RegistryError, match="NO-VERSION"):
        lineage.of_version("sales", 2)


def test_a_registry_that_was_made_anew_is_not_mistaken_for_the_old_one(
    daily_feed: Feed, promote: Promote
) -> None:
    promote(daily_feed)
    key = score(daily_feed).manifest["run_key"]
    path = Path("forecasts/sales") / key / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"digest": "0" * 64}))
    Path("forecasts/sales/index.json").unlink()
    with pytest.raises(RegistryError, match="DIGEST"):
        lineage.of_forecast("sales", key)


def test_forecasts_nobody_has_written_are_named(daily_feed: Feed) -> None:
    with pytest.raises(ScoringError, match=r"NO-RUN.*feedfacefeedface"):
        lineage.of_forecast(None, "forecasts/sales/feedfacefeedface")


def test_the_page_says_everything_on_a_screen(daily_feed: Feed, promote: Promote) -> None:
    promote(daily_feed)
    key = score(daily_feed).manifest["run_key"]
    facts = lineage.of_forecast("sales", f"forecasts/sales/{key}")
    text = lineage.render(facts)
    for part in (key, facts["digest"], facts["run"]["id"], facts["run"]["data_hash"], "@champion"):
        assert part in text
    assert "model.kind=linear" in text
    assert len(text.splitlines()) <= 50
    assert json.loads(json.dumps(facts)) == facts
