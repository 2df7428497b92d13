"""A champion outlives an edit of its source recipe: it is scored, compared and rolled back to by its own columns."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatecast.core.errors import RegistryError, ScoringError
from gatecast.data.config import Covariates, Feed
from gatecast.registry import aliases
from gatecast.registry.mlflow.store import DATABASE
from gatecast.reports import monitor
from gatecast.scoring import read_forecasts, store
from gatecast.scoring.run import score
from tests.scoring.conftest import sales

Retrain = Callable[..., dict[str, Any]]
H = 7


def columns(feed: Feed, **roles: list[str]) -> Feed:
    """The recipe, edited: with these covariates and no others."""
    return feed.model_copy(update={"covariates": Covariates(**roles)})


def with_columns(feed: Feed) -> Feed:
    """The feed with a promotion known ahead, which moves sales, a price and a region; its recipe names none of them."""
    frame = pd.read_csv("sales.csv", parse_dates=["ds"])
    ahead = frame.groupby("unique_id").tail(H).assign(y=np.nan)
    ahead["ds"] += pd.Timedelta(days=H)
    frame = pd.concat([frame, ahead]).sort_values(["unique_id", "ds"], ignore_index=True)
    rng = np.random.default_rng(5)
    frame["promo"] = (rng.random(len(frame)) < 0.3).astype(float)
    frame["price"] = rng.normal(10, 1, len(frame)).round(2)
    frame["region"] = frame["unique_id"].map({"s0": "a", "s1": "b", "s2": "a", "s3": "b"})
    frame["y"] += 15 * frame["promo"]
    frame.to_csv("sales.csv", index=False)
    return feed


def drop(*names: str) -> None:
    """The feed is delivered without these columns from now on."""
    pd.read_csv("sales.csv").drop(columns=[*names]).to_csv("sales.csv", index=False)


PROMO = {"future": ["promo"]}
RICH = {"future": ["promo"], "past": ["price"], "static": ["region"]}


@pytest.fixture(scope="module")
def trained(
    retrain: Retrain, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Projects whose version 1 was trained ``plain``, or with a ``rich`` recipe; copy them."""
    made: dict[str, Path] = {}

    def project_of(recipe: str) -> Path:
        if recipe not in made:
            made[recipe] = folder = tmp_path_factory.mktemp(recipe)
            shutil.copy(empty_store, folder / "mlflow.db")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                feed = with_columns(sales(folder))
                retrain(columns(feed, **RICH) if recipe == "rich" else feed)
        return made[recipe]

    return project_of


@pytest.fixture
def plain(project: Path, trained: Callable[[str], Path], daily_feed: Feed) -> Feed:
    """The recipe of a source whose champion was trained without covariates."""
    shutil.copytree(trained("plain"), project, dirs_exist_ok=True)
    return daily_feed


@pytest.fixture
def rich(project: Path, trained: Callable[[str], Path], daily_feed: Feed) -> Feed:
    """The recipe of a source whose champion was trained with covariates of every role."""
    shutil.copytree(trained("rich"), project, dirs_exist_ok=True)
    return columns(daily_feed, **RICH)


def numbers(run: dict[str, Any]) -> np.ndarray:
    return np.asarray(read_forecasts("sales", run["run_key"])["gatecast"])


def test_a_column_added_to_the_recipe_changes_nothing_for_the_champion(plain: Feed) -> None:
    first = score(plain)
    again = score(columns(plain, **PROMO))
    assert not again.fresh
    assert again.manifest["run_key"] == first.manifest["run_key"]


def test_columns_removed_from_the_recipe_are_still_read_for_the_champion(rich: Feed) -> None:
    first = score(rich)
    again = score(columns(rich))
    assert again.manifest["run_key"] == first.manifest["run_key"]
    changed = pd.read_csv("sales.csv")
    changed.loc[changed["y"].isna(), "promo"] = 1.0
    changed.to_csv("sales.csv", index=False)
    told = score(columns(rich))
    assert told.fresh
    assert (numbers(told.manifest) > numbers(first.manifest)).any()


