"""A shard: the series that one process forecasts together, by a stable hash of their ids, and the file it writes."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatecast.core import failpoints
from gatecast.core.forecast import Forecast, Predictor, Task
from gatecast.data.panel import FUTURE, Panel
from gatecast.data.windows import Windows, gather
from gatecast.evaluation.baselines import seasonal_naive
from gatecast.evaluation.table import ids_of
from gatecast.scoring import shard_files
from gatecast.scoring.run_spec import RunSpec, ShardFile, number_of_shards
from gatecast.scoring.storage import open_storage

# With torch: a run that is published already divides its series, and predicts nothing.
if TYPE_CHECKING:
    from gatecast.evaluation.predictor import NetPredictor

NAIVE = "model gave no finite number: seasonal naive"
RATE = "model gave no finite number: base rate of the series' past"
STANDS_IN: dict[Task, str] = {"quantile": NAIVE, "event": RATE}
NOTHING = "neither the model nor what stands in for it gave a finite number"
LEFT_OUT = "model gave no finite number"
_SLICE, _BLOCK = 512, 1 << 16  # series between two releases of the memory map; ids hashed together


def shard_of(ids: Iterable[str], shards: int) -> np.ndarray:
    """(n,) int64: the shard of each series, the same on every machine and in every version."""
    codes = (zlib.crc32(str(i).encode("utf-8", "surrogatepass")) for i in ids)
    return np.fromiter(codes, np.int64) % shards


def score_shard(spec: RunSpec, shard: int) -> ShardFile:
    """Forecast the series of a shard and write them as one file; adopt it if an earlier process has completed it.

    Raises:
        ScoringError: WRITE; RegistryError: DIGEST if the package is not the champion's.
    """
    where = open_storage(spec.address)
    if found := shard_files.whole(where, shard, spec.shards):
        return found
    panel, shard_of_each = _panel(spec.panel, spec.shards)
    members = np.flatnonzero(shard_of_each == shard)
    windows = Windows(members, panel.history[members])
    blocks: list[Any] = []
    reason = np.full(len(windows), "", dtype=object)
    remarks: Counter[str] = Counter()
    for k in _slices(panel, len(windows), spec.device):
        forecast, reason[k] = _forecast(_predictor(spec), panel, windows[k], spec.fallback)
        blocks.append(forecast)
        remarks.update({name: int(say(panel, windows[k]).sum()) for name, say in _REMARKS.items()})
    whole = blocks[0].joined(blocks, windows)
    lost = ~whole.finite.all(1)
    why = NOTHING if spec.fallback == "seasonal_naive" else LEFT_OUT
    left_out = [[name, why] for name in ids_of(panel, windows[lost]).to_pylist()]
    kept, reason = whole[~lost], reason[~lost]
    scored_at = datetime.fromisoformat(spec.provenance["scored_at"]).replace(tzinfo=None)
    columns = spec.provenance | {"scored_at": scored_at}
    table = shard_files.encode(panel, kept, reason, columns)
    written = shard_files.write(where, table, shard_files.name_of(shard, spec.token))
    failpoints.reach("scoring: part written")
    facts: dict[str, Any] = {name: remarks[name] for name in _REMARKS} | written
    file = ShardFile(
        shard=shard,
        shards=spec.shards,
        series=len(windows),
        fallbacks=int((reason != "").sum()),
        quarantined=left_out,
        **facts,
    )
    shard_files.receipt(where, file)
    failpoints.reach("scoring: part receipted")
    return file


def by_shard(panel: Panel) -> Panel:
    """The panel, its n series in the order of their shards, as they are read; within a shard the order stays."""
    return panel.ordered(
        np.argsort(_shards(panel, number_of_shards(panel.n_series)), kind="stable")
    )


@lru_cache(maxsize=1)
def _panel(folder: str, shards: int) -> tuple[Panel, np.ndarray]:
    """The panel, and (n,) the shard of each of its series; once a process."""
    panel = Panel.load(Path(folder))
    return panel, _shards(panel, shards)


def _shards(panel: Panel, shards: int) -> np.ndarray:
    names = panel.series["unique_id"]
    blocks = (names.iloc[begin : begin + _BLOCK] for begin in range(0, len(names), _BLOCK))
    return np.concatenate([shard_of(b.tolist(), shards).astype(np.int32) for b in blocks])


def _predictor(spec: RunSpec) -> NetPredictor:
    return _loaded(spec.package, spec.provenance["model_digest"], spec.device, spec.precision)


@lru_cache(maxsize=1)
def _loaded(folder: str, digest: str, device: str, precision: str) -> NetPredictor:
    from gatecast.registry import package

    return package.load(Path(folder), digest).on(device, precision)


def _forecast(
    predictor: NetPredictor, panel: Panel, windows: Windows, fallback: str
) -> tuple[Forecast, np.ndarray]:
    """Forecasts of windows, and (n,) why something stands in for the model ('' if nothing does)."""
    forecast = predictor.predict(panel, windows)
    broken = ~forecast.finite.all(1)
    if fallback == "seasonal_naive" and broken.any():
        stand_in = _stand_in(predictor, panel).predict(panel, windows[broken])
        forecast = forecast.replaced(broken, stand_in)  # type: ignore[arg-type]
    return forecast, np.where(broken, STANDS_IN[predictor.task], "")


def _stand_in(predictor: NetPredictor, panel: Panel) -> Predictor:
    """What forecasts a series that a model cannot: seasonal naive, or the event's base rate in the series' past."""
    if predictor.task == "event":
        from gatecast.evaluation.base_rate import BaseRate

        return BaseRate(predictor.horizon, predictor.spec.event)
    return seasonal_naive(panel.meta.horizon, panel.meta.season_length)


def _slices(panel: Panel, series: int, device: str) -> Iterator[slice]:
    """A shard's series in slices, after each of which the memory map is given back: it does not grow with the panel.

    A GPU, which holds the panel or is sent batches of it, is given all of them together.
    """
    slices = max(1, -(-series // _SLICE)) if device == "cpu" else 1
    step = max(1, -(-series // slices))  # as long as each other
    for begin in range(0, max(series, 1), step):  # at least one, of a shard without series
        yield slice(begin, begin + step)
        panel.release()


def _stale(panel: Panel, windows: Windows) -> np.ndarray:
    """(n,) whether the last value is more than a horizon older than the newest of all (if they share a clock)."""
    if panel.meta.splits["by"] == "series_end":
        return np.zeros(len(windows), bool)
    end = panel.position[windows.series] + windows.origin
    return np.asarray(end < panel.last - panel.meta.horizon)


def _short(panel: Panel, windows: Windows) -> np.ndarray:
    """(n,) whether there are fewer known values than a season."""
    least, begin = panel.meta.season_length, panel.indptr[windows.series]
    end = begin + windows.origin
    seen, inside = gather(panel.observed, end, np.arange(-2 * least, 0), begin, end)
    few = (seen & inside).sum(1) < least  # of the newest: then all are looked at
    for i in np.flatnonzero(few):
        few[i] = panel.observed[begin[i] : end[i]].sum() < least
    return np.asarray(few)


def _blind(panel: Panel, windows: Windows) -> np.ndarray:
    """(n,) whether a value of a covariate known ahead is missing in the horizon (its training mean stands in)."""
    ahead = [i for i, c in enumerate(panel.meta.channels) if c.role == FUTURE and not c.categories]
    if not ahead:
        return np.zeros(len(windows), bool)
    begin, end = panel.indptr[windows.series], panel.indptr[windows.series + 1]
    steps = np.arange(panel.meta.horizon)
    rows, inside = gather(panel.values, begin + windows.origin, steps, begin, end)
    return np.asarray((~inside | np.isnan(rows[..., ahead]).any(-1)).any(1))


_REMARKS = {"stale": _stale, "short": _short, "without_known_covariates": _blind}  # counted
