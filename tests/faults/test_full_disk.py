"""A disk that fills up stops a training with what to do, and costs it no checkpoint."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Jobs = Callable[..., Any]


def left_whole(training: Any, epoch: int) -> None:
    """The checkpoint of an epoch is there, and nothing unfinished beside it."""
    assert training.checkpoint()["epoch"] == epoch
    (folder,) = training.path.glob("checkpoints/v/*")
    assert {p.name for p in folder.iterdir()} <= {"last.ckpt", "best.ckpt"}


def test_a_file_that_may_not_grow_leaves_the_checkpoint_before_it(job: Jobs) -> None:
    training = job()
    ended = training.run(
        "at(2, 0, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))"
    )
    assert ended.code == 2, ended.err
    assert "TrainError[DISK]: checkpoints/v/" in ended.err.replace(f"{training.path}/", "")
    assert "Traceback" not in ended.err
    left_whole(training, epoch=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.slow
def test_a_full_disk_leaves_the_checkpoint_before_it(job: Jobs, small_disk: Path) -> None:
    training = job()
    (training.path / "checkpoints").symlink_to(small_disk)
    filler = small_disk / "filler"
    body = f"""
def fill():
    with open({str(filler)!r}, "wb", buffering=0) as handle:
        while True:
            try:
                handle.write(bytes(1000))
            except OSError:
                break
at(2, 0, fill)
"""
    ended = training.run(body)
    assert ended.code == 2, ended.err
    assert "TrainError[DISK]" in ended.err
    assert "No space left on device" in ended.err
    left_whole(training, epoch=1)
    filler.unlink()
    again = training.run()
    assert again.code == 0, again.err
    assert "resuming from" in again.out
