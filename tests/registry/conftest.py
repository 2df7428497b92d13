"""A tiny project for the tests of the registry: a panel, packages of graded quality, a real MLflow store."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gatecast.core.forecast import Forecast
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Covariates, Feed, Splits, Task
from gatecast.data.panel import Panel
from gatecast.evaluation import baselines, leaderboard
from gatecast.evaluation.backtest import Backtest
from gatecast.evaluation.predictor import NetPredictor
from gatecast.registry import package, promotion
from gatecast.registry.mlflow import runs
from gatecast.training import trainer
from gatecast.training.config import Fit
from gatecast.training.trainer import Trained
from tests.recipes import model_of

N, H = 300, 6
LINEAR = model_of(kind="linear", context_length=24)
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


def _frame(horizon: int) -> pd.DataFrame:
    """A season of twelve hours, a price known ahead, two kinds of sites."""
    r = np.random.default_rng(7)
    t = np.arange(N + horizon)
    parts = []
    for i, name in enumerate("abcd"):
        price = r.normal(size=len(t)).round(2)
        y = 20 + 5 * i + 6 * np.sin(2 * np.pi * t / 12 + i) + 2 * price + r.normal(0, 1, len(t))
        y[N:] = np.nan
        ds = pd.date_range("2025-01-01", periods=len(t), freq="h").as_unit("us")
        parts.append(
            pd.DataFrame({"unique_id": name, "ds": ds, "y": y, "price": price, "kind": "xy"[i % 2]})
        )
    return pd.concat(parts, ignore_index=True).astype({"unique_id": "str", "kind": "str"})


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """The feed as the long table that a user has: ``unique_id, ds, y, price, kind``."""
    return _frame(H)


@pytest.fixture(scope="session")
def make_panel() -> Callable[..., Panel]:
    """The tiny panel, for another horizon or source if asked."""

    def make(horizon: int = H, source: str = "tiny") -> Panel:
        table = _frame(horizon)
        feed = Feed(
            name=source,
            frequency="h",
            covariates=Covariates(static=["kind"], past=[], future=["price"], categorical=["kind"]),
            task=Task(
                horizon=horizon,
                season_length=12,
                splits=Splits(by="time", validation=0.2, test=0.2),
            ),
        )
        static = table[["unique_id", "kind"]].drop_duplicates()
        return build_panel(table.drop(columns="kind"), static, feed)

    return make


@pytest.fixture(scope="session")
def tiny(make_panel: Callable[..., Panel]) -> Panel:
    return make_panel()


@pytest.fixture(scope="session")
def fitted() -> Callable[[Panel], Trained]:
    """The closed form, fitted once for every panel."""
    known: dict[str, Trained] = {}

    def fit(source: Panel) -> Trained:
        key = source.meta.data_hash
        if key not in known:
            known[key] = trainer.train("linear", source, LINEAR, Fit(threads=1), seed=1)
        return known[key]

    return fit


@pytest.fixture(scope="session")
def write_package(fitted: Callable[[Panel], Trained]) -> Callable[..., str]:
    """Write a package with ``quality`` parts of the fitted weights (1: all of them); returns its digest."""

    def write(folder: Path, source: Panel, quality: float = 1.0, variant: str = "linear") -> str:
        trained = fitted(source)
        net = copy.deepcopy(trained.net)
        with torch.no_grad():
            net.weight.mul_(quality)  # type: ignore[operator,union-attr]
        made = replace(trained, net=net)
        return package.write(folder, variant, LINEAR, 1, source.meta, made)

    return write


def answer(patch: pytest.MonkeyPatch, nth: int, change: Callable[[Forecast], Forecast]) -> None:
    """Change what the n-th net that is asked answers: 0 is the challenger, 1 the champion."""
    predict, asked = NetPredictor.predict, [0]

    def changed(self: NetPredictor, *args: Any) -> Forecast:
        forecast = predict(self, *args)
        asked[0] += 1
        return change(forecast) if asked[0] == nth + 1 else forecast

    patch.setattr(NetPredictor, "predict", changed)


def settle(folder: Path, store: Path, patch: pytest.MonkeyPatch) -> None:
    """Make ``folder`` the project folder with a store of its own, found as a user's is: by nothing but its place."""
    shutil.copy(store, folder / "mlflow.db")
    patch.chdir(folder)
    for name in ("DVC_EXP_NAME", "GATECAST_LEDGER_URI", "MLFLOW_TRACKING_URI"):
        patch.delenv(name, raising=False)
    for name, value in QUIET.items():
        patch.setenv(name, value)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Path:
    """An empty project folder with a real MLflow store."""
    settle(tmp_path, empty_store, monkeypatch)
    return tmp_path


