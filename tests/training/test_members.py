"""Tasks in processes of their own: what they return, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from gatecast.core import process
from gatecast.core.errors import TrainError
from gatecast.training import members
from gatecast.training.config import Fit

ONE: list[int | None] = [None]


def square(x: int) -> int:
    return x * x


def refuse() -> None:
    raise TrainError("NO-WINDOW", "nothing to see.", "Bring more.")


def vanish() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def visible() -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


def note(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def test_results_come_back_in_the_order_of_the_tasks() -> None:
    tasks = {f"member {k}": partial(square, k) for k in (3, 1, 2)}
    assert list(members.run(dict(tasks), [None, None]).items()) == [
        ("member 3", 9),
        ("member 1", 1),
        ("member 2", 4),
    ]


@pytest.mark.parametrize(("threads", "at_once"), [(None, 8), (1, 8), (3, 2), (16, 1)])
def test_without_a_gpu_members_share_the_cores(
    threads: int | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "available_cores", lambda: 8)
    assert members.devices(Fit(accelerator="cpu", threads=threads)) == [None] * at_once


def test_an_error_of_a_task_is_the_error_of_all() -> None:
    with pytest.raises(TrainError, match="NO-WINDOW"):
        members.run({"member 1": refuse}, ONE)


def test_a_process_that_is_lost_is_named() -> None:
    with pytest.raises(TrainError, match=r"MEMBER.*member 1.*exit code -9"):
        members.run({"member 1": vanish}, ONE)


def test_every_member_sees_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    found = members.run({"a": visible, "b": visible}, [0, 1])
    assert sorted(found.values()) == ["4", "7"]


def test_processes_import_this_gatecast_and_not_that_of_a_loaded_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow puts the code of a model that it has loaded first on the path."""
    (tmp_path / "gatecast").mkdir()
    (tmp_path / "gatecast" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.path)
    assert members.run({"a": partial(square, 3)}, ONE) == {"a": 9}
    assert sys.path == before


def test_without_a_gpu_one_member_trains_per_core() -> None:
    cores = len(os.sched_getaffinity(0))
    assert len(members.devices(Fit(accelerator="cpu", threads=1))) <= cores
    assert members.devices(Fit(accelerator="cpu", threads=10_000)) == [None]


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_no_process_outlives_the_one_that_waits(tmp_path: Path, sent: int, code: int) -> None:
    """A real process with two running tasks, stopped for real."""
    script = tmp_path / "script.py"
    script.write_text(
        "from functools import partial\nfrom pathlib import Path\n"
        "from gatecast.training import members\nfrom tests.training.test_members import note\n"
        "if __name__ == '__main__':\n"
        f"    task = partial(note, Path({str(tmp_path / 'noted')!r}))\n"
        "    members.run({'a': task, 'b': task}, [None, None])\n"
    )
    noted = tmp_path / "noted"
    noted.mkdir()
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    process = subprocess.Popen([sys.executable, str(script)], env=env, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(list(noted.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    children = [int(p.name) for p in noted.iterdir()]
    assert len(children) == 2
    process.send_signal(sent)
    assert process.wait(120) == code
    while any(_alive(pid) for pid in children) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in children)


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
