"""Observations to panel: one memory-mapped buffer, the time axis, the split points, the resolved task."""

from __future__ import annotations

import time
from pathlib import Path

from gatecast.cli.frame import NoOptions, command
from gatecast.config import Config

OBSERVATIONS = Path("data/observations")
PANEL = Path("data/panel")


@command(groups=("source",), reads=("horizon", "season_length", "backtest.stride"))
def main(config: Config, _: NoOptions) -> None:
    from gatecast.data import ingest, windows
    from gatecast.data.build_panel import build_panel

    settings, start = config.settings, time.perf_counter()
    observations, static = ingest.load(OBSERVATIONS, settings.source)
    built = build_panel(
        observations,
        static,
        config.feed,
        settings.horizon,
        settings.season_length,
        settings.backtest.stride,
    )
    built.save(PANEL)
    low, high = windows.training_range(built)
    origins = {span: len(windows.rolling_origins(built, span)) for span in ("validation", "test")}
    print(
        f"window: {built.n_series:,} series, {len(built.values):,} rows x {len(built.meta.channels)} channels;"
        f" horizon {built.meta.horizon}, season {built.meta.season_length};"
        f" {int((high - low).sum()):,} training origins, {origins['validation']:,} validation"
        f" and {origins['test']:,} test windows -> {PANEL} in {time.perf_counter() - start:.1f} s"
    )
