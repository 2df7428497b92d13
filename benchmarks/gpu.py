"""Training on a GPU: the engine beside a bare cuDNN loop, bf16 beside f32, the largest batch, the accuracy.

python -m benchmarks.gpu --out benchmarks/results/gpu.json
GATECAST_DATA_DIR=… python -m benchmarks.gpu --out benchmarks/results/gpu.json     # with the accuracy on M4 Hourly

The net is that of benchmarks.training at 2 x 128, with 1,024 windows a step. Rates are wall clock from step 20 on;
utilisation is what nvidia-smi reports while the engine trains. Exit code 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.common import fresh, say, write_panel, write_result
from benchmarks.training import HORIZON, Meter, peers_net
from gatecast.data.config import data_dir
from gatecast.training.config import Fit

BATCH, LAYERS, UNITS = 1024, 2, 128
_WARM = 20  # steps that are not timed


def rate(loop: str, precision: str, batch: int, steps: int, panel: Path) -> dict[str, float]:
    """Windows per second of one loop, in this process."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from gatecast.data.panel import Panel
    from gatecast.training import trainer

    data = Panel.load(panel)
    fit = Fit(accelerator="gpu", max_epochs=1, steps_per_epoch=steps, batch_size=batch, threads=1)
    fit = fit.model_copy(update={"precision": precision, "max_validation_windows": 64})
    meter = Meter()
    stamps: list[float] = []

    def stamp(*_: Any) -> None:  # the clock starts when the device has done the first steps
        if len(meter.wall) in (_WARM, steps):
            torch.cuda.synchronize()
            stamps.append(time.perf_counter())

    register_optimizer_step_post_hook(stamp)
    with _Utilisation() as utilisation:
        if loop == "engine":
            trainer.train("benchmark", data, peers_net(LAYERS, UNITS), fit, 1)
        else:
            _bare(data, fit)
    return {
        "windows_per_s": batch * (steps - _WARM) / (stamps[1] - stamps[0]),
        "utilisation_percent": utilisation.mean,
        "memory_mib": torch.cuda.max_memory_allocated() / 2**20,
    }


def _bare(data: Any, fit: Fit) -> None:
    import torch

    from gatecast.feed.panel_feed import PanelFeed
    from gatecast.feed.sampling import TrainingWindows
    from gatecast.feed.scaling import fit_scaling
    from gatecast.feed.spec import input_spec
    from gatecast.models.build import build

    spec = input_spec(data, peers_net(LAYERS, UNITS))
    windows = TrainingWindows(data, spec, fit.batch_size, 1).draw(0, 0)
    feed = PanelFeed(data, spec, fit_scaling(data), data.meta, "cuda")
    batch = feed.batch(windows, data.split_points[0][windows.series])
    net: Any = build(peers_net(LAYERS, UNITS), spec).cuda()
    weights = list(net.parameters())
    adam = torch.optim.AdamW(weights, fit.learning_rate, fused=True)
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=fit.precision == "bf16-mixed")
    for _ in range(fit.steps_per_epoch):
        adam.zero_grad()
        with autocast:
            loss, count = net.loss(batch)
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(weights, fit.gradient_clip)
        adam.step()


class _Utilisation:
    """Mean of what nvidia-smi says, once every half second."""

    def __enter__(self) -> _Utilisation:
        self._seen: list[float] = []
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._over.wait(0.5):
            said = subprocess.run(query, capture_output=True, text=True, check=False).stdout
            self._seen += [float(line) for line in said.splitlines()[:1] if line.strip().isdigit()]

    @property
    def mean(self) -> float:
        return sum(self._seen) / max(1, len(self._seen))


def largest_batch(folder: Path) -> int:
    """The largest power of two of windows that one step holds."""
    batch = BATCH
    while True:
        options = {"loop": "engine", "precision": "32-true", "batch": 2 * batch, "steps": _WARM + 2}
        try:
            fresh("benchmarks.gpu", folder, **options, panel=folder / "panel")
        except SystemExit:
            return batch
        batch *= 2


def accuracy(precision: str, folder: Path) -> dict[str, float]:
    """sMAPE and MASE of the shipped recipe on M4's last 48 training points after its whole training."""
    done = fresh("benchmarks.time_to_accuracy", folder, seed=1, precision=precision)
    last: dict[str, float] = json.loads(done)[-1]
    return {k: last[k] for k in ("smape", "mase")}


def main() -> None:
    """Measure everything, or one loop as a worker."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="JSON result")
    parser.add_argument("--quick", action="store_true", help="fewer steps, no search for the batch")
    parser.add_argument("--loop", choices=["engine", "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="32-true", help=argparse.SUPPRESS)
    parser.add_argument("--panel", type=Path, help=argparse.SUPPRESS)
    for name in ("--batch", "--steps"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.loop:
        found = rate(given.loop, given.precision, given.batch, given.steps, given.panel)
        print(json.dumps(found))
        return
    import torch

    if not torch.cuda.is_available():
        print("There is no GPU here: nothing was measured.", file=sys.stderr)
        raise SystemExit(2)
    result: dict[str, Any] = {"gpu": torch.cuda.get_device_name(), "batch": BATCH}
    steps = 100 if given.quick else 400
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_panel(folder / "panel", series=414, points=960, horizon=HORIZON)
        for precision in ("32-true", "bf16-mixed"):
            name = precision.partition("-")[0]
            for loop in ("bare", "engine", "bare"):
                options = {"loop": loop, "precision": precision, "batch": BATCH, "steps": steps}
                said = fresh("benchmarks.gpu", folder, **options, panel=folder / "panel")
                cell = json.loads(said)
                result.setdefault(f"{loop}_{name}", []).append(cell)
                say(f"  {precision} {loop}: {cell}")
            bare = [c["windows_per_s"] for c in result[f"bare_{name}"]]
            engine = result[f"engine_{name}"][0]
            result[f"ratio_to_bare_{name}"] = engine["windows_per_s"] * len(bare) / sum(bare)
            result[f"windows_per_s_{name}"] = engine["windows_per_s"]
            result[f"utilisation_percent_{name}"] = engine["utilisation_percent"]
            if data_dir() is not None:
                for key, value in accuracy(precision, folder).items():
                    result[f"m4_{key}_{name}"] = value
        if not given.quick:
            result["largest_batch"] = largest_batch(folder)
    write_result(given.out, result)


if __name__ == "__main__":
    main()
