"""Scoring from the panel on disk to the published manifest: horizon 48, quantiles, Parquet, two processes.

python -m benchmarks.scoring --out scoring.json
python -m benchmarks.scoring --quick --out scoring.json

    segment       conf/model/lstm.yaml: 14 steps of a day. Series a second, and memory, from 10^4 series on
    lstm_2x128    an LSTM of two layers of 128 units over 168 points, beside the bare forward pass: torch's LSTM
                  (time-major) and a linear head on tensors that are ready, as many processes of one thread

The nets are untrained, which does not change their speed. Every run is a process of its own, with the settings that a
user has: few series it scores alone. Runs and bare passes take turns, and ``ratio_to_forward`` compares series per
second of CPU, so that whoever else is on the machine does not count (``ratio_to_forward_wall`` is by the clock). The
start of the second process is among the seconds of a run; that of the bare passes' processes is not among theirs.
Memory is the peak of what all processes hold together, where pages that they share count once (PSS); the panel's
pages are among them while they are mapped. For it, runs of 10^4 and 10^5 series are done again so that both processes
are at work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import chdir, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from benchmarks.common import fresh, say, write_panel, write_result
from benchmarks.recipes import model_of
from benchmarks.training import peers_net
from gatecast.scoring.config import Score, SinkSettings

POINTS, HORIZON, PROCESSES = 500, 48, 2
MODELS = {"segment": model_of(), "lstm_2x128": peers_net(2, 128)}
_BATCH = 512  # of the bare forward pass: the best of 128 … 2048


def main() -> None:
    """Measure, or do one run as a worker."""
    parser = argparse.ArgumentParser("python -m benchmarks.scoring", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, default=Path("scoring.json"), help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="fewer series, about two minutes")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--model", choices=MODELS, help=argparse.SUPPRESS)
    parser.add_argument("--series", type=int, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.worker:
        print(json.dumps(WORKERS[a.worker](a.model, a.series)))
        return
    out = a.out.resolve()
    sizes = (10_000, 100_000) if a.quick else (10_000, 100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        result = {
            "segment": segment(sizes),
            "lstm_2x128": lstm(10_000) if a.quick else lstm(20_000, 3),
        }
    write_result(out, {**result, "processes": PROCESSES, "points": POINTS, "horizon": HORIZON})


def segment(sizes: tuple[int, ...]) -> dict[str, Any]:
    """The day-segment recipe over growing panels; series a second are those of the largest."""
    cells = [measured("segment", series) for series in sizes]
    both = [measured("segment", series, "both") for series in sizes[:2]]
    return {
        "series_per_s": cells[-1]["series_per_s"],
        "series_per_cpu_s": cells[-1]["series_per_cpu_s"],
        "peak_rss_mib": {str(cell["series"]): cell["peak_rss_mib"] for cell in cells + both},
        "cells": cells,
        "both_at_work": both,
    }


def lstm(series: int, rounds: int = 1) -> dict[str, Any]:
    """The step-by-step LSTM beside its bare forward pass, in turn."""
    bare, runs = [], []
    for _ in range(rounds):
        bare.append(measured("lstm_2x128", series, "forward"))
        runs.append(measured("lstm_2x128", series))
    bare.append(measured("lstm_2x128", series, "forward"))

    def ratio(key: str) -> float:
        mean = lambda cells: sum(c[key] for c in cells) / len(cells)  # noqa: E731
        return round(mean(runs) / mean(bare), 4)

    return {
        "ratio_to_forward": ratio("series_per_cpu_s"),
        "ratio_to_forward_wall": ratio("series_per_s"),
        "runs": runs,
        "forward": bare,
    }


def measured(model: str, series: int, worker: str = "run") -> dict[str, Any]:
    """One run or bare pass in a fresh process, watched from outside."""
    if worker != "forward":
        prepare(model, series)
    with Watch() as watch:
        options = {"worker": worker, "model": model, "series": series}
        done = json.loads(fresh("benchmarks.scoring", Path.cwd(), **options))
    cell = {
        "series": series,
        "seconds": round(done["seconds"], 2),
        "cpu_seconds": round(done["cpu_seconds"], 2),
        "series_per_s": round(series / done["seconds"]),
        "series_per_cpu_s": round(series / done["cpu_seconds"]),
        "peak_rss_mib": round(watch.peak / 2**20),
    }
    say(f"  {model} {worker} {cell}")
    return cell


class Watch:
    """Watches what this process' children hold in memory together."""

    def __init__(self) -> None:
        self.peak, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            self.peak = max(self.peak, sum(map(_held, psutil.Process().children(recursive=True))))


