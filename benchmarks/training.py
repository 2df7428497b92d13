"""Training rate of the engine beside a bare torch loop, in one run, in CPU time.

python -m benchmarks.training --out training.json
python -m benchmarks.training --quick --out training.json

The task is that of the peers in benchmarks/peers.py: 414 series of 960 points, 128 windows a step, an LSTM over 168
steps of one point, horizon 48; two layers of 128 units, and one of 16. Four loops, one process each, one core:

    engine    gatecast's own trainer: draw, gather, Lightning, clipping, weight average, logging
    bare      the same net on one ready batch: forward, backward, clipping, AdamW. The same allocator
    untuned   the same as bare with the C library's own allocator
    floor     nn.LSTM and a linear head on random numbers, Adam: what the peers are compared with

The bare loop runs before and after the engine; a ratio is windows per CPU second over their mean.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

from benchmarks.common import fresh, say, write_panel, write_result
from benchmarks.recipes import model_of
from gatecast.models.config import Model
from gatecast.training.config import Fit

BATCH, WINDOW, HORIZON = 128, 168, 48
SIZES = {"lstm_2x128": (2, 128), "lstm_1x16": (1, 16)}
WARMUP = 5


def peers_net(layers: int, units: int, cell: str = "lstm") -> Model:
    """The peers' net: one point a step, one origin a window."""
    return model_of(
        cell=cell,
        hidden_size=units,
        n_layers=layers,
        dropout=0.0,
        input_projection=False,
        encoder_input="patch",
        context_length=WINDOW,
        stride=1,
        n_steps=WINDOW,
        n_origins=1,
    )


class Meter:
    """CPU and wall time at the end of every optimizer step of this process."""

    def __init__(self) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.cpu: list[float] = []
        self.wall: list[float] = []
        register_optimizer_step_post_hook(self._note)

    def _note(self, *_: Any) -> None:
        self.cpu.append(time.process_time())
        self.wall.append(time.perf_counter())

    def result(self) -> dict[str, float]:
        """Milliseconds a step and windows a second, the warm-up left out."""
        n = len(self.cpu) - WARMUP
        cpu, wall = (v[-1] - v[WARMUP - 1] for v in (self.cpu, self.wall))
        return {
            "steps": n,
            "cpu_step_ms": 1e3 * cpu / n,
            "wall_step_ms": 1e3 * wall / n,
            "windows_per_cpu_s": BATCH * n / cpu,
            "windows_per_s": BATCH * n / wall,
            "first_step_cpu_s": self.cpu[0],
        }


def work(loop: str, layers: int, units: int, steps: int, panel: Path) -> dict[str, float]:
    """Run one loop in this process."""
    if loop in ("bare", "floor"):
        from gatecast.core import process

        process.tune_allocator()
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(1)
    meter = Meter()
    {"engine": _engine, "floor": _floor}.get(loop, _bare)(layers, units, steps + WARMUP, panel)
    return meter.result()


def _fit(steps: int) -> Fit:
    return Fit(accelerator="cpu", max_epochs=1, steps_per_epoch=steps, batch_size=BATCH, threads=1)


def _engine(layers: int, units: int, steps: int, panel: Path) -> None:
    from gatecast.data.panel import Panel
    from gatecast.training import trainer

    with tempfile.TemporaryDirectory() as folder, chdir(folder):  # for its checkpoints
        trainer.train("benchmark", Panel.load(panel), peers_net(layers, units), _fit(steps), 1)


