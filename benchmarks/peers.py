"""gatecast and four forecasting libraries side by side, in one run, on one core, measured alike.

python -m benchmarks.peers --peers PEERS --venvs VENVS --data DATA --out peers.json
python -m benchmarks.peers --peers PEERS --venvs VENVS --data DATA --out peers.json --only darts --plan overhead

PEERS is the folder of the peer benchmark (peerlib.py, peer_floor.py, peer_darts.py, …), VENVS holds one virtual
environment per peer, named after it, and one named ``floor``; its README says how to make them. DATA holds
Hourly-train.csv and Hourly-test.csv. gatecast runs in this environment.

Plans: speed (2 layers x 128 units), overhead (1 x 16), accuracy (2 x 64, 1,000 steps or 240 seconds; gatecast trains
its shipped recipe). Beside every speed run the floor runs before and after; a ratio is windows per CPU second over
the mean of both. The floor is a bare loop with the C library's own allocator.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import say, write_result

HERE = Path(__file__).resolve().parent
PEERS = [
    ("gatecast", "lstm"),
    ("darts", "lstm"),
    ("neuralforecast", "lstm"),
    ("neuralforecast", "deepar"),
    ("gluonts", "deepar"),
    ("pytorch-forecasting", "lstm"),
    ("pytorch-forecasting", "deepar"),
]
SIZES = {"speed": (2, 128, 60), "overhead": (1, 16, 200), "accuracy": (2, 64, 1000)}


def one(peer: str, model: str, plan: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run a peer's script in its own environment on the chosen core."""
    layers, units, steps = SIZES[plan]
    ours = peer == "gatecast"
    python = Path(sys.executable) if ours else given.venvs / peer / "bin" / "python"
    script = (HERE if ours else given.peers) / f"peer_{peer.replace('-', '_')}.py"
    path = [str(given.peers), *([str(HERE.parent), str(HERE.parent / "src")] if ours else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(path)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        options = {
            "data": given.data,
            "task": "accuracy" if plan == "accuracy" else "speed",
            "model": model,
            "layers": layers,
            "hidden": units,
            "warmup": 20,
            "steps": steps,
            "max-seconds": 240,
            "out": out,
        }
        command = [str(python), str(script)]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        began = time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode or not out.exists():
            return {"error": done.stderr[-1500:]}
        result: dict[str, Any] = json.loads(out.read_text())
    result["process_s"] = round(time.perf_counter() - began, 1)
    shown = {k: result.get(k) for k in ("cpu_step_ms", "fit_cpu_s", "accuracy") if result.get(k)}
    say(f"  {plan} {peer} {model}: {shown}")
    return result


def measure(plan: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Every wanted peer of a plan, with the floor between them."""
    cells = []
    floor = None if plan == "accuracy" else one("floor", "lstm", plan, given)
    for peer, model in PEERS:
        if given.only and peer not in given.only.split(","):
            continue
        run = one(peer, model, plan, given)
        cell = {"peer": peer, "model": model, "run": run}
        if floor is not None:
            before, floor = floor, one("floor", "lstm", plan, given)
            floors = [f["windows_per_cpu_s"] for f in (before, floor)]
            if "error" not in run:
                cell["ratio_to_floor"] = run["windows_per_cpu_s"] * 2 / sum(floors)
            cell["floor_windows_per_cpu_s"] = floors
        cells.append(cell)
    return cells


def known(path: Path, have: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy runs of an earlier result of the peer benchmark, of those that are not among ``have``."""
    earlier = json.loads(path.read_text(encoding="utf-8"))
    there = {(c["peer"], c["model"]) for c in have}
    return [
        {"peer": peer, "model": model, "run": cell["run"], "measured": earlier["date"]}
        for cell in earlier["accuracy"]
        for peer, model, variant, *_ in [cell["key"]]
        if (peer, model) in PEERS and (peer, model) not in there and not variant
    ]


def main() -> None:
    """Run the plans one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("peers", "venvs", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--only", default="", help="comma list of peers, e.g. gatecast,darts")
    parser.add_argument("--plan", choices=list(SIZES), help="one plan instead of all three")
    parser.add_argument("--core", type=int, default=0, help="processor core everything runs on")
    parser.add_argument(
        "--known", type=Path, help="take accuracy runs that were not made from this earlier result"
    )
    given = parser.parse_args()
    given.peers, given.venvs, given.data = (
        p.resolve() for p in (given.peers, given.venvs, given.data)
    )
    os.sched_setaffinity(0, {given.core})
    plans = [given.plan] if given.plan else list(SIZES)
    result = json.loads(given.out.read_text()) if given.out.is_file() else {}
    for plan in plans:
        wanted = given.only.split(",")
        kept = [c for c in result.get(plan, []) if given.only and c["peer"] not in wanted]
        result[plan] = kept + measure(plan, given)
        write_result(given.out, result)
    if given.known:
        result["accuracy"] = result.get("accuracy", []) + known(
            given.known, result.get("accuracy", [])
        )
        write_result(given.out, result)


if __name__ == "__main__":
    main()
