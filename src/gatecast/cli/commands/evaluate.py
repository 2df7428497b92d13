"""Backtest every variant and the naive baselines on the same rolling origins; write and log the leaderboard.

Variants that forecast an event have a board of their own, beside persistence and logistic regression.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gatecast.cli.frame import NoOptions, command
from gatecast.config import Config

PANEL, REPORTS = Path("data/panel"), Path("reports")


@command(reads=("variants", "promote.metric"))
def main(config: Config, _: NoOptions) -> None:
    from gatecast.core import atomic
    from gatecast.core.forecast import Predictor
    from gatecast.data.panel import Panel
    from gatecast.evaluation import (
        backtest_table,
        baselines,
        event_board,
        leaderboard,
        plots,
        summary,
    )
    from gatecast.evaluation.backtest import Backtest
    from gatecast.registry import compared, package
    from gatecast.registry.mlflow import runs
    from gatecast.reports import card, overview

    start = time.perf_counter()
    panel, metric = Panel.load(PANEL), config.settings.promote.metric
    meta = panel.meta
    runs.close_dead_runs(meta.source)
    compared.keep_only(config.settings.variants)
    backtest = Backtest.of(panel)
    folders = {variant: package.MODELS / variant for variant in config.settings.variants}
    digests = {variant: package.digest(folder) for variant, folder in folders.items()}
    predictors: list[Predictor] = [
        baselines.naive(meta.horizon),
        baselines.seasonal_naive(meta.horizon, meta.season_length),
    ]
    loaded = [package.load(folder, digests[name]) for name, folder in folders.items()]
    event_models = [variant for variant in loaded if variant.spec.event]
    event_names = [variant.name for variant in event_models]
    predictors += [variant for variant in loaded if not variant.spec.event]
    results = []
    with backtest_table.opened(REPORTS / "backtest.parquet", backtest) as forecasts:
        for predictor in predictors:
            results.append(backtest.run(predictor, forecasts.of(predictor.name)))
            seconds = results[-1].seconds
            print(
                f"  {predictor.name}: {len(backtest.windows):,} windows in {seconds:.1f} s",
                flush=True,
            )
    table = leaderboard.leaderboard(results, metric)
    leaderboard.write(REPORTS, results, table, panel, backtest, metric, digests, event_names)
    plots.error_by_step(results, metric, REPORTS / "error_by_step.png")
    plots.calibration(results, REPORTS / "calibration.png")
    winner = leaderboard.winner(table)
    best = next(r for r in results if r.name == (winner or str(table.index[0])))
    chosen = plots.choose(best.series)
    for predictor, result in zip(predictors, results, strict=True):
        path = REPORTS / "forecasts" / f"{result.name}.png"
        plots.fans(backtest, predictor, result, chosen, path)
    events = event_board.compare(panel, event_models)
    event_board.write(REPORTS, events, panel, {name: digests[name] for name in event_names})
    summary.write(REPORTS)
    with atomic.folder(REPORTS / "cards") as cards:
        for result in results:
            pictures = [REPORTS / "error_by_step.png", REPORTS / "calibration.png"]
            folder = folders.get(result.name)
            run_id = runs.log_evaluation(panel, result, folder, pictures)
            runs.log_fan(run_id, REPORTS / "forecasts" / f"{result.name}.png")
            if folder:
                naive = next(r for r in results if r.name == "seasonal_naive")
                parts = card.segments(panel, result, naive)
                _card(folder, panel, result, naive, run_id, cards, parts)
        for event in events:
            folder = folders.get(event.name)
            pictures = [REPORTS / "reliability.png"]
            run_id = runs.log_evaluation(panel, event, folder, pictures)
            if folder:
                floor = next(r for r in events if r.event == event.event)
                _card(folder, panel, event, floor, run_id, cards)
    overview.update(meta.source, REPORTS)
    task = f"{meta.source}: {len(backtest.windows):,} windows, horizon {meta.horizon}"
    title = f"{task}; lower is better, * is the best variant"
    print(leaderboard.render(table, title))
    if events:
        origins = events[0].n_windows
        task = f"{meta.source}: an event within {meta.horizon} steps, {origins:,} windows"
        print("\n" + event_board.render(event_board.board(events), f"{task}; by brier"))
    won = f"{winner} wins by {metric}" if winner else "no variant forecasts quantiles"
    print(f"\nevaluate: {won} -> {REPORTS} in {time.perf_counter() - start:.1f} s")


def _card(
    folder: Path,
    panel: Any,
    result: Any,
    baseline: Any,
    run_id: str,
    cards: Path,
    segments: Any = None,
) -> None:
    """Write the model card of a variant and log it to its run."""
    from gatecast.core import atomic
    from gatecast.registry import package
    from gatecast.registry.mlflow import runs
    from gatecast.reports import card

    content, digest = package.describe(folder), package.digest(folder)
    text = card.of(content, digest, panel, result, baseline, runs.cost(run_id), segments)
    atomic.write_text(cards / f"{result.name}.md", text)
    runs.log_card(run_id, text)
