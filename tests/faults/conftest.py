"""Trainings in processes of their own, which the tests kill, interrupt and starve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from gatecast.data import ingest
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Covariates, Demo, DemoFeed, Splits, Task
from gatecast.data.panel import Panel
from gatecast.models.config import Model, flat
from gatecast.training.config import Fit
from tests.recipes import model_of

_CHILD = """
import json, os, resource, signal, sys, time
from pathlib import Path
from gatecast.training.config import Fit
from gatecast.models.recipe import read_model
from gatecast.data.panel import Panel
from gatecast.core.errors import GatecastError
from gatecast.core import process
from gatecast.training import distributed, trainer
from gatecast.feed.sampling import TrainingWindows

def at(epoch, step, act):
    draw = TrainingWindows.draw
    def acting(self, *when):
        if when == (epoch, step):
            act()
        return draw(self, *when)
    TrainingWindows.draw = acting

panel = Panel.load(Path("panel"))
model, fit = read_model({model!r}, 'a test'), Fit(**{fit!r})
rank = distributed.ranks(fit).rank
Path("pids").mkdir(exist_ok=True)
Path("pids", str(rank)).write_text(str(os.getpid()))
{body}
try:
    if rank:
        trainer.assist("v", panel, model, fit, 1)
    else:
        trained = trainer.train("v", panel, model, fit, 1)
        import torch
        torch.save(trained.net.state_dict(), "net.pt")
        Path("outcome.json").write_text(json.dumps(trained.outcome))
except GatecastError as error:
    print(error, file=sys.stderr)
    raise SystemExit(2)
"""


@dataclass
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str


@dataclass
class Job:
    """A training in a folder: ``start`` it, send it signals, ``wait`` for its end."""

    path: Path
    fit: Fit
    model: Model = field(
        default_factory=lambda: model_of(cell="gru", hidden_size=8, n_steps=3, n_origins=2)
    )
    process: subprocess.Popen[str] | None = None

    def start(self, body: str = "", *launcher: str) -> Job:
        """Start it, in a session of its own, with ``body`` run first."""
        script = self.path / "child.py"
        script.write_text(
            _CHILD.format(model=flat(self.model), fit=self.fit.model_dump(), body=body)
        )
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GATECAST_", "MLFLOW_"))}
        self.process = subprocess.Popen(
            [*(launcher or [sys.executable]), str(script)],
            cwd=self.path,
            env=env | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def run(self, body: str = "") -> Ended:
        return self.start(body).wait()

    def saw(self, text: str) -> None:
        """Wait until it prints this."""
        assert self.process is not None
        assert self.process.stdout is not None
        assert any(text in line for line in self.process.stdout), self.wait().err

    def pid(self, rank: int) -> int:
        return int((self.path / "pids" / str(rank)).read_text())

    def signal(self, which: signal.Signals, rank: int | None = None) -> None:
        """Send a signal to one rank, or to all processes, as a terminal does."""
        assert self.process is not None
        if rank is None:
            os.killpg(self.process.pid, which)
        else:
            os.kill(self.pid(rank), which)

    def wait(self) -> Ended:
        assert self.process is not None
        out, err = self.process.communicate(timeout=120)
        return Ended(self.process.returncode, out, err)

    def alive(self, seconds: float = 3.0) -> list[int]:
        """Processes of its session that are still there after a moment."""
        until = time.monotonic() + seconds
        while (left := self._session()) and time.monotonic() < until:
            time.sleep(0.1)
        return left

    def _session(self) -> list[int]:
        assert self.process is not None
        left = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != "zombie":
                    left.append(process.pid)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return left

    def net(self) -> dict[str, torch.Tensor]:
        """Weights of the net that was to be shipped."""
        return dict(torch.load(self.path / "net.pt", weights_only=True))

    def shipped_as(self, other: Job) -> bool:
        """Whether both shipped the same net, to the last bit."""
        a, b = self.net(), other.net()
        return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

    def outcome(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "outcome.json").read_text()))

    def checkpoint(self, name: str = "last") -> dict[str, Any]:
        """The content of the one checkpoint of this name."""
        (path,) = self.path.glob(f"checkpoints/v/*/{name}.ckpt")
        return dict(torch.load(path, weights_only=True))


@pytest.fixture(scope="session")
def small() -> Panel:
    """Eight series of the demo, one of them with most targets unknown."""
    feed = DemoFeed(
        name="demo",
        kind="demo",
        frequency="h",
        demo=Demo(n_series=8, n_days=30),
        covariates=Covariates(
            static=["region"], past=[], future=["temperature"], categorical=["region"]
        ),
        task=Task(
            horizon=24, season_length=24, splits=Splits(by="time", validation=0.15, test=0.2)
        ),
    )
    checked = ingest.check_feed(feed)
    rows = checked.observations
    first = rows["unique_id"] == rows["unique_id"].iloc[0]
    rows.loc[first & (rows.index % 3 != 0), "y"] = float("nan")
    return build_panel(rows, checked.static, feed)


@pytest.fixture
def job(small: Panel, tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Make a job: ``job(max_epochs=3)`` sets fields of its trainer recipe; what it leaves running is ended."""
    made: list[Job] = []

    def make(model: Model | None = None, **settings: Any) -> Job:
        base: dict[str, Any] = {
            "accelerator": "cpu",
            "max_epochs": 4,
            "steps_per_epoch": 4,
            "batch_size": 8,
            "max_validation_windows": 16,
            "threads": 1,
            "log_every": 3,
        }
        path = tmp_path / f"job{len(made)}"
        small.save(path / "panel")
        made.append(Job(path, Fit(**base | settings)))
        if model is not None:
            made[-1].model = model
        return made[-1]

    yield make
    for one in made:
        if one.process is not None:
            for left in one._session():
                os.kill(left, signal.SIGKILL)
            one.process.kill()
            one.process.wait()