def _bare(layers: int, units: int, steps: int, panel: Path) -> None:
    import torch

    from gatecast.data.panel import Panel
    from gatecast.feed.panel_feed import PanelFeed
    from gatecast.feed.sampling import TrainingWindows
    from gatecast.feed.scaling import fit_scaling
    from gatecast.feed.spec import input_spec
    from gatecast.models.build import build

    data, fit = Panel.load(panel), _fit(steps)
    spec = input_spec(data, peers_net(layers, units))
    windows = TrainingWindows(data, spec, BATCH, 1).draw(0, 0)
    feed = PanelFeed(data, spec, fit_scaling(data), data.meta)
    batch = feed.batch(windows, data.split_points[0][windows.series])
    net: Any = build(peers_net(layers, units), spec)
    weights = list(net.parameters())
    adam = torch.optim.AdamW(weights, fit.learning_rate, weight_decay=fit.weight_decay, fused=True)
    for _ in range(steps):
        adam.zero_grad()
        loss, count = net.loss(batch)
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(weights, fit.gradient_clip)
        adam.step()


def _floor(layers: int, units: int, steps: int, _: Path) -> None:
    import torch

    rnn = torch.nn.LSTM(1, units, layers, batch_first=True)
    head = torch.nn.Linear(units, HORIZON)
    adam = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=1e-3)
    x, y = torch.randn(BATCH, WINDOW, 1), torch.randn(BATCH, HORIZON)
    for _step in range(steps):
        adam.zero_grad()
        (head(rnn(x)[0][:, -1]) - y).abs().mean().backward()
        adam.step()


def run(loop: str, size: str, steps: int, folder: Path) -> dict[str, float]:
    """Run one loop in a fresh process of one core."""
    layers, units = SIZES[size]
    panel = folder / "panel"
    options = {"worker": loop, "layers": layers, "units": units, "steps": steps, "panel": panel}
    result: dict[str, float] = json.loads(fresh("benchmarks.training", folder, **options))
    say(f"  {size} {loop:8} {result['cpu_step_ms']:8.2f} ms of CPU a step")
    return result


def measure(size: str, steps: int, rounds: int, folder: Path) -> dict[str, Any]:
    """All loops of one size: ``rounds`` times bare, engine; then bare, floor, and untuned if asked for."""
    bare, engine = [], []
    for _ in range(rounds):
        bare.append(run("bare", size, steps, folder))
        engine.append(run("engine", size, steps, folder))
    bare.append(run("bare", size, steps, folder))
    others = {name: run(name, size, steps, folder) for name in ("untuned", "floor")}

    def rate(loops: list[dict[str, float]]) -> float:
        return sum(r["windows_per_cpu_s"] for r in loops) / len(loops)

    pairs = [e["windows_per_cpu_s"] / rate(bare[i : i + 2]) for i, e in enumerate(engine)]
    return {
        "ratio_to_bare": sum(pairs) / len(pairs),
        "ratio_to_bare_each": pairs,
        "ratio_to_untuned_bare": rate(engine) / others["untuned"]["windows_per_cpu_s"],
        "ratio_to_floor": rate(engine) / others["floor"]["windows_per_cpu_s"],
        "engine": engine,
        "bare": bare,
        **others,
    }


def main() -> None:
    """Measure, or run one loop as a worker."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(description=lines[0])
    parser.add_argument("--out", type=Path, default=Path("training.json"), help="JSON result")
    parser.add_argument("--quick", action="store_true", help="fewer steps, under a minute")
    parser.add_argument(
        "--worker", choices=["engine", "bare", "untuned", "floor"], help=argparse.SUPPRESS
    )
    for name in ("--layers", "--units", "--steps"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--panel", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(work(given.worker, given.layers, given.units, given.steps, given.panel)))
        return
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_panel(folder / "panel", series=414, points=960, horizon=HORIZON)
        for size in SIZES:
            steps = {
                "lstm_2x128": 3 if given.quick else 60,
                "lstm_1x16": 40 if given.quick else 600,
            }
            result[size] = measure(size, steps[size], 1 if given.quick else 3, folder)
            say(
                f"{size}: "
                + ", ".join(f"{k} {v:.3f}" for k, v in result[size].items() if isinstance(v, float))
            )
    write_result(given.out, result)


if __name__ == "__main__":
    main()