def _held(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0


def prepare(model: str, series: int) -> None:
    """The panel, its series shard by shard as a snapshot's lie, and the package, on disk."""
    import torch

    from gatecast.data.panel import Panel
    from gatecast.feed.scaling import fit_scaling
    from gatecast.feed.spec import input_spec
    from gatecast.models.build import build
    from gatecast.registry import package
    from gatecast.scoring.run_spec import number_of_shards
    from gatecast.scoring.shards import shard_of
    from gatecast.training.trainer import Trained

    folder = Path(f"{series}/panel")
    if not folder.is_dir():
        names = pd.Series([f"s{k:07d}" for k in range(series)])
        shard = shard_of(names, number_of_shards(series))
        write_panel(
            folder, series, POINTS, HORIZON, names[np.argsort(shard, kind="stable")].tolist()
        )
    panel = Panel.load(folder)
    torch.manual_seed(1)
    spec = input_spec(panel, MODELS[model])
    net: Any = build(MODELS[model], spec)
    net.calibration.copy_(1 + 0.1 * torch.rand_like(net.calibration))
    trained = Trained(net, spec, fit_scaling(panel), {}, {})
    package.write(Path("models", model), model, MODELS[model], 1, panel.meta, trained)


def run(model: str, series: int) -> dict[str, float]:
    """One scoring run through the whole protocol; its seconds, and those of CPU of all its processes."""
    from gatecast.registry import champion, package
    from gatecast.scoring import run as protocol

    folder = Path("models", model)
    digest = package.digest(folder)
    best = champion.Champion(f"gatecast-{model}", 1, digest, "", model, package.read(folder))
    target = champion.KEPT / digest[:16]
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-rT", folder, target], check=True)
    rules = Score(workers=PROCESSES)
    for left in ("forecasts", "ledger.db"):
        subprocess.run(["rm", "-rf", left], check=True)
    begin, cpu = time.perf_counter(), _cpu()
    asked: dict[str, Any] = {"feed": {}, "as_of": None, "kind": "live"}
    done = protocol.publish(Path(str(series)), best, asked, begin, rules, SinkSettings())
    seconds, used = time.perf_counter() - begin, _cpu() - cpu
    assert done.manifest["rows"] == series * HORIZON
    return {"seconds": seconds, "cpu_seconds": used}


def both(model: str, series: int) -> dict[str, float]:
    """The same run, where this process waits with its second part until the other one has written two: for memory."""
    from gatecast.core import failpoints
    from gatecast.scoring.engines import local

    mine = count()

    def reach(name: str) -> None:
        if name == "scoring: part written" and next(mine) == 1:
            while len([*Path().glob("forecasts/*/*/part-*.json")]) < 3:
                time.sleep(0.05)

    local._WORTH, failpoints.reach = 0, reach
    return run(model, series)


def forward(model: str, series: int) -> dict[str, float]:
    """The bare forward pass, in as many processes."""
    code = "import sys; from benchmarks.scoring import bare; bare(int(sys.argv[1]))"
    share = str(series // PROCESSES)
    started = [
        subprocess.Popen([sys.executable, "-c", code, share], stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    done = [json.loads(process.communicate()[0]) for process in started]
    seconds = max(d["seconds"] for d in done)
    return {"seconds": seconds, "cpu_seconds": sum(d["cpu_seconds"] for d in done)}


def bare(series: int) -> None:
    """One process of the bare forward pass; prints its seconds."""
    import torch

    from gatecast.core import process

    process.tune_allocator()
    torch.set_num_threads(1)
    lstm, head = torch.nn.LSTM(1, 128, 2), torch.nn.Linear(128, HORIZON * 11)
    batch = torch.randn(168, _BATCH, 1)
    with torch.inference_mode():
        head(lstm(batch)[0][-1])
        begin, cpu = time.perf_counter(), time.process_time()
        for low in range(0, series, _BATCH):
            head(lstm(batch[:, : series - low])[0][-1])
    seconds, used = time.perf_counter() - begin, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu_seconds": used}))


WORKERS = {"run": run, "both": both, "forward": forward}


def _cpu() -> float:
    """Seconds of CPU of this process and all those it has started, ended ones that were waited for included."""
    return sum(map(_cpu_of, [me := psutil.Process(), *me.children(recursive=True)]))


def _cpu_of(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        t = process.cpu_times()
        return float(t.user + t.system + t.children_user + t.children_system)
    return 0.0


if __name__ == "__main__":
    main()
