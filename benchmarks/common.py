"""What the benchmarks share: a synthetic panel on disk, the facts of the machine, one way to write a result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gatecast.core import atomic
from gatecast.core.version import __version__
from gatecast.data.panel import TARGET, Channel, PanelMeta, write_series

SEASON = HORIZON = 24
POINTS = 200
_CHUNK = 8192  # series written together


def facts() -> dict[str, Any]:
    """When, where and with what a result was measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": version("torch"),
        "lightning": version("pytorch-lightning"),
        "gatecast": __version__,
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON, with the facts of the machine, and say where it is."""
    atomic.write_json(path, {**result, **facts()})
    say(f"wrote {path}")


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def fresh(module: str, folder: Path, **options: object) -> str:
    """Run a benchmark's worker in a fresh process of one core; the last line that it prints.

    Args:
        module: run as ``python -m``.
        folder: the process' current folder.
        options: of the command line.
    """
    command = [sys.executable, "-m", module]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *filter(None, sys.path)])
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | one | {"PYTHONPATH": path},
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {done.returncode}.")
    return done.stdout.splitlines()[-1]


def write_panel(
    folder: Path,
    series: int,
    points: int = POINTS,
    horizon: int = HORIZON,
    names: Sequence[str] | None = None,
) -> None:
    """Write a panel folder of hourly series, a chunk at a time: a day's wave around a level, noise, gaps; none below 0.

    Args:
        folder: where it appears when it is whole.
        series: how many.
        points: rows of each; the first and the last are known, 2 % of the others are not.
        horizon: of the task; the last two are held out.
        names: of the series; None: numbered.
    """
    r = np.random.default_rng(series)
    wave = np.sin(2 * np.pi * np.arange(points) / SEASON).astype(np.float32)
    with atomic.folder(folder) as out:
        create = np.lib.format.open_memmap
        values = create(out / "values.npy", "w+", np.float32, (series * points, 1))
        observed = create(out / "observed.npy", "w+", np.bool_, (series * points,))
        for low in range(0, series, _CHUNK):
            n = min(_CHUNK, series - low)
            level, swing = r.lognormal(3, 1, (n, 1)), r.uniform(0, 0.5, (n, 1))
            noise = r.standard_normal((n, points), np.float32)
            y = (level * (1 + swing * wave + 0.1 * noise).clip(0)).astype(np.float32)
            gap = r.random((n, points), np.float32) < 0.02
            gap[:, [0, -1]] = False
            rows = slice(low * points, (low + n) * points)
            values[rows, 0] = np.where(gap, np.nan, y).ravel()
            observed[rows] = ~gap.ravel()
        values.flush()
        observed.flush()
        np.save(out / "indptr.npy", np.arange(series + 1, dtype=np.int64) * points)
        ids = [f"s{k:07d}" for k in range(series)] if names is None else names
        table = pd.DataFrame({"unique_id": ids, "position": 0})
        write_series(out, table.assign(history=points))
        atomic.write_json(out / "panel.json", _meta(series, points, horizon).to_json())


def _meta(series: int, points: int, horizon: int) -> PanelMeta:
    return PanelMeta(
        source="synthetic",
        frequency="h",
        timezone=None,
        first="2024-01-01 00:00:00",
        axis_length=points,
        season_length=SEASON,
        horizon=horizon,
        stride=horizon,
        channels=[Channel("y", TARGET)],
        static=[],
        calendar=[],
        holidays=None,
        splits={"by": "series_end", "validation": horizon, "test": horizon},
        data_hash=f"synthetic-{series}-{points}-{horizon}",
    )


def table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lines of a Markdown table, the head first."""
    head, *body = rows
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return lines + [f"| {' | '.join(row)} |" for row in body]
