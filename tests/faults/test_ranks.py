"""Two processes train as one would, and end together however they end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from tests.recipes import model_of

Jobs = Callable[..., Any]
ENDLESS = {"max_epochs": 100_000, "patience": 100_000}
SLOW = partial(pytest.param, marks=pytest.mark.slow)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
EXACT = model_of(cell="lstm", hidden_size=6, n_steps=3, n_origins=2, dropout=0.0)


def test_two_ranks_take_the_steps_that_one_process_takes(job: Jobs) -> None:
    """Also where they have unequal numbers of known targets, and 7 windows between them."""
    settings = {"precision": "64-true", "max_epochs": 2, "steps_per_epoch": 10, "batch_size": 7}
    one, two = job(EXACT, **settings), job(EXACT, devices=2, **settings)
    for training in (one.start(), two.start()):
        ended = training.wait()
        assert ended.code == 0, ended.err
    for name in ("last", "best"):
        a, b = (x.checkpoint(name) for x in (one, two))
        assert a["global_step"] == b["global_step"]
        for key, weights in a["state_dict"].items():
            assert weights.dtype == torch.float64
            torch.testing.assert_close(b["state_dict"][key], weights, rtol=0, atol=1e-9, msg=key)
    assert two.outcome()["val_loss"] == pytest.approx(one.outcome()["val_loss"], abs=1e-9)


@pytest.mark.slow
def test_only_rank_0_prints(job: Jobs) -> None:
    ended = job(devices=2, max_epochs=2).run()
    assert ended.code == 0
    assert ended.out.count("epoch 1/2") == ended.out.count("epoch 2/2") == 1
    assert ended.err == ""


@pytest.mark.parametrize("rank", [SLOW(0), 1])
def test_a_killed_rank_ends_the_training_and_leaves_no_process(rank: int, job: Jobs) -> None:
    training = job(devices=2, **ENDLESS).start()
    training.saw("epoch 2/")
    training.signal(signal.SIGKILL, rank)
    ended = training.wait()
    assert ended.code != 0
    assert training.alive() == []
    if rank == 1:
        assert "TrainError[RANK]: rank 1 (process " in ended.err
        assert "signal 9" in ended.err
        assert ended.code == 2


@pytest.mark.parametrize("rank", [SLOW(0), SLOW(1), SLOW(None)], ids=["rank 0", "rank 1", "all"])
def test_sigterm_ends_every_rank_and_exits_143(rank: int | None, job: Jobs) -> None:
    training = job(devices=2, **ENDLESS).start()
    training.saw("epoch 2/")
    training.signal(signal.SIGTERM, rank)
    ended = training.wait()
    assert (ended.code, ended.err.count("stopped by SIGTERM")) == (143, 1), ended.err
    assert training.alive() == []
    assert training.checkpoint()["epoch"] >= 0


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, None], ids=["rank 0", "all"])
def test_ctrl_c_ends_every_rank_and_exits_130(rank: int | None, job: Jobs) -> None:
    training = job(devices=2, **ENDLESS).start()
    training.saw("epoch 2/")
    training.signal(signal.SIGINT, rank)
    ended = training.wait()
    assert ended.code == 130, ended.err
    assert "interrupted in epoch" in ended.err
    assert training.alive() == []


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_every_rank(job: Jobs) -> None:
    training = job(devices=2, learning_rate=1e30)
    ended = training.run()
    assert ended.code == 2
    assert ended.err.count("TrainError[DIVERGED]") == 1
    assert training.alive() == []


@pytest.mark.slow
def test_a_killed_training_of_two_ranks_goes_on_to_the_same_weights(job: Jobs) -> None:
    killed, whole = job(devices=2), job(devices=2)
    assert killed.run("if rank: at(2, 1, lambda: os.kill(os.getpid(), signal.SIGKILL))").code != 0
    resumed = killed.run()
    assert (resumed.code, "resuming from" in resumed.out) == (0, True), resumed.err
    assert whole.run().code == 0
    assert killed.shipped_as(whole)


@pytest.mark.slow
def test_a_training_goes_on_with_another_number_of_devices(job: Jobs) -> None:
    training = job(devices=2)
    assert training.run("at(2, 1, lambda: os.kill(os.getpid(), signal.SIGKILL))").code != 0
    training.fit = training.fit.model_copy(update={"devices": 1})
    resumed = training.run()
    assert resumed.code == 0, resumed.err
    assert "resuming from" in resumed.out
    assert training.outcome()["steps"] == 16


@pytest.mark.slow
def test_torchrun_starts_the_ranks_where_it_is_used(job: Jobs) -> None:
    training = job(devices=2, max_epochs=2).start("", *TORCHRUN)
    ended = training.wait()
    assert ended.code == 0, ended.err
    assert ended.out.count("epoch 2/2") == 1
    assert training.outcome()["steps"] == 8
