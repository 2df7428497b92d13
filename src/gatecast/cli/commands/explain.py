"""Show how far back every variant remembers, and what its gates do: tables and pictures in reports/memory."""

from __future__ import annotations

import time
from pathlib import Path

from gatecast.cli.frame import NoOptions, command
from gatecast.config import Config

PANEL, REPORTS = Path("data/panel"), Path("reports/memory")


@command(reads=("variants",))
def main(config: Config, _: NoOptions) -> None:
    from gatecast.core import atomic
    from gatecast.core.errors import EvaluationError
    from gatecast.data.panel import Panel
    from gatecast.evaluation import memory, memory_plots
    from gatecast.feed.sampling import validation_windows
    from gatecast.registry import compared, package
    from gatecast.registry.mlflow import runs

    start = time.perf_counter()
    panel = Panel.load(PANEL)
    source, season = panel.meta.source, panel.meta.season_length
    runs.close_dead_runs(source)
    compared.keep_only(config.settings.variants)
    windows = validation_windows(panel, memory.WINDOWS)
    folders = {variant: package.MODELS / variant for variant in config.settings.variants}
    predictors = {name: package.load(folder) for name, folder in folders.items()}
    lookback = max(predictor.spec.lookback for predictor in predictors.values())
    window = memory.typical(panel, windows, lookback)
    measured, left_out = [], {}
    with atomic.folder(REPORTS) as out:
        for name, predictor in predictors.items():
            begin = time.perf_counter()
            try:
                measured.append(memory.sensitivity(predictor, panel, windows))
            except EvaluationError as error:
                left_out[name] = error.what
                print(f"  {name}: left out: {error.what}", flush=True)
                continue
            part = memory.recurrent_net(predictor.net)
            if part is not None:
                seen = memory.activations(predictor, panel, window)
                path = out / f"gates_{name}.png"
                memory_plots.gates(name, seen, part.spec, panel, window, path)
            shown = "" if part else "; no recurrent layer, so no gates to show"
            seconds = time.perf_counter() - begin
            print(
                f"  {name}: {measured[-1].windows:,} windows in {seconds:.1f} s{shown}", flush=True
            )
        if measured:
            memory_plots.sensitivity(measured, season, out / "sensitivity.png")
        memory.write(out, measured, left_out, panel)
    for each in measured:
        run_id = runs.ensure(folders[each.name])
        names = ("sensitivity.png", f"gates_{each.name}.png")
        pictures = [REPORTS / name for name in names if (REPORTS / name).is_file()]
        runs.log_pictures(run_id, pictures)
        runs.log_metrics(run_id, each.horizons)
    task = f"{source}, {len(windows):,} validation windows"
    print(memory.render(measured, f"{task}: {memory.SHARE:.0%} of the sensitivity lies within"))
    print(
        f"\nexplain: {len(measured)} variants -> {REPORTS} in {time.perf_counter() - start:.1f} s"
    )
    print("explain: how to read it, and what each cell can remember at most: docs/models.md")
