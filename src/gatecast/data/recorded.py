"""A feed read by the columns that a model was trained with, whatever its recipe names today.

    feed = as_recorded(feed, meta)                # to score: the panel of this feed is the one that the model knows
    panel = widened(panel, meta, feed, as_of)     # to compare: the same series and origins, with its columns beside

What a model reads is in its package: the meta of the panel that it was trained on. A recipe that has gained or lost a
covariate since then says how to read the files, no more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from gatecast.core.errors import IngestError
from gatecast.data import ingest
from gatecast.data.build_panel import build_panel, covariates_of
from gatecast.data.config import Feed
from gatecast.data.panel import TARGET, Channel, Panel, PanelMeta, absent


def as_recorded(feed: Feed, meta: PanelMeta) -> Feed:
    """The recipe of a feed with the covariates of a panel instead of its own."""
    return feed.model_copy(update={"covariates": covariates_of(meta)})


def widened(panel: Panel, meta: PanelMeta, feed: Feed, as_of: str | None) -> Panel:
    """A panel with the columns of another one beside its own, read from the feed again if it lacks some.

    Args:
        panel: the data set; its series, rows, targets and splits stay.
        meta: of the other one.
        feed: the source recipe.
        as_of: the feed as of this time.

    Returns:
        The panel itself if it lacks nothing.

    Raises:
        IngestError: SOURCE if the feed is another one; as :func:`gatecast.data.ingest.check_feed`, COLUMN-MISSING if
            the feed lacks them, too.
    """
    lacking = {c.key for c in absent(panel.meta.channels, meta.channels) if c.role != TARGET}
    # the table of series has one column per name: another type of it cannot stand beside it
    named = {c.name for c in panel.meta.static}
    lacking |= {c.key for c in absent(panel.meta.static, meta.static) if c.name not in named}
    if not lacking:
        return panel
    if feed.name != panel.meta.source:
        what = f"the recipe is of source '{feed.name}', the panel of '{panel.meta.source}'."
        raise IngestError("SOURCE", what, "Run `dvc repro window`.")
    recorded = as_recorded(feed, meta)
    checked = ingest.check_feed(recorded, as_of)
    size = panel.meta.horizon, panel.meta.season_length
    other = build_panel(checked.observations, checked.static, recorded, *size, feasible=False)
    columns = [i for i, c in enumerate(other.meta.channels) if c.key in lacking]
    static = [c for c in other.meta.static if c.key in lacking]
    at = _rows(panel, other)
    values = np.full((len(at), len(columns)), np.nan, np.float32)
    values[at >= 0] = other.values[at[at >= 0]][:, columns]
    return Panel(
        np.concatenate([panel.values, values], 1),
        panel.observed,
        panel.indptr,
        panel.series.assign(**_static(panel, other, static)),
        replace(
            panel.meta,
            channels=panel.meta.channels + [other.meta.channels[i] for i in columns],
            static=panel.meta.static + static,
        ),
    )


def _static(panel: Panel, other: Panel, columns: list[Channel]) -> dict[str, np.ndarray]:
    """(n,) each: static columns of another panel for the series of a panel; unknown where it lacks the series."""
    aligned = other.series.set_index("unique_id").reindex(panel.ids)
    # code 0: unknown
    unknown = {c.name: np.nan if c.categories is None else 0.0 for c in columns}
    return {n: aligned[n].fillna(value).to_numpy(np.float32) for n, value in unknown.items()}


def _rows(panel: Panel, other: Panel) -> np.ndarray:
    """(T,) row of another panel that has the series and stamp of each row of a panel; -1 where there is none."""
    series = np.repeat(np.arange(panel.n_series), panel.lengths)  # (T,)
    stamp = np.arange(len(series)) - panel.indptr[series] + panel.position[series]
    code = pd.Index(other.ids).get_indexer(pd.Index(panel.ids))[series]
    row = other.axis.get_indexer(panel.axis)[stamp] - other.position[code]
    known = (code >= 0) & (row >= 0) & (row < other.lengths[code])
    return np.where(known, other.indptr[code] + row, -1)