def test_a_column_that_has_another_role_now_is_read_in_its_old_one(rich: Feed) -> None:
    first = score(rich)
    moved = columns(rich, past=["promo"], future=["price"], static=["region"])
    assert not score(moved).fresh
    assert first.manifest["without_known_covariates"] == 0


def test_columns_that_the_feed_has_lost_are_named_and_nothing_is_published(rich: Feed) -> None:
    drop("promo", "region")
    with pytest.raises(ScoringError) as caught:
        score(columns(rich, past=["price"]))
    assert caught.value.code == "COLUMNS"
    assert "version 1 of gatecast-sales was trained with promo, region" in caught.value.what
    assert "'region', 'promo'" in caught.value.what
    assert not store.runs("sales")


def test_what_came_true_needs_no_column_but_the_target(rich: Feed) -> None:
    score(rich, "2024-05-01")
    drop("promo", "price", "region")
    (run,) = monitor.monitor(rich)["runs"]
    assert run["actuals"] == 4 * H


@pytest.mark.parametrize("bar", [0.2, 0.99])
def test_a_challenger_with_another_column_is_compared_with_the_champion(
    bar: float, plain: Feed, retrain: Retrain
) -> None:
    facts = retrain(columns(plain, **PROMO), margin=bar)
    assert facts["scores"]["challenger"] < 0.8 * facts["scores"]["champion"]
    assert facts["verdict"] == ("promoted" if bar == 0.2 else "not_better")
    assert {check["name"] for check in facts["checks"]} >= {"gain", "skill"}


def test_a_challenger_without_a_column_is_compared_on_the_same_origins(
    rich: Feed, retrain: Retrain
) -> None:
    before = retrain(rich, margin=0.0)["scores"]
    facts = retrain(columns(rich))
    assert facts["verdict"] == "not_better"
    # the champion scores as it did with its columns in the recipe
    assert facts["scores"]["champion"] == pytest.approx(before["challenger"], rel=1e-6)


def test_a_champion_whose_columns_the_feed_has_lost_is_not_comparable_and_says_which(
    rich: Feed, retrain: Retrain
) -> None:
    drop("promo")
    facts = retrain(columns(rich, past=["price"]))
    assert (facts["verdict"], facts["champion"]) == ("not_comparable", 1)
    assert "trained with promo (future), region (static, categorical)" in facts["reason"]
    assert "no column 'promo'" in facts["reason"]
    started_over = retrain(columns(rich, past=["price"]), replace_incomparable=True)
    assert started_over["champion"] == 2


def test_after_a_rollback_the_version_before_is_scored_with_its_own_columns(
    plain: Feed, retrain: Retrain
) -> None:
    edited = columns(plain, **PROMO)
    first = score(plain)
    assert retrain(edited)["champion"] == 2
    assert score(edited).manifest["version"] == 2
    aliases.rollback("sales", "promotions were planned, then cancelled")
    back = score(edited)
    assert back.manifest["version"] == 1
    np.testing.assert_array_equal(numbers(back.manifest), numbers(first.manifest))


@pytest.mark.parametrize("left", ["mlartifacts", "models", "data/scoring/packages"])
def test_a_project_that_was_moved_scores_by_a_package_that_it_took_along(
    left: str,
    project: Path,
    retrain: Retrain,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The registry names artifacts by the absolute address of the folder in which they were made."""
    (project / "before").mkdir()
    shutil.copy(DATABASE, "before")
    monkeypatch.chdir(project / "before")
    feed = sales(project / "before")
    retrain(feed)
    here = score(feed, "2024-05-01").manifest
    (project / "before").rename(project / "after")
    monkeypatch.chdir(project / "after")
    for place in {"mlartifacts", "models", "data/scoring/packages"} - {left}:
        shutil.rmtree(place)
    assert score(feed, "2024-05-01").manifest == here
    assert f"its package in {left}/" in capsys.readouterr().err
    shutil.rmtree(left)
    with pytest.raises(RegistryError, match="ARTIFACT"):
        score(feed)
