"""The model card: what a reader needs, true, and short enough for a registry."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from gatecast.data.panel import Panel
from gatecast.evaluation import baselines
from gatecast.evaluation.backtest import Backtest
from gatecast.registry import package
from gatecast.registry.mlflow import runs, store
from gatecast.reports import card

COST = {"train_seconds": 2.5, "train_cpu_seconds": 4.0, "train_peak_memory_mib": 640.0}


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory, tiny: Panel, write_package: Callable[..., str]
) -> tuple[Backtest, Any, Any, Path]:
    """A backtest, the results of a variant and of seasonal naive, and the package."""
    folder = tmp_path_factory.mktemp("card") / "linear"
    write_package(folder, tiny)
    backtest, meta = Backtest.of(tiny), tiny.meta
    naive = backtest.run(baselines.seasonal_naive(meta.horizon, meta.season_length))
    return backtest, backtest.run(package.load(folder)), naive, folder


def text_of(results: tuple[Backtest, Any, Any, Path], cost: dict[str, float] = COST) -> str:
    backtest, variant, naive, folder = results
    parts = card.segments(backtest.panel, variant, naive)
    content, digest = package.describe(folder), package.digest(folder)
    return card.of(content, digest, backtest.panel, variant, naive, cost, parts)


def test_a_card_says_what_a_reader_asks(results: Any) -> None:
    backtest, variant, naive, folder = results
    text = text_of(results)
    meta = backtest.panel.meta
    assert re.findall("^## (.*)$", text, re.M) == [
        *("Intended use", "Data", "Scores", "Scores by segment"),
        *("Limits", "Training cost", "How to load"),
    ]
    assert package.digest(folder)[:12] in text
    assert meta.data_hash in text
    assert f"before {meta.splits['train_end']}" in text
    assert f"| mase | {variant.pooled['mase']:.4g} | {naive.pooled['mase']:.4g} |" in text
    assert f"{meta.horizon} steps of `{meta.frequency}`" in text
    assert f"its 95 % interval held {variant.pooled['coverage_95']:.1%}" in text
    assert "4.0 CPU seconds, 0.0 GPU seconds, 2.5 s in all; peak memory 640 MiB" in text
    assert (
        "`unique_id`, `ds`, `y`; `kind`, `price` count as unknown where they are left out" in text
    )


def test_a_card_of_a_restored_package_does_not_invent_its_cost(results: Any) -> None:
    assert "cost not known" in text_of(results, {})


def test_segments_are_the_values_of_static_columns_and_thirds_by_volume(results: Any) -> None:
    backtest, variant, naive, _ = results
    table = card.segments(backtest.panel, variant, naive)
    assert table["series"].to_dict() == {
        **{"kind x": 2, "kind y": 2},
        **{"volume low": 2, "volume middle": 1, "volume high": 1},
    }
    # the panel's series a, c are of kind x; they grow in volume from a to d
    per = variant.series["mase"].to_numpy()
    assert table.loc["kind x", "mase"] == pytest.approx(per[[0, 2]].mean())
    assert table.loc["volume high", "mase"] == pytest.approx(per[3])
    assert table.loc["volume low", "baseline"] == pytest.approx(naive.series["mase"][:2].mean())


def test_a_card_of_many_segments_still_fits_into_a_registry(results: Any) -> None:
    backtest, variant, naive, folder = results
    row = card.segments(backtest.panel, variant, naive).iloc[0]
    many = pd.DataFrame([row] * 500, index=[f"kind {'x' * 80}|{k}" for k in range(500)])
    content, digest = package.describe(folder), package.digest(folder)
    text = card.of(content, digest, backtest.panel, variant, naive, COST, many)
    assert len(text) <= card.LENGTH
    assert re.search(r"\d+ more segments have no room here", text)
    assert "## How to load" in text


def test_a_score_that_is_no_number_is_a_dash(results: Any) -> None:
    backtest, variant, naive, folder = results
    blind = replace(variant, pooled=variant.pooled | {"mase": np.nan})
    assert "| mase | - |" in text_of((backtest, blind, naive, folder))


def test_the_code_on_a_card_loads_the_registered_model(
    workplace: Path, tiny: Panel, frame: pd.DataFrame, promote: Callable[..., Any], results: Any
) -> None:
    promote(workplace, tiny)
    (code,) = re.findall(r"```python\n(.*?)```", text_of(results), re.S)
    mlflow.set_tracking_uri(store.uri())
    names: dict[str, Any] = {"df": frame}
    exec(code, names)
    assert len(names["table"]) == 4 * tiny.meta.horizon


def test_the_card_of_a_run_becomes_the_description_of_its_version(
    workplace: Path,
    tiny: Panel,
    write_package: Callable[..., str],
    promote: Callable[..., Any],
    results: Any,
) -> None:
    write_package(workplace / "models/linear", tiny)
    run_id = runs.ensure(workplace / "models/linear")
    assert runs.card_of(run_id) is None
    text = text_of(results)
    runs.log_card(run_id, text)
    promote(workplace, tiny)
    client = store.client()
    version = client.get_model_version_by_alias("gatecast-tiny", "champion")
    assert version.run_id == run_id
    assert version.description == text
    assert "card.md" in {file.path for file in client.list_artifacts(run_id)}
