"""Accuracy of the shipped recipes on a public source, from its raw files, under the protocol of its benchmark.

GATECAST_DATA_DIR=… python -m benchmarks.accuracy --source m4_hourly --out benchmarks/results/accuracy_m4_hourly.json
GATECAST_DATA_DIR=… python -m benchmarks.accuracy --out accuracy.json          all sources: hours

Every recipe is trained by the shipped trainer once per seed, each in a fresh process of its own, and scored on the
test span beside naive, seasonal naive and the closed-form ridge. Nothing here chooses by a test score: ``best`` is the
recipe with the smallest MASE on the validation span.

    m4_hourly     the competition's test file, forecast from the whole training file (the last 48 points of which
                  choose weights): sMAPE, MASE, OWA, MSIS of the 95 % interval
    etth1         look-backs of at most 720, one model for 720 steps, of which shorter horizons are prefixes at origins
                  of their own; every window of the test span, MSE and MAE in units of the training span's spread
    bike_sharing, beijing_pm25, demo    the recipe's own test span, rolling origins

Beside the JSON file goes a table of the same name, in Markdown.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import fresh, say, table, write_result
from benchmarks.recipes import CONF, model_recipe, read
from gatecast.core import atomic
from gatecast.data.config import Feed, Splits, data_dir
from gatecast.evaluation.config import BASELINES
from gatecast.training.config import Fit

SOURCES = ("m4_hourly", "etth1", "bike_sharing", "beijing_pm25", "demo")
RECIPES = ("linear", "lstm", "gru", "lstm_experts", "ensemble")
ETT_HORIZONS = (96, 192, 336, 720)
NAIVE2_SMAPE, NAIVE2_MASE = 18.383, 2.395  # of the M4 competition's reference method, Hourly
_CHUNK = 1024


def make_panel(source: str) -> Any:
    """The panel of a source for its benchmark."""
    from gatecast.data import ingest
    from gatecast.data.build_panel import build_panel

    feed = read("source", source, Feed)
    feed.name = source
    if (
        source == "m4_hourly"
    ):  # the test file is the test span: training may use all but the validation's points
        feed.task.splits = Splits(by="series_end", validation=feed.task.horizon, test=1)
    if source == "etth1":
        feed.task.horizon = max(ETT_HORIZONS)
    checked = ingest.check_feed(feed)
    return build_panel(checked.observations, checked.static, feed, feasible=source != "m4_hourly")


def predictor_of(name: str, data: Any, seed: int) -> tuple[Any, float]:
    """A fitted recipe or a baseline, and the CPU seconds its training took."""
    from gatecast.evaluation import baselines
    from gatecast.evaluation.predictor import NetPredictor
    from gatecast.training import trainer

    if name in BASELINES:
        seasonal = baselines.seasonal_naive(data.meta.horizon, data.meta.season_length)
        return seasonal if name == "seasonal_naive" else baselines.naive(data.meta.horizon), 0.0
    model, fit = model_recipe(name), read("trainer", "auto", Fit)
    fitted = trainer.train(name, data, model, fit, seed)
    net = NetPredictor(name, fitted.net, fitted.spec, fitted.scaling, data.meta)
    return net, fitted.cost["train_cpu_seconds"]


def test_windows(source: str, data: Any) -> tuple[Any, np.ndarray]:
    """Windows of the benchmark, and (n, H) what came true, NaN where unknown."""
    from gatecast.data.windows import Windows, latest, rolling_origins, targets

    if source == "m4_hourly":
        import pandas as pd

        folder = data_dir()
        assert folder is not None
        table = pd.read_csv(folder / "Hourly-test.csv").set_index("V1")
        return latest(data), table.loc[list(data.ids)].to_numpy(np.float64)
    if source == "etth1":
        _, begin, end = data.split_points
        count = end - begin - min(ETT_HORIZONS) + 1
        series = np.repeat(np.arange(data.n_series), count)
        windows = Windows(
            series, np.concatenate([np.arange(b, b + c) for b, c in zip(begin, count, strict=True)])
        )
        return windows, targets(data, windows)
    windows = rolling_origins(data, "test")
    return windows, targets(data, windows)


def chunks(predictor: Any, data: Any, windows: Any) -> Iterator[tuple[slice, np.ndarray]]:
    """Forecasts, some windows at a time."""
    for low in range(0, len(windows), _CHUNK):
        part = slice(low, low + _CHUNK)
        yield part, predictor.predict(data, windows[part]).values


def scores(
    source: str, data: Any, predictor: Any, windows: Any, actual: np.ndarray
) -> dict[str, Any]:
    """Scores of a predictor on windows, by the belt's own metrics.

    Args:
        source: whose protocol it is.
        data: the panel.
        predictor: that forecasts.
        windows: n of them, in the order of their series.
        actual: (n, H) what came true, NaN where unknown.
    """
    from gatecast.evaluation import metrics
    from gatecast.evaluation.metrics import METRICS, Batch, Scores

    # M4's in-sample part is the whole training file
    scales = metrics.scales(data, data.history if source == "m4_hourly" else None)
    whole = Scores(windows.series, actual.shape[1])
    z = {name: METRICS[name] for name in ("mse_z", "mae_z")}
    horizons = ETT_HORIZONS if source == "etth1" else ()
    prefixes = {h: Scores(windows.series, h, z) for h in horizons}
    last = data.split_points[2][windows.series]
    for part, forecast in chunks(predictor, data, windows):
        some, y = windows[part], actual[part].astype(np.float64)
        whole.add(Batch(some, y, forecast, scales))
        for h, prefix in prefixes.items():
            fits = some.origin + h <= last[part]
            if fits.any():
                prefix.add(Batch(some[fits], y[fits, :h], forecast[fits, :h], scales))
    pooled = whole.pooled()
    found: dict[str, Any] = {k: pooled[k] for k in ("smape", "mase", "wape", "wql", "coverage_95")}
    if source == "m4_hourly":
        found["owa"] = metrics.owa(found["smape"], found["mase"], NAIVE2_SMAPE, NAIVE2_MASE)
        found["msis_95"] = pooled["msis"]
    for name in ("mse", "mae"):
        for h, prefix in prefixes.items():
            found[f"{name}_{h}"] = prefix.pooled()[f"{name}_z"]
        if prefixes:
            found[f"{name}_mean"] = float(np.mean([found[f"{name}_{h}"] for h in prefixes]))
    return found


def run(source: str, name: str, seed: int) -> dict[str, Any]:
    """Train and score one recipe in this process."""
    from gatecast.data.windows import rolling_origins, targets

    data = make_panel(source)
    predictor, cpu = predictor_of(name, data, seed)
    held_out = rolling_origins(data, "validation", most=4096)
    begin = time.process_time()
    validation = scores(source, data, predictor, held_out, targets(data, held_out))
    result = scores(source, data, predictor, *test_windows(source, data))
    return result | {
        "validation_mase": validation["mase"],
        "train_cpu_seconds": cpu,
        "forecast_cpu_seconds": time.process_time() - begin,
        "seed": seed,
    }


def measure(source: str, recipes: list[str], seeds: int, before: dict[str, Any]) -> dict[str, Any]:
    """Every recipe and seed on a source, each in a process of its own; ``before``: what other recipes reached."""
    scored = dict(before)
    for name in (*BASELINES, *recipes):
        runs = []
        once = name in BASELINES or name == "linear"
        for seed in range(1, 2 if once else seeds + 1):
            with (
                tempfile.TemporaryDirectory() as folder
            ):  # checkpoints are made in the current folder
                said = fresh(
                    "benchmarks.accuracy", Path(folder), source=source, one=name, seed=seed
                )
            runs.append(json.loads(said))
            shown = {k: round(v, 4) for k, v in runs[-1].items()}
            say(f"{source} {name} {shown}")
        numbers = [k for k in runs[0] if k != "seed"]
        scored[name] = {
            "mean": {k: float(np.mean([r[k] for r in runs])) for k in numbers},
            "spread": {k: float(np.std([r[k] for r in runs])) for k in numbers},
            "runs": runs,
        }
    order = [n for n in (*BASELINES, *RECIPES) if n in scored]
    scored = {name: scored[name] for name in (*order, *(scored.keys() - set(order)))}
    trained = scored.keys() - set(BASELINES)
    best = min(trained, key=lambda name: scored[name]["mean"]["validation_mase"])
    return {"source": source, "recipes": scored, "best": {"recipe": best} | scored[best]["mean"]}


# what was measured before WQL became the mean of the nine deciles is called by its eleven levels
WQL = ("wql", "wql_11_levels")
SHOWN = {
    "m4_hourly": ("smape", "mase", "owa", *WQL, "coverage_95", "msis_95"),
    "etth1": (*(f"mse_{h}" for h in ETT_HORIZONS), "mse_mean", "mae_mean", "coverage_95"),
}
USUAL = ("mase", "smape", "wape", *WQL, "coverage_95")


def rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A source's result as a table: a head, then a recipe a row, mean ± spread over the seeds."""
    measured = next(iter(result["recipes"].values()))["mean"]
    shown = [k for k in (*SHOWN.get(result["source"], USUAL), "train_cpu_seconds") if k in measured]
    yield "recipe", "seeds", *(key.replace("_", " ") for key in shown)
    for name, cell in result["recipes"].items():
        n, best = len(cell["runs"]), name == result["best"]["recipe"]
        numbers = []
        for key in shown:
            digits = 0 if key == "train_cpu_seconds" else 2 if key == "smape" else 4
            text = f"{cell['mean'][key]:.{digits}f}"
            numbers.append(text + (f" ± {cell['spread'][key]:.{digits}f}" if n > 1 else ""))
        yield (f"**{name}**" if best else name), str(n), *numbers


