"""Scores: a pure statistic per (window, step), and how it is aggregated.

    smape   mean over series of mean 200 |y - f| / (|y| + |f|)             (M4, Makridakis et al. 2020)
    mase    mean over series of mean |y - f| / scale                       (Hyndman & Koehler 2006)
            scale: in-sample mean |y_t - y_(t-m)|, over what precedes the test span
    rmsse   mean over series of sqrt(mean (y - f)^2 / squared scale)       (M5)
    wape    sum |y - f| / sum |y|
    bias    sum (f - y) / sum |y|
    wql     2 sum pinball / sum |y|, mean over the levels                  (weighted quantile loss)
    mse_z, mae_z   errors in units of each series' own training spread     (the z-space of the ETT benchmark)
    coverage_80, coverage_95   share of values inside the interval
    width_80, width_95         mean width of the interval / mean |y|

Unknown values count nowhere. A series whose scale is 0 (constant history) has no mase and no rmsse; the number of
series that count is reported beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gatecast.core.forecast import QUANTILES, QuantileForecast
from gatecast.data.panel import Panel

_Q = np.array(QUANTILES)
INTERVALS = {
    "95": (QUANTILES.index(0.025), QUANTILES.index(0.975)),
    "80": (QUANTILES.index(0.1), QUANTILES.index(0.9)),
}


@dataclass(frozen=True)
class Scales:
    """In-sample yardsticks of every series, (n,) each; NaN where there is none.

    ``absolute``: mean |y_t - y_(t-m)|; ``squared``: mean (y_t - y_(t-m))^2 before the test span; ``spread``: standard
    deviation of the training span.
    """

    absolute: np.ndarray
    squared: np.ndarray
    spread: np.ndarray


def scales(panel: Panel, end: np.ndarray | None = None) -> Scales:
    """Measure the yardsticks.

    Args:
        panel: the data set.
        end: (n,) row of each series at which the in-sample part ends; None: where the test span begins.
    """
    train_end, validation_end, _ = panel.split_points
    m = panel.meta.season_length
    y = np.asarray(panel.values[:, 0], np.float64)
    series = np.repeat(np.arange(panel.n_series), panel.lengths)
    row = np.arange(len(y)) - panel.indptr[series]

    def mean(values: np.ndarray, use: np.ndarray) -> np.ndarray:
        use = use & ~np.isnan(values)
        total = np.bincount(series[use], values[use], panel.n_series)
        count = np.bincount(series[use], minlength=panel.n_series)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(count > 0, total / count, np.nan)

    lagged = np.full(len(y), np.nan)
    lagged[m:] = y[m:] - y[:-m]
    in_sample = (row >= m) & (row < (validation_end if end is None else end)[series])
    training = row < train_end[series]
    centred = y - mean(y, training)[series]
    absolute, squared = mean(np.abs(lagged), in_sample), mean(lagged**2, in_sample)
    spread = np.sqrt(mean(centred**2, training))
    return Scales(*(np.where(s > 0, s, np.nan) for s in (absolute, squared, spread)))


def statistics(y: np.ndarray, forecast: QuantileForecast, scale: Scales) -> dict[str, np.ndarray]:
    """Statistics of every (window, step), NaN where the target is unknown.

    Args:
        y: (n, H) targets.
        forecast: of the same n windows.
        scale: yardsticks of the series.

    Returns:
        Name to (n, H).
    """
    y = np.asarray(y, np.float64)
    values = np.asarray(forecast.values, np.float64)
    point, s = forecast.median.astype(np.float64), forecast.windows.series
    error = y - point
    out = {"y": np.abs(y), "abs": np.abs(error), "bias": -error}
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.abs(y) + np.abs(point)
        out["smape"] = np.where(
            size > 0, 200 * np.abs(error) / size, np.where(np.isnan(error), np.nan, 0.0)
        )
        out["mase"] = np.abs(error) / scale.absolute[s, None]
        out["msse"] = error**2 / scale.squared[s, None]
        out["mae_z"] = np.abs(error) / scale.spread[s, None]
        out["mse_z"] = (error / scale.spread[s, None]) ** 2
    deviation = y[..., None] - values
    out["pinball"] = np.maximum(_Q * deviation, (_Q - 1) * deviation).mean(-1)
    for name, (low, high) in INTERVALS.items():
        inside = (y >= values[..., low]) & (y <= values[..., high])
        out[f"coverage_{name}"] = np.where(np.isnan(y), np.nan, inside)
        out[f"width_{name}"] = np.where(np.isnan(y), np.nan, values[..., high] - values[..., low])
    return out


def _mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    n = (~np.isnan(values)).sum(axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, np.nansum(values, axis) / n, np.nan)


def per_series(stats: dict[str, np.ndarray], series: np.ndarray) -> pd.DataFrame:
    """One row a series: the mean of each statistic over its windows and steps, and sums for the pooled scores.

    Returns:
        Indexed by series number; columns ``mase, smape, rmsse, …`` and ``sum_abs, sum_y, sum_bias, sum_pinball, n``.
    """
    labels, code = np.unique(series, return_inverse=True)
    code = np.repeat(code, stats["y"].shape[1])

    def total(name: str) -> tuple[np.ndarray, np.ndarray]:
        flat = stats[name].ravel()
        use = ~np.isnan(flat)
        return np.bincount(code[use], flat[use], len(labels)), np.bincount(
            code[use], minlength=len(labels)
        )

    columns: dict[str, np.ndarray] = {}
    for name in stats:
        sums, counts = total(name)
        with np.errstate(invalid="ignore", divide="ignore"):
            columns[name] = np.where(counts > 0, sums / counts, np.nan)
        if name in ("y", "abs", "bias", "pinball"):
            columns[f"sum_{name}"] = sums
        if name == "y":
            columns["n"] = counts
    columns["rmsse"] = np.sqrt(columns.pop("msse"))
    with np.errstate(invalid="ignore", divide="ignore"):
        columns["wape"] = np.where(
            columns["sum_y"] > 0, columns["sum_abs"] / columns["sum_y"], np.nan
        )
    del columns["abs"], columns["y"], columns["bias"], columns["pinball"]
    return pd.DataFrame(columns, index=pd.Index(labels, name="series"))


def pooled(table: pd.DataFrame) -> dict[str, float]:
    """Scores over all series from the table of :func:`per_series`."""
    size = table["sum_y"].sum()
    n = table["n"].sum()
    of_size = lambda total: float(total / size) if size > 0 else float("nan")  # noqa: E731
    by_window = lambda name: float((table[name] * table["n"]).sum() / n)  # noqa: E731
    out = {name: float(table[name].mean()) for name in ("mase", "smape", "rmsse")}
    out |= {
        "wape": of_size(table["sum_abs"].sum()),
        "bias": of_size(table["sum_bias"].sum()),
        "wql": 2 * of_size(table["sum_pinball"].sum()),
    }
    out |= {
        name: float(np.average(table[name].dropna(), weights=table["n"][table[name].notna()]))
        if table[name].notna().any()
        else float("nan")
        for name in ("mse_z", "mae_z")
    }
    for name in INTERVALS:
        out[f"coverage_{name}"] = by_window(f"coverage_{name}")
        out[f"width_{name}"] = of_size((table[f"width_{name}"] * table["n"]).sum())
    return out | {
        "series": int(len(table)),
        "series_with_scale": int(table["mase"].notna().sum()),
        "values": int(n),
    }


def per_step(stats: dict[str, np.ndarray], series: np.ndarray) -> pd.DataFrame:
    """One row a step: ``step`` (from 1), ``mase``, ``smape`` (means over series), ``wape``, ``wql``, coverage."""
    labels, code = np.unique(series, return_inverse=True)
    horizon = stats["y"].shape[1]

    def over_series(values: np.ndarray) -> np.ndarray:
        use = ~np.isnan(values)
        sums, counts = np.zeros((len(labels), horizon)), np.zeros((len(labels), horizon))
        np.add.at(sums, code, np.where(use, values, 0))
        np.add.at(counts, code, use)
        with np.errstate(invalid="ignore", divide="ignore"):
            return _mean(np.where(counts > 0, sums / counts, np.nan), 0)

    size = np.nansum(stats["y"], 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        table = {
            "step": np.arange(1, horizon + 1),
            "mase": over_series(stats["mase"]),
            "smape": over_series(stats["smape"]),
            "wape": np.nansum(stats["abs"], 0) / size,
            "wql": 2 * np.nansum(stats["pinball"], 0) / size,
        }
    table |= {f"coverage_{name}": _mean(stats[f"coverage_{name}"], 0) for name in INTERVALS}
    return pd.DataFrame(table)
