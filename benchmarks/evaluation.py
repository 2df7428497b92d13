"""Evaluation at scale: CPU seconds and peak memory of a backtest and of a comparison at the gate, by windows.

    evaluate    seasonal naive on every window, with all scores, as the stage `evaluate` runs each of its variants
    promote     challenger, champion and baseline on every window, and the gate's resamples and segments

Each is measured in a process of its own, on a panel of many short series that is made beforehand: four origins per
series, 48 steps. Peak memory is the most that the process held (ru_maxrss), imports and the mapped panel included.
``slope`` is that of CPU seconds over windows, both in logarithms: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common import SEASON, fresh, say, write_panel, write_result

HORIZON, ORIGINS = 48, 4
_STRIDE = 12
_POINTS = 4 * SEASON + HORIZON + (ORIGINS - 1) * _STRIDE
SIZES = {"windows_1e5": 100_000, "windows_1e6": 1_000_000}
QUICK = {"windows_1e4": 10_000, "windows_1e5": 100_000}
WHAT = ("evaluate", "promote")


def load(folder: Path) -> Any:
    """The panel, its last windows the test span."""
    from gatecast.data.panel import Panel

    panel = Panel.load(folder)
    test = HORIZON + (ORIGINS - 1) * _STRIDE
    splits = {"by": "series_end", "validation": SEASON, "test": test}
    return replace(panel, meta=replace(panel.meta, stride=_STRIDE, splits=splits))


def evaluate(panel: Any) -> None:
    """Score one predictor on every window."""
    from gatecast.evaluation import baselines
    from gatecast.evaluation.backtest import Backtest

    backtest = Backtest.of(panel)
    result = backtest.run(baselines.seasonal_naive(HORIZON, SEASON))
    assert len(result.series)
    assert len(result.steps) == HORIZON


def promote(panel: Any) -> None:
    """Compare two predictors on every window as the gate does."""
    from gatecast.evaluation import baselines
    from gatecast.registry import comparison, gate
    from gatecast.registry.config import Promote

    rules = Promote()
    test = comparison.compare_on(panel, {}, rules)
    challenger = test.measure(baselines.seasonal_naive(HORIZON, SEASON))
    champion = test.measure(baselines.naive(HORIZON))
    baseline = test.measure(test.baseline)
    gate.judge(test.evidence(challenger, baseline, champion), rules)


def measure(what: str, folder: Path) -> dict[str, Any]:
    """Run one of both in this process, which should be fresh."""
    panel = load(folder)
    begin = time.process_time()
    evaluate(panel) if what == "evaluate" else promote(panel)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "windows": panel.n_series * ORIGINS,
        "cpu_s": round(time.process_time() - begin, 2),
        "peak_mib": round(peak, 1),
    }


def main() -> None:
    """Every size and command, in processes of their own."""
    parser = argparse.ArgumentParser("python -m benchmarks.evaluation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="10^4 and 10^5 windows")
    parser.add_argument("--what", choices=WHAT, help=argparse.SUPPRESS)
    parser.add_argument("--panel", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.what:
        print(json.dumps(measure(a.what, a.panel)))
        return
    if a.out is None:
        parser.error("--out is missing")
    result: dict[str, Any] = {"horizon": HORIZON}
    with tempfile.TemporaryDirectory() as folder:
        for name, windows in (QUICK if a.quick else SIZES).items():
            panel = Path(folder) / "panel"
            write_panel(panel, windows // ORIGINS, _POINTS, HORIZON)
            cells = {}
            for what in WHAT:
                said = fresh("benchmarks.evaluation", Path(folder), what=what, panel=panel)
                cells[what] = json.loads(said)
                say(f"{name} {what}: {cells[what]}")
            shutil.rmtree(panel)
            result[name] = cells["evaluate"] | {"promote": cells["promote"]}
    small, large = (result[name] for name in (QUICK if a.quick else SIZES))
    for small_cell, large_cell, into in (
        (small, large, result),
        (small["promote"], large["promote"], result.setdefault("promote", {})),
    ):
        times = large_cell["windows"] / small_cell["windows"]
        into["slope"] = round(math.log(large_cell["cpu_s"] / small_cell["cpu_s"], times), 3)
    write_result(a.out, result)


if __name__ == "__main__":
    main()