def markdown(result: dict[str, Any]) -> str:
    """The table of a source."""
    return "\n".join([f"## {result['source']}", "", *table(rows(result))])


def main() -> None:
    """Every recipe and seed, in processes of their own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", choices=(*SOURCES, "all"), default="all")
    parser.add_argument("--out", type=Path, default=Path("accuracy.json"), help="JSON result")
    known = sorted(p.stem for p in (CONF / "model").glob("*.yaml"))
    parser.add_argument(
        "--recipes",
        nargs="+",
        choices=known,
        default=list(RECIPES),
        metavar="RECIPE",
        help=", ".join(known),
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds 1 .. N of every net")
    parser.add_argument(
        "--add", action="store_true", help="keep what other recipes have reached in --out"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(run(given.source, given.one, given.seed)))
        return
    if data_dir() is None and given.source != "demo":
        raise SystemExit("Set GATECAST_DATA_DIR to the folder of the raw files.")
    if given.add and given.source == "all":
        raise SystemExit("--add: name one --source.")
    sources = SOURCES if given.source == "all" else (given.source,)
    found: list[dict[str, Any]] = []
    for source in sources:
        before = json.loads(given.out.read_text())["recipes"] if given.add else {}
        found.append(measure(source, given.recipes, given.seeds, before))
        by_source = {"sources": {result["source"]: result for result in found}}
        write_result(given.out, by_source if given.source == "all" else found[0])
        atomic.write_text(given.out.with_suffix(".md"), "\n\n".join(map(markdown, found)) + "\n")


if __name__ == "__main__":
    main()
