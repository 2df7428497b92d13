"""What the process is told before it trains."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gatecast.core import process
from gatecast.core.errors import TrainError
from gatecast.training import distributed
from gatecast.training.config import Fit


def test_the_allocator_can_be_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATECAST_ALLOCATOR", "default")
    assert process.tune_allocator() is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_the_allocator_accepts_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATECAST_ALLOCATOR", raising=False)
    assert process.tune_allocator() is True


def test_another_libc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATECAST_ALLOCATOR", raising=False)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert process.tune_allocator() is False


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the number of threads as it was."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is put back too
    monkeypatch.delenv("OMP_NUM_THREADS")
    yield
    torch.set_num_threads(before)


def test_threads_are_those_declared(threads: None) -> None:
    process.set_threads(1)
    assert torch.get_num_threads() == 1
    assert os.environ["OMP_NUM_THREADS"] == "1"  # for the ranks that are started


@pytest.mark.parametrize(("cores", "processes", "expected"), [(8, 1, 8), (8, 3, 2), (2, 4, 1)])
def test_without_a_declared_number_the_ranks_share_the_cores(
    cores: int,
    processes: int,
    expected: int,
    threads: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "available_cores", lambda: cores)
    process.set_threads(None, processes)
    assert torch.get_num_threads() == expected


def test_the_environment_decides_before_the_cores(
    threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "available_cores", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    process.set_threads(None)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({}, 8),
    ],
)
def test_a_container_has_the_cores_of_its_quota(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(process, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert process.available_cores() == expected


def test_one_device_is_one_rank() -> None:
    assert distributed.ranks(Fit()) == distributed.Ranks(0, 1, 1)


def test_every_gpu_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(TrainError, match=r"DEVICES[\s\S]*trainer=auto"):
        distributed.ranks(Fit(devices=-1))


def test_every_gpu_is_one_rank_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert distributed.ranks(Fit(devices=-1)) == distributed.Ranks(0, 4, 4)


def torchrun(monkeypatch: pytest.MonkeyPatch, **env: str) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", **env}.items():
        monkeypatch.setenv(name, value)


def test_torchrun_says_which_rank_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    torchrun(monkeypatch, RANK="5", WORLD_SIZE="8", LOCAL_WORLD_SIZE="4")
    assert distributed.ranks(Fit(devices=-1)) == distributed.Ranks(5, 8, 4)


def test_torchrun_with_a_recipe_of_one_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    torchrun(monkeypatch, RANK="1", WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
    with pytest.raises(TrainError, match=r"DEVICES[\s\S]*trainer=ddp"):
        distributed.ranks(Fit())


def test_more_processes_than_windows_in_a_batch_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torchrun(monkeypatch, RANK="0", WORLD_SIZE="8", LOCAL_WORLD_SIZE="8")
    with pytest.raises(TrainError, match="8 processes cannot share a batch of 4 windows"):
        distributed.ranks(Fit(devices=2, batch_size=4))