@pytest.fixture(scope="module")
def shared_workplace(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """The same for a whole module that only reads it."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        settle(folder, empty_store, patch)
        yield folder


@dataclass(frozen=True)
class Shelf:
    """A store in which packages of some qualities have their runs already: logging one takes a second."""

    folder: Path
    boards: dict[float, Path]

    def send(self, source: Panel, quality: float, **rules: Any) -> dict[str, Any]:
        """Send a package to the gate."""
        from gatecast.registry.config import Promote

        board = self.boards[quality]
        return promotion.promote(source, board, board.parents[1] / "models", Promote(**rules))


GOOD, FAIR, POOR = 1.0, 0.9, 0.8


@pytest.fixture(scope="session")
def filled(
    tmp_path_factory: pytest.TempPathFactory,
    empty_store: Path,
    tiny: Panel,
    write_package: Callable[..., str],
    evaluate: Callable[..., Path],
) -> Shelf:
    """The shelf that all tests share; copy its ``mlflow.db``, leave it as it is."""
    folder, boards = tmp_path_factory.mktemp("shelf"), {}
    with pytest.MonkeyPatch.context() as patch:
        settle(folder, empty_store, patch)
        for quality in (GOOD, FAIR, POOR):
            place = folder / str(quality)
            write_package(place / "models/linear", tiny, quality)
            boards[quality] = evaluate(place, tiny)
            runs.ensure(place / "models/linear")
    return Shelf(folder, boards)


@pytest.fixture
def shelf(filled: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A project folder of one's own with that shelf."""
    settle(tmp_path, filled.folder / "mlflow.db", monkeypatch)
    return Shelf(tmp_path, filled.boards)


@pytest.fixture(scope="session")
def after_two(filled: Shelf, tmp_path_factory: pytest.TempPathFactory, tiny: Panel) -> Path:
    """A folder with store and ledger after two promotions: POOR is version 1, GOOD is version 2."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        settle(folder, filled.folder / "mlflow.db", patch)
        for quality in (POOR, GOOD):
            filled.send(tiny, quality)
    return folder


@pytest.fixture(scope="session")
def evaluate() -> Callable[..., Path]:
    """Write ``reports/leaderboard.json`` of the packages in ``models/``; ``best`` overrules the order."""

    def run(folder: Path, source: Panel, best: str | None = None) -> Path:
        meta, backtest = source.meta, Backtest.of(source)
        folders = sorted((folder / "models").iterdir())
        predictors: list[Any] = [
            baselines.naive(meta.horizon),
            baselines.seasonal_naive(meta.horizon, meta.season_length),
        ]
        results = [backtest.run(p) for p in predictors]
        results += [
            replace(backtest.run(package.load(f)), name=f.name) for f in folders if best is None
        ]
        if best is not None:  # a variant that cannot be evaluated, or should not win
            results.append(replace(results[0], name=best))
        table = leaderboard.leaderboard(results, "mase")
        digests = {f.name: package.digest(f) for f in folders}
        reports = folder / "reports"
        leaderboard.write(reports, results, table, source, backtest, "mase", digests)
        board = json.loads((reports / "leaderboard.json").read_text())
        assert best is None or board["best"] == best
        return reports / "leaderboard.json"

    return run


@pytest.fixture(scope="session")
def promote(
    write_package: Callable[..., str], evaluate: Callable[..., Path]
) -> Callable[..., dict[str, Any]]:
    """One pass of the belt: a package of some quality is written, evaluated and sent to the gate."""

    def run(folder: Path, source: Panel, quality: float = 1.0, **rules: Any) -> dict[str, Any]:
        from gatecast.registry.config import Promote

        shutil.rmtree(folder / "models", ignore_errors=True)
        write_package(folder / "models/linear", source, quality)
        board = evaluate(folder, source, "linear" if np.isnan(quality) else None)
        return promotion.promote(source, board, folder / "models", Promote(**rules))

    return run
