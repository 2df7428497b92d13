"""Growth: what an epoch of one window a series costs, from a hundred series to a hundred thousand.

Trains an LSTM of 16 units with the real trainer and notes, for each number of series, the CPU seconds from an
epoch's first draw to its last optimizer step; ``slope`` is that of their logarithms (1: the cost is proportional).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.common import say, write_panel, write_result

_BATCH = 32
_STEPS = 600  # measured at least, in as many epochs as that takes


def main() -> None:
    """Measure panels of growing size."""
    parser = argparse.ArgumentParser("python -m benchmarks.growth", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="up to 10^4 series instead of 10^5")
    a = parser.parse_args()
    out = a.out.resolve()
    cells = [measure(10**k) for k in range(2, 5 if a.quick else 6)]
    n, cost = (np.log([cell[key] for cell in cells]) for key in ("n", "cpu_s"))
    slope = float(np.polyfit(n, cost, 1)[0])
    say(f"slope {slope:.3f}")
    write_result(out, {"slope": round(slope, 4), "cells": cells, "batch": _BATCH})


def measure(n: int) -> dict[str, Any]:
    """The mean cost of an epoch over n series; the first epoch only warms up."""
    from benchmarks.recipes import model_of
    from gatecast.data.panel import Panel
    from gatecast.training import trainer
    from gatecast.training.config import Fit

    steps = -(-n // _BATCH)
    epochs = 1 + -(-_STEPS // steps)
    fit = Fit(
        accelerator="cpu",
        threads=1,
        batch_size=_BATCH,
        steps_per_epoch=steps,
        max_epochs=epochs,
        patience=epochs,
        max_validation_windows=64,
    )
    with tempfile.TemporaryDirectory() as work, chdir(work), _costs(steps) as costs:
        write_panel(Path("panel"), n)
        trainer.train("growth", Panel.load(Path("panel")), model_of(hidden_size=16), fit, seed=1)
    mean = float(np.mean(costs[1:]))
    say(f"{n:>7,} series: {mean:.3f} CPU s an epoch of {steps:,} steps, mean of {epochs - 1}")
    return {"n": n, "steps": steps, "cpu_s": round(mean, 5), "epochs": epochs - 1}


@contextmanager
def _costs(steps: int) -> Iterator[list[float]]:
    """Fills a list with the CPU seconds of every epoch from its first draw to its last optimizer step."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from gatecast.data.windows import Windows
    from gatecast.feed.sampling import TrainingWindows

    begin: list[float] = []
    costs: list[float] = []
    done = 0
    draw = TrainingWindows.draw

    def timed(self: TrainingWindows, epoch: int, step: int) -> Windows:
        if step == 0:
            begin.append(time.process_time())
        return draw(self, epoch, step)

    def after_step(*_: object) -> None:
        nonlocal done
        done += 1
        if done % steps == 0:
            costs.append(time.process_time() - begin[-1])

    hook = register_optimizer_step_post_hook(after_step)
    try:
        with patch.object(TrainingWindows, "draw", timed):
            yield costs
    finally:
        hook.remove()


if __name__ == "__main__":
    main()
