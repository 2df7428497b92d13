"""A scoring run: the feed as it is now, the champion by its version number, one forecast a series, published once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gatecast import __version__, atomic
from gatecast.config import Feed
from gatecast.data import ingest, panel
from gatecast.data.panel import FUTURE, Panel
from gatecast.data.windows import Windows, gather, latest
from gatecast.errors import ScoringError
from gatecast.evaluation.baselines import seasonal_naive
from gatecast.evaluation.table import to_table
from gatecast.forecast import Forecast
from gatecast.ledger import Ledger
from gatecast.registry.champion import Champion, champion
from gatecast.scoring import store

SNAPSHOTS = Path("data/scoring")
_SLICE = 4096  # series between two steps of the progress bar


@dataclass(frozen=True)
class Summary:
    """What a scoring run did. ``fresh`` is false if the same run had been published before."""

    manifest: dict[str, Any]
    folder: Path
    fresh: bool


def score(feed: Feed, as_of: str | None = None) -> Summary:
    """Score every series of a feed with its champion.

    Args:
        feed: the source recipe.
        as_of: score as if it were this time.

    Raises:
        ScoringError: NO-CHAMPION; IngestError, RegistryError: as they say. Nothing is published then.
    """
    best = champion(feed.name)
    if best is None:
        raise ScoringError(
            "NO-CHAMPION",
            f"no model of source '{feed.name}' has been promoted.",
            "Run `dvc repro` first; reports/promotion.json says why nothing was promoted.",
        )
    trained = best.predictor.meta
    checked = ingest.check_feed(feed, as_of, trained.horizon)
    current = panel.build(
        checked.observations,
        checked.static,
        feed,
        trained.horizon,
        trained.season_length,
        feasible=False,
    )
    key = store.run_key(
        model=best.model,
        version=best.version,
        digest=best.digest,
        data_hash=current.meta.data_hash,
        feed=asdict(feed),
        code=__version__,
    )
    done = store.manifest(feed.name, key)
    if done:
        _note(done)
        return Summary(done, store.FORECASTS / feed.name / key, False)
    snapshot = SNAPSHOTS / current.meta.data_hash[:16]
    if not snapshot.exists():
        with atomic.folder(snapshot, replace=False) as out:
            ingest.write(checked, out / "observations")
            current.save(out / "panel")
    forecast, fallback = _forecast(best, current)
    scored_at = datetime.now(UTC)
    table = to_table(current, forecast).assign(
        fallback=pd.Series(np.repeat(fallback, trained.horizon), dtype="str"),
        model_name=best.model,
        model_version=best.version,
        model_digest=best.digest,
        data_hash=current.meta.data_hash,
        run_key=key,
        scored_at=pd.Timestamp(scored_at).tz_localize(None).as_unit("us"),
    )
    facts = {
        "run_key": key,
        "source": feed.name,
        "model": best.model,
        "version": best.version,
        "variant": best.variant,
        "digest": best.digest,
        "mlflow_run": best.run_id,
        "data_hash": current.meta.data_hash,
        "as_of": as_of,
        "cutoff": str(table["cutoff"].max()),
        "horizon": trained.horizon,
        "season_length": trained.season_length,
        "series": current.n_series,
        "fallbacks": int((fallback != "").sum()),
        "stale": _stale(current),
        "short": int((_known(current) < trained.season_length).sum()),
        "without_known_covariates": _blind(current),
        "scored_at": scored_at.isoformat(),
        "gatecast": __version__,
    }
    folder = store.publish(feed.name, key, table, facts)
    published = store.manifest(feed.name, key)
    assert published is not None
    _note(published)
    return Summary(published, folder, True)


def _note(published: dict[str, Any]) -> None:
    """One ledger row a run, even if the process that published it was killed before it could write it."""
    source, key = published["source"], published["run_key"]
    Ledger().append("scoring", source, published, once=f"{source}/{key}")


def _forecast(best: Champion, current: Panel) -> tuple[Forecast, np.ndarray]:
    """Forecasts of all series, and (n,) why a series got seasonal naive instead ('' if it did not)."""
    windows = latest(current)
    parts = [best.predictor.predict(current, part).values for part in _slices(windows)]
    values = np.concatenate(parts)
    reason = np.full(len(windows), "", dtype=object)
    broken = ~np.isfinite(values).all((1, 2))
    if broken.any():
        naive = seasonal_naive(current.meta.horizon, current.meta.season_length)
        values[broken] = naive.predict(current, windows[broken]).values
        reason[broken] = "model gave no finite number: seasonal naive"
    return Forecast(values, windows), reason


def _slices(windows: Windows) -> Iterator[Windows]:
    from tqdm import tqdm

    with tqdm(total=len(windows), unit="series", desc="scoring", disable=None) as bar:
        for begin in range(0, len(windows), _SLICE):
            part = windows[begin : begin + _SLICE]
            yield part
            bar.update(len(part))


def _known(current: Panel) -> np.ndarray:
    """(n,) known values of each series."""
    return np.add.reduceat(current.observed, current.indptr[:-1], dtype=np.int64)


def _stale(current: Panel) -> int:
    """Series whose last value is more than a horizon older than the newest of all (if they share a clock)."""
    if current.meta.splits["by"] == "series_end":
        return 0
    end = current.position + current.history
    return int((end < end.max() - current.meta.horizon).sum())


def _blind(current: Panel) -> int:
    """Series that lack a value of a covariate known ahead in the horizon (its training mean stands in)."""
    ahead = [
        i for i, c in enumerate(current.meta.channels) if c.role == FUTURE and not c.categories
    ]
    if not ahead:
        return 0
    begin, end = current.indptr[:-1], current.indptr[1:]
    steps = np.arange(current.meta.horizon)
    rows, inside = gather(current.values[:, ahead], begin + current.history, steps, begin, end)
    return int((~inside | np.isnan(rows).any(-1)).any(1).sum())
