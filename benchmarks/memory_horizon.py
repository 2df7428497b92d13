"""Memory horizon: the adding problem (Hochreiter & Schmidhuber 1997), which only a memory of T steps can solve.

A sequence has two inputs a step: a number from 0 to 1, and a mark that is 1 at one step of each half. After the last of
T steps the state must tell the sum of the two marked numbers. Who answers 1 whatever comes errs by the variance of the
sum, 1/6; how far a cell gets below that says whether it carried what it saw, and whether a gradient came back as far.

The shipped encoders run as recipes build them, on the CPU, with a linear layer on the last state; every batch is
fresh. LSTMs start with open forget gates (``forget_bias``; Gers et al. 2000, Jozefowicz et al. 2015): torch starts them
half shut. A run ends when its error on a fixed held-out set is a fifth of what counts as solved, or after all steps.

Also tried, one seed each: an LSTM does not leave the plateau within 4,000 steps at a rate of 1e-3 (bias 3) or 3e-3
(bias 1), but does at 3e-3 (bias 3); the plain cell stays on it at 1e-3, 3e-3 and 1e-2.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.common import say, write_result

CELLS = ("rnn", "lstm", "gru")
BASELINE = 1 / 6
SOLVED = 0.02
SETTINGS: dict[str, Any] = {
    "length": 200,
    "units": 64,
    "batch": 32,
    "learning_rate": 1e-2,
    "clip": 1.0,
    "forget_bias": 1.0,
    "steps": 4000,
    "look_every": 100,
}
QUICK: dict[str, Any] = {"length": 50, "steps": 1000}


def main() -> None:
    """Train every cell from several seeds."""
    parser = argparse.ArgumentParser("python -m benchmarks.memory_horizon", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="50 steps long, one seed")
    a = parser.parse_args()
    settings = SETTINGS | (QUICK if a.quick else {})
    seeds = [1] if a.quick else [1, 2, 3]
    runs = {cell: [train(cell, seed, settings) for seed in seeds] for cell in CELLS}
    picture(runs, settings["length"], a.out.with_suffix(".png"))
    mse = {cell: sorted(run["mse"] for run in of)[len(of) // 2] for cell, of in runs.items()}
    result = {"mse": mse, "baseline": BASELINE, "settings": settings, "runs": runs}
    write_result(a.out, result)


def train(cell: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """One run: its last held-out error, its learning curve and its cost."""
    import torch
    from torch import nn

    from benchmarks.recipes import model_of
    from gatecast.models.config import Recurrent
    from gatecast.models.encoders import RecurrentEncoder

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    length, units = settings["length"], settings["units"]
    model = model_of(cell=cell, hidden_size=units, input_projection=False)
    assert isinstance(model, Recurrent)
    encoder = RecurrentEncoder(model, 2)
    if cell == "lstm":
        with torch.no_grad():
            bias = encoder.recurrent.get_parameter("bias_ih_l0")
            bias[units : 2 * units] = settings["forget_bias"]
    head = nn.Linear(units, 1)
    net = nn.ModuleList([encoder, head])
    optimizer = torch.optim.Adam(net.parameters(), settings["learning_rate"])

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(head(encoder(x, 1)[:, 0]).squeeze(-1), y)

    held_out = adding(1000, length, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    begin, curve = time.process_time(), []
    for step in range(1, settings["steps"] + 1):
        optimizer.zero_grad()
        loss(*adding(settings["batch"], length, generator)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), settings["clip"])
        optimizer.step()
        if step % settings["look_every"] == 0:
            with torch.no_grad():
                curve.append([step, float(loss(*held_out))])
            if curve[-1][1] < SOLVED / 5:
                break
    seconds = time.process_time() - begin
    say(f"{cell}, seed {seed}: MSE {curve[-1][1]:.4f} after {step:,} steps, {seconds:.0f} CPU s")
    return {"seed": seed, "mse": curve[-1][1], "steps": step, "cpu_s": seconds, "curve": curve}


def adding(n: int, length: int, generator: Any) -> tuple[Any, Any]:
    """Sequences of the problem.

    Returns:
        (n, length, 2) numbers and marks, and (n,) the sums.
    """
    import torch

    numbers, marks = torch.rand(n, length, generator=generator), torch.zeros(n, length)
    half = length // 2
    places = torch.randint(half, (n, 2), generator=generator) + torch.tensor([0, half])
    marks.scatter_(1, places, 1.0)
    return torch.stack([numbers, marks], -1), (numbers * marks).sum(1)


def picture(runs: dict[str, list[dict[str, Any]]], length: int, path: Path) -> None:
    """Learning curves of all runs, a colour a cell."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    for k, (cell, of_cell) in enumerate(runs.items()):
        for run in of_cell:
            label = cell if run is of_cell[0] else None
            ax.plot(*zip(*run["curve"], strict=True), color=f"C{k}", label=label, linewidth=1.6)
    ax.axhline(BASELINE, color="0.5", linestyle=":", label="the mean")
    ax.axhline(SOLVED, color="0.5", linestyle="--", label="solved")
    ax.set(
        yscale="log",
        xlabel="training steps",
        ylabel="held-out MSE",
        title=f"Adding problem over {length} steps",
    )
    ax.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
