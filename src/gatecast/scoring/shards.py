"""A shard: the series that one process forecasts together, by a stable hash of their ids, and the file it writes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from gatecast import failpoints
from gatecast.config import QUANTILES
from gatecast.data.panel import FUTURE, Panel
from gatecast.data.windows import Windows, gather
from gatecast.evaluation.baselines import seasonal_naive
from gatecast.evaluation.predictor import NetPredictor
from gatecast.forecast import Forecast
from gatecast.scoring import parts
from gatecast.scoring.job import Job, Part
from gatecast.scoring.places import place

NAIVE = "model gave no finite number: seasonal naive"
NOTHING = "neither the model nor seasonal naive gave a finite number"
LEFT_OUT = "model gave no finite number"
_SLICE = 1024  # series between two releases of the memory map


def shard_of(ids: Iterable[str], shards: int) -> np.ndarray:
    """(n,) int64: the shard of each series, the same on every machine and in every version."""
    codes = (zlib.crc32(str(i).encode("utf-8", "surrogatepass")) for i in ids)
    return np.fromiter(codes, np.int64) % shards


def score_shard(job: Job, shard: int) -> Part:
    """Forecast the series of a shard and write them as one part; adopt it if an earlier process has left it whole.

    Raises:
        ScoringError: WRITE; RegistryError: DIGEST if the package is not the champion's.
    """
    where = place(job.parts)
    if found := parts.whole(where, shard):
        return found
    panel, members = _series(job.panel, job.shards)
    windows = Windows(members[shard], panel.history[members[shard]])
    forecast, reason, left_out = _forecast(_predictor(job), panel, windows, job.fallback)
    scored_at = datetime.fromisoformat(job.provenance["scored_at"]).replace(tzinfo=None)
    columns = job.provenance | {"scored_at": scored_at}
    table = parts.encode(panel, forecast, reason, columns)
    written = parts.write(where, table, parts.name_of(shard, job.token))
    failpoints.reach("scoring: part written")
    part = Part(
        shard=shard,
        series=len(windows),
        fallbacks=int((reason != "").sum()),
        quarantined=left_out,
        stale=_stale(panel, windows),
        short=_short(panel, windows),
        without_known_covariates=_blind(panel, windows),
        **written,
    )
    parts.receipt(where, part)
    failpoints.reach("scoring: part receipted")
    return part


@lru_cache(maxsize=1)
def _series(folder: str, shards: int) -> tuple[Panel, list[np.ndarray]]:
    """The panel, and the series of each shard in the panel's order; once a process."""
    panel = Panel.load(Path(folder))
    of = shard_of(panel.ids, shards)
    order = np.argsort(of, kind="stable")
    return panel, np.split(order, np.searchsorted(of[order], np.arange(1, shards)))


def _predictor(job: Job) -> NetPredictor:
    return _loaded(job.package, job.provenance["model_digest"], job.device, job.precision)


@lru_cache(maxsize=1)
def _loaded(folder: str, digest: str, device: str, precision: str) -> NetPredictor:
    from gatecast.registry import package

    return package.load(Path(folder), digest).on(device, precision)


def _forecast(
    predictor: NetPredictor, panel: Panel, windows: Windows, fallback: str
) -> tuple[Forecast, np.ndarray, list[list[str]]]:
    """Forecasts of the series that can be forecast; (n,) why one got seasonal naive ('' if it did not); the others."""
    values = np.empty((len(windows), panel.meta.horizon, len(QUANTILES)), np.float32)
    for part in _slices(panel, len(windows)):
        values[part] = predictor.predict(panel, windows[part]).values
    reason = np.full(len(windows), "", dtype=object)
    broken = ~np.isfinite(values).all((1, 2))
    if not broken.any():
        return Forecast(values, windows), reason, []
    if fallback == "seasonal_naive":
        naive = seasonal_naive(panel.meta.horizon, panel.meta.season_length)
        values[broken] = naive.predict(panel, windows[broken]).values
    lost = ~np.isfinite(values).all((1, 2))
    reason[broken] = NAIVE
    why = NOTHING if fallback == "seasonal_naive" else LEFT_OUT
    left_out = [[str(i), why] for i in panel.ids[windows.series[lost]]]
    return Forecast(values[~lost], windows[~lost]), reason[~lost], left_out


def _slices(panel: Panel, series: int) -> Iterator[slice]:
    """Places of so many series in slices, after each of which the memory map is given back: what is held of it does
    not grow with the panel."""
    for begin in range(0, series, _SLICE):
        yield slice(begin, begin + _SLICE)
        panel.release()


def _stale(panel: Panel, windows: Windows) -> int:
    """Series whose last value is more than a horizon older than the newest of all (if they share a clock)."""
    if panel.meta.splits["by"] == "series_end":
        return 0
    end = panel.position[windows.series] + windows.origin
    return int((end < panel.last - panel.meta.horizon).sum())


def _short(panel: Panel, windows: Windows) -> int:
    """Series with fewer known values than a season."""
    least, begin = panel.meta.season_length, panel.indptr[windows.series]
    end = begin + windows.origin
    seen, inside = gather(panel.observed, end, np.arange(-2 * least, 0), begin, end)
    few = (seen & inside).sum(1) < least  # of the newest: then all are looked at
    every = zip(begin[few], end[few], strict=True)
    return sum(int(panel.observed[a:b].sum()) < least for a, b in every)


def _blind(panel: Panel, windows: Windows) -> int:
    """Series that lack a value of a covariate known ahead in the horizon (its training mean stands in)."""
    ahead = [i for i, c in enumerate(panel.meta.channels) if c.role == FUTURE and not c.categories]
    if not ahead:
        return 0
    begin, end = panel.indptr[windows.series], panel.indptr[windows.series + 1]
    steps = np.arange(panel.meta.horizon)
    rows, inside = gather(panel.values, begin + windows.origin, steps, begin, end)
    return int((~inside | np.isnan(rows[..., ahead]).any(-1)).any(1).sum())
