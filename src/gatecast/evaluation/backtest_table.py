"""The forecasts of a backtest with their actuals, as one long table: ``reports/backtest.parquet``.

    with backtest_table.opened(path, backtest) as table:
        backtest.run(predictor, table.of(predictor.name))

Columns are those of published forecasts, with ``y`` (the actual) and ``variant``; :func:`read` makes one column per
variant of them, as Nixtla's libraries have it. It is written batch by batch, and it is bounded: of a large backtest it
holds a sample of windows, drawn evenly and the same for every variant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gatecast.core import atomic
from gatecast.core.errors import EvaluationError
from gatecast.core.forecast import QuantileForecast
from gatecast.data.panel import Panel
from gatecast.evaluation.backtest import Backtest, Observer
from gatecast.evaluation.metrics import Batch
from gatecast.evaluation.table import to_table

ROWS = 200_000
"""Rows of each variant at most: whole windows, of a horizon's rows each."""


def read(path: Path) -> pd.DataFrame:
    """A table that was written, as Nixtla's ``cross_validation`` returns one.

    Returns:
        One row per series, cutoff and step, sorted: ``unique_id``, ``ds``, ``cutoff``, ``y`` (NaN where it is unknown),
        and of each variant its median and its quantiles: ``lstm``, ``lstm-lo-95``, …, ``lstm-hi-95``.

    Raises:
        EvaluationError: NO-BACKTEST if there is none.
    """
    if not path.is_file():
        what = f"there is no backtest {path}."
        raise EvaluationError("NO-BACKTEST", what, "Run `dvc repro`, or name the project: root=…")
    table = pd.read_parquet(path)
    quantiles = list(QuantileForecast.columns)
    index, columns = ["unique_id", "ds", "cutoff"], []
    for variant, rows in table.groupby("variant", sort=False):
        rows = rows.set_index(index)
        names = [name.replace("gatecast", str(variant), 1) for name in quantiles]
        columns.append(rows[quantiles].set_axis(names, axis=1))
    actual = rows["y"]
    wide = pd.concat([actual, *columns], axis=1)
    return wide.reset_index().sort_values(["unique_id", "cutoff", "ds"], ignore_index=True)


@contextmanager
def opened(path: Path, backtest: Backtest, rows: int = ROWS) -> Iterator[BacktestTable]:
    """A table that is in place, whole, when the block ends without an error.

    Args:
        path: of the Parquet file.
        backtest: whose runs are written.
        rows: of each variant at most.
    """
    windows = len(backtest.windows)
    most = max(1, rows // backtest.panel.meta.horizon)
    chosen = np.ones(windows, bool)
    if windows > most:
        # drawn, since every k-th window would be of the same hours of the day
        chosen[:] = False
        chosen[np.random.default_rng(0).choice(windows, most, replace=False)] = True
    with atomic.file(path) as handle:
        table = BacktestTable(backtest.panel, chosen, handle)
        try:
            yield table
        finally:
            table.close()


@dataclass
class BacktestTable:
    """A table that is being written.

    Attributes:
        panel: that is forecast.
        chosen: (n,) bool, windows of the backtest that are written.
        handle: of the file.
    """

    panel: Panel
    chosen: np.ndarray
    handle: BinaryIO
    _writer: pq.ParquetWriter | None = field(default=None, init=False)

    def of(self, variant: str) -> Observer:
        """An observer that writes the run of a variant."""
        return _Rows(self, variant)

    def write(self, batch: Batch, variant: str) -> None:
        """Add the chosen windows of a batch."""
        chosen = self.chosen[batch.rows]
        if not chosen.any():
            return
        table = to_table(self.panel, QuantileForecast(batch.values[chosen], batch.windows[chosen]))
        actual = batch.y[chosen].astype(np.float32).ravel()
        rows = pa.Table.from_pandas(table.assign(y=actual, variant=variant), preserve_index=False)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.handle, rows.schema)
        self._writer.write_table(rows)

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()


@dataclass(frozen=True)
class _Rows:
    table: BacktestTable
    variant: str

    def add(self, batch: Batch) -> None:
        self.table.write(batch, self.variant)
