"""Memory and first step: what training takes on a panel of a million series.

Writes a panel, then trains the LSTM recipe on it for two short epochs in a fresh process, and notes

    growth_mib    peak growth of the process' anonymous memory over what it held after its imports
    first_step_s  CPU seconds from the start of the process, imports included, to the end of its first step
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

from benchmarks.common import POINTS, say, write_panel, write_result

_EVERY = 0.02  # seconds between two looks at the memory


def main() -> None:
    """Make the panel, then measure it in a process of its own."""
    a = _arguments()
    if a.panel:
        write_result(a.out, measure(a.panel.resolve(), a.steps))
        return
    series = 100_000 if a.quick else 1_000_000
    panel = a.data.resolve() / f"panel-{series}x{POINTS}"
    if not panel.exists():
        say(f"writing {series:,} series x {POINTS} points to {panel}")
        write_panel(panel, series)
    command = [sys.executable, "-m", "benchmarks.memory", "--panel", str(panel)]
    try:
        subprocess.run(
            [*command, "--out", str(a.out), "--steps", str(a.steps)], check=True, stdout=sys.stderr
        )
    finally:
        if not a.keep:
            shutil.rmtree(panel)


def measure(folder: Path, steps: int) -> dict[str, Any]:
    """Train on a panel in this process, which should be fresh.

    Args:
        folder: of the panel.
        steps: in each of the two epochs.
    """
    import pyarrow.parquet  # noqa: F401
    import pytorch_lightning  # noqa: F401
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from benchmarks.recipes import model_of
    from gatecast.data.panel import Panel
    from gatecast.training import trainer
    from gatecast.training.config import Fit

    ends: list[float] = []
    hook = register_optimizer_step_post_hook(lambda *_: ends.append(time.process_time()))
    fit = Fit(accelerator="cpu", threads=1, max_epochs=2, steps_per_epoch=steps)
    wall = time.perf_counter()
    say(f"{time.process_time():.1f} CPU seconds after the imports")
    with tempfile.TemporaryDirectory() as work, chdir(work), _Peak() as memory:
        panel = Panel.load(folder)
        say(f"panel loaded: {memory.growth_mib:.0f} MiB at most")
        trainer.train("benchmark", panel, model_of(), fit, seed=1)
    hook.remove()
    say(f"{memory.growth_mib:.0f} MiB at most, first step after {ends[0]:.1f} CPU seconds")
    return {
        "growth_mib": round(memory.growth_mib, 1),
        "first_step_s": round(ends[0], 2),
        "series": panel.n_series,
        "points": len(panel.values) // panel.n_series,
        "panel_mib": round((panel.values.nbytes + panel.observed.nbytes) / 2**20, 1),
        "wall_s": round(time.perf_counter() - wall, 2),
    }


class _Peak:
    """The peak growth of this process' anonymous memory, looked at every 20 ms."""

    def __enter__(self) -> _Peak:
        self._base = self._most = _anonymous_kib()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._over.wait(_EVERY):
            self._most = max(self._most, _anonymous_kib())

    @property
    def growth_mib(self) -> float:
        return (self._most - self._base) / 1024


def _anonymous_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("RssAnon:")[2].split()[0])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.memory", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="10^5 series instead of 10^6")
    parser.add_argument("--steps", type=int, default=20, help="steps of each epoch (default: 20)")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(tempfile.gettempdir()) / "gatecast-benchmarks",
        help="folder in which the panel is made, or found (default: %(default)s)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the panel for the next run")
    parser.add_argument(
        "--panel", type=Path, help="measure this panel, in this process; nothing is made or deleted"
    )
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    return arguments


if __name__ == "__main__":
    main()
