"""A training in one process that is killed, asked to stop or interrupted goes on where it was."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.recipes import model_of

Jobs = Callable[..., Any]
ENDLESS = {"max_epochs": 100_000, "patience": 100_000}
DROPOUT = model_of(cell="lstm", hidden_size=8, n_layers=2, n_steps=3, n_origins=2, dropout=0.4)


@pytest.mark.parametrize(
    "epoch",
    [1, pytest.param(3, marks=pytest.mark.slow)],
    ids=["second epoch", "last epoch"],
)
def test_a_killed_training_ends_as_if_it_had_never_been_killed(epoch: int, job: Jobs) -> None:
    """Weights, their averages and the optimizer, to the last bit, with dropout."""
    killed, whole = job(DROPOUT), job(DROPOUT)
    body = f"at({epoch}, 2, lambda: os.kill(os.getpid(), signal.SIGKILL))"
    assert killed.run(body).code == -signal.SIGKILL
    assert killed.checkpoint()["epoch"] == epoch - 1
    for each in (killed, whole):
        ended = each.run()
        assert ended.code == 0, ended.err
    a, b = killed.checkpoint(), whole.checkpoint()
    assert a["global_step"] == b["global_step"] == 16
    assert all(torch.equal(a["state_dict"][k], w) for k, w in b["state_dict"].items())
    moments = (x["optimizer_states"][0]["state"] for x in (a, b))
    for one, other in zip(*(m.values() for m in moments), strict=True):
        assert all(torch.equal(one[k], other[k]) for k in ("exp_avg", "exp_avg_sq", "step"))
    assert killed.shipped_as(whole)
    assert killed.outcome() == whole.outcome()


@pytest.mark.parametrize(
    ("which", "code", "said"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        pytest.param(signal.SIGINT, 130, "interrupted", marks=pytest.mark.slow),
    ],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_a_training_that_is_stopped_says_how_to_go_on(
    which: signal.Signals, code: int, said: str, job: Jobs
) -> None:
    training = job(**ENDLESS).start()
    training.saw("epoch 2/")
    training.signal(which)
    ended = training.wait()
    assert ended.code == code, ended.err
    assert ended.err.startswith(said) or f"\n{said}" in ended.err
    assert "run again to go on from checkpoints/v/" in ended.err
    assert "Traceback" not in ended.err
    assert training.checkpoint()["epoch"] >= 0


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_read_is_not_used(job: Jobs) -> None:
    """Half a file, as a copy that was cut off leaves it: the training starts anew and ends the same."""
    training, whole = job(max_epochs=2), job(max_epochs=2)
    assert training.run("at(1, 2, lambda: os.kill(os.getpid(), signal.SIGKILL))").code != 0
    (last,) = training.path.glob("checkpoints/v/*/last.ckpt")
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    again = training.run()
    assert again.code == 0, again.err
    assert "last.ckpt cannot be read" in again.out
    assert "epoch 1/2" in again.out
    assert whole.run().code == 0
    assert training.shipped_as(whole)
