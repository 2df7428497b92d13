"""Fitting a variant: it learns, repeats itself, and takes up what was complete; tests/faults kills it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gatecast.core import process
from gatecast.core.errors import TrainError
from gatecast.core.forecast import QUANTILES
from gatecast.data.panel import Panel
from gatecast.feed.panel_feed import PanelFeed
from gatecast.feed.sampling import batches, validation_windows
from gatecast.feed.scaling import fit_scaling
from gatecast.feed.spec import input_spec
from gatecast.models.build import build
from gatecast.models.config import Model, flat
from gatecast.training import trainer
from gatecast.training.config import Fit
from gatecast.training.module import ForecasterModule
from tests.recipes import model_of

TINY = model_of(cell="gru", hidden_size=8, n_steps=3, n_origins=2)
LINEAR = model_of(kind="linear")

_CHILD = """
import sys
from pathlib import Path
from gatecast.core.forecast import QUANTILES
from gatecast.training.config import Fit
from gatecast.models.recipe import read_model
from gatecast.data.panel import Panel
from gatecast.training import trainer

panel = Panel.load(Path("data/panel"))
model, fit = read_model({model!r}, 'a test'), Fit(**{fit!r})
{body}
"""


def child(panel: Panel, folder: Path, model: Model, fit: Fit, body: str) -> list[str]:
    """Command of a process that trains in ``folder``."""
    panel.save(folder / "data/panel")
    script = folder / "child.py"
    script.write_text(_CHILD.format(model=flat(model), fit=fit.model_dump(), body=body))
    return [sys.executable, str(script)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def validation_loss(panel: Panel, net: nn.Module, fit: Fit) -> float:
    spec = input_spec(panel, TINY)
    feed = PanelFeed(panel, spec, fit_scaling(panel), panel.meta)
    windows = validation_windows(panel, fit.max_validation_windows)
    total = count = 0.0
    with torch.no_grad():
        for batch in batches(feed, windows, panel.split_points[1], 64):
            loss, n = net.eval().loss(batch, 1)  # type: ignore[operator]
            total, count = total + loss.item(), count + n.item()
    return total / count


def test_a_short_training_improves_the_validation_loss(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    fit = smoke.model_copy(update={"max_epochs": 4, "steps_per_epoch": 15})
    torch.manual_seed(1)
    untrained = validation_loss(demo_panel, build(TINY, input_spec(demo_panel, TINY)), fit)
    trained = trainer.train("gru", demo_panel, TINY, fit, seed=1)
    assert trained.outcome["val_loss"] < 0.95 * untrained
    found = validation_loss(demo_panel, trained.net, fit)
    assert found == pytest.approx(trained.outcome["val_loss"], rel=1e-4)


@pytest.mark.parametrize("recipe", [TINY, LINEAR], ids=["recurrent", "linear"])
def test_two_trainings_with_one_seed_give_identical_weights(
    recipe: Model, workplace: Path, demo_panel: Panel, smoke: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets, outcomes = [], []
    for place in ("one", "two"):
        (workplace / place).mkdir()
        monkeypatch.chdir(workplace / place)
        trained = trainer.train("v", demo_panel, recipe, smoke, seed=5)
        nets.append(trained.net)
        outcomes.append(trained.outcome)
    assert same(*nets)
    assert outcomes[0] == outcomes[1]


def test_another_seed_gives_other_weights(workplace: Path, demo_panel: Panel, smoke: Fit) -> None:
    a, b = (trainer.train("v", demo_panel, TINY, smoke, seed=s).net for s in (1, 2))
    assert not same(a, b)


def test_the_outcome_counts_epochs_steps_and_parameters(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    trained = trainer.train("v", demo_panel, TINY, smoke, seed=1)
    assert (trained.outcome["epochs"], trained.outcome["steps"]) == (2, 8)
    weights = sum(p.numel() for p in trained.net.parameters())
    assert trained.outcome["parameters"] == weights + demo_panel.meta.horizon * len(QUANTILES)
    assert set(trained.cost) == {
        *("train_seconds", "train_cpu_seconds", "train_gpu_seconds", "train_peak_memory_mib"),
        *(["train_peak_gpu_memory_mib"] if torch.cuda.is_available() else []),
    }
    assert trained.cost["train_peak_memory_mib"] > 50  # an interpreter with torch
    assert trained.cost["train_gpu_seconds"] == 0.0  # on a processor


@pytest.mark.parametrize("size", [0.1, 100.0])
def test_gradients_are_clipped_as_torch_does(size: float, demo_panel: Panel, smoke: Fit) -> None:
    fit = smoke.model_copy(update={"gradient_clip": 1.0})
    module = ForecasterModule(TINY, input_spec(demo_panel, TINY), fit, seed=1)
    weights = module._weights = list(module.net.parameters())
    draw = torch.Generator().manual_seed(1)
    for weight in weights:
        weight.grad = size * torch.randn(weight.shape, generator=draw) / weight.numel()
    expected = [w.detach().clone().requires_grad_() for w in weights]
    for copy, weight in zip(expected, weights, strict=True):
        copy.grad = weight.grad.clone()
    torch.nn.utils.clip_grad_norm_(expected, 1.0)
    module._clip()
    for copy, weight in zip(expected, weights, strict=True):
        torch.testing.assert_close(weight.grad, copy.grad)


def test_the_shipped_net_is_ready_to_predict(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    net = trainer.train("v", demo_panel, TINY, smoke, seed=1).net
    assert not net.training
    assert all(p.device.type == "cpu" for p in net.parameters())


def test_the_closed_form_reports_the_penalty_it_chose(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    outcome = trainer.train("linear", demo_panel, LINEAR, smoke, seed=1).outcome
    assert outcome["ridge"] in LINEAR.penalties
    assert 0 < outcome["val_error"] < 1


def test_the_closed_form_leaves_no_checkpoint(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    trainer.train("linear", demo_panel, LINEAR, smoke, seed=1)
    assert list(workplace.iterdir()) == []


def test_complete_checkpoints_are_discarded_by_variant(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    trainer.train("v", demo_panel, TINY, smoke, seed=1)
    other = workplace / "checkpoints" / "other"
    other.mkdir()
    trainer.discard_checkpoints("v")
    assert list((workplace / "checkpoints").iterdir()) == [other]


def test_a_training_that_was_complete_but_never_packaged_is_not_repeated(
    workplace: Path, demo_panel: Panel, smoke: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trainer.train("v", demo_panel, TINY, smoke, seed=1)
    capsys.readouterr()
    second = trainer.train("v", demo_panel, TINY, smoke, seed=1)
    printed = capsys.readouterr().out
    assert "resuming from" in printed
    assert "epoch" not in printed.replace("resuming", "")
    assert same(first.net, second.net)
    assert first.outcome == second.outcome


def test_a_training_that_stopped_early_but_was_never_packaged_is_the_same_package(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    fit = smoke.model_copy(
        update={"max_epochs": 30, "patience": 1, "learning_rate": 0.5, "averaging": 0.0}
    )
    first = trainer.train("v", demo_panel, TINY, fit, seed=1)
    assert first.outcome["epochs"] < 30
    second = trainer.train("v", demo_panel, TINY, fit, seed=1)
    assert same(first.net, second.net)
    assert first.outcome == second.outcome


def test_a_training_killed_after_it_stopped_early_trains_no_further(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    """Between the last checkpoint and the note that all is complete."""
    fit = smoke.model_copy(
        update={"max_epochs": 30, "patience": 1, "learning_rate": 0.5, "averaging": 0.0}
    )
    first = trainer.train("v", demo_panel, TINY, fit, seed=1)
    next(workplace.glob("checkpoints/v/*/complete.json")).unlink()
    second = trainer.train("v", demo_panel, TINY, fit, seed=1)
    assert same(first.net, second.net)
    assert first.outcome == second.outcome


def test_a_training_goes_on_where_its_project_was_moved_to(
    workplace: Path, demo_panel: Panel, smoke: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its best epoch is not its last: that must not be forgotten."""
    fit = smoke.model_copy(update={"max_epochs": 4, "learning_rate": 0.5, "averaging": 0.0})
    first = trainer.train("v", demo_panel, TINY, fit, seed=1)
    next(workplace.glob("checkpoints/v/*/complete.json")).unlink()
    moved = workplace / "elsewhere"
    moved.mkdir()
    (workplace / "checkpoints").rename(moved / "checkpoints")
    monkeypatch.chdir(moved)
    second = trainer.train("v", demo_panel, TINY, fit, seed=1)
    assert same(first.net, second.net)
    assert first.outcome == second.outcome


def test_a_best_checkpoint_that_cannot_be_read_is_trained_anew(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    first = trainer.train("v", demo_panel, TINY, smoke, seed=1)
    for name in ("best", "last"):
        next(workplace.glob(f"checkpoints/v/*/{name}.ckpt")).write_bytes(b"half of it")
    assert same(first.net, trainer.train("v", demo_panel, TINY, smoke, seed=1).net)


def test_a_panel_whose_gaps_hide_everything_is_refused(
    workplace: Path, make_panel: Callable[..., Panel], smoke: Fit
) -> None:
    """A known value every hundred rows: no window of twelve has one before its origin."""
    y = np.full(1000, np.nan)
    y[::100] = 1.0
    with pytest.raises(TrainError, match=r"NO-WINDOW.*before and after"):
        trainer.train("v", make_panel({"a": y}), TINY, smoke, seed=1)


@pytest.mark.parametrize("change", ["recipe", "trainer", "seed", "data"])
def test_nothing_is_resumed_after_a_change(
    change: str,
    workplace: Path,
    demo_panel: Panel,
    smoke: Fit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer.train("v", demo_panel, TINY, smoke.model_copy(update={"max_epochs": 1}), seed=1)
    meta = replace(demo_panel.meta, data_hash="other") if change == "data" else demo_panel.meta
    trainer.train(
        "v",
        replace(demo_panel, meta=meta),
        TINY.model_copy(update={"hidden_size": 6}) if change == "recipe" else TINY,
        smoke.model_copy(update={"max_epochs": 1, "batch_size": 4 if change == "trainer" else 8}),
        seed=2 if change == "seed" else 1,
    )
    assert "resuming" not in capsys.readouterr().out


def test_the_closed_form_does_not_pay_for_lightning(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    body = """
trainer.train("linear", panel, model, fit, 1)
heavy = [m for m in ("pytorch_lightning", "lightning", "mlflow") if m in sys.modules]
print("heavy:", heavy)
"""
    command = child(demo_panel, workplace, LINEAR, smoke, body)
    done = subprocess.run(
        command, cwd=workplace, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_a_logger_is_made_for_recurrent_variants_only(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    made: list[str] = []

    def logger() -> bool:
        made.append("logger")
        return False

    trainer.train("linear", demo_panel, LINEAR, smoke, 1, logger)
    assert made == []
    trainer.train("v", demo_panel, TINY, smoke.model_copy(update={"max_epochs": 1}), 1, logger)
    assert made == ["logger"]


def test_every_epoch_prints_both_losses(
    workplace: Path, demo_panel: Panel, smoke: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.train("v", demo_panel, TINY, smoke, seed=1)
    lines = [x for x in capsys.readouterr().out.splitlines() if x.strip().startswith("epoch ")]
    assert [x.split()[1] for x in lines] == ["1/2", "2/2"]
    assert all("train_loss" in x and "val_loss" in x for x in lines)


def test_where_it_runs_is_no_reason_to_start_anew(
    workplace: Path, demo_panel: Panel, smoke: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trainer.train("v", demo_panel, TINY, smoke, seed=1)
    capsys.readouterr()
    again = trainer.train(
        "v", demo_panel, TINY, smoke.model_copy(update={"threads": None, "log_every": 1}), seed=1
    )
    assert "resuming from" in capsys.readouterr().out
    assert same(first.net, again.net)


def test_how_often_the_losses_are_looked_at_changes_no_weight(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    nets = []
    for every in (1, 3, 50):
        nets.append(
            trainer.train(
                "v", demo_panel, TINY, smoke.model_copy(update={"log_every": every}), 1
            ).net
        )
        trainer.discard_checkpoints("v")
    assert same(nets[0], nets[1])
    assert same(nets[0], nets[2])


def test_half_precision_is_refused_on_a_processor_without_it(
    workplace: Path, demo_panel: Panel, smoke: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "cpu_has_bfloat16", lambda: False)
    half = smoke.model_copy(update={"precision": "bf16-mixed"})
    with pytest.raises(TrainError) as caught:
        trainer.train("v", demo_panel, TINY, half, seed=1)
    assert caught.value.code == "PRECISION"


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_every_precision_learns_and_ships_float32(
    precision: str, workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    usual = trainer.train("v", demo_panel, TINY, smoke, seed=1)
    if precision == "bf16-mixed" and not process.cpu_has_bfloat16():
        with pytest.raises(TrainError, match=r"PRECISION[\s\S]*32-true"):
            trainer.train(
                "v", demo_panel, TINY, smoke.model_copy(update={"precision": precision}), seed=1
            )
        return
    other = trainer.train(
        "v", demo_panel, TINY, smoke.model_copy(update={"precision": precision}), seed=1
    )
    assert {w.dtype for w in other.net.parameters()} == {torch.float32}
    assert other.outcome["val_loss"] == pytest.approx(usual.outcome["val_loss"], rel=0.02)


def test_a_device_that_is_not_there_is_named(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(TrainError, match=r"DEVICES[\s\S]*trainer=auto"):
        trainer.train(
            "v", demo_panel, TINY, smoke.model_copy(update={"accelerator": "gpu"}), seed=1
        )


@pytest.mark.slow
def test_members_that_are_finished_are_not_trained_again(
    workplace: Path, demo_panel: Panel, smoke: Fit, capfd: pytest.CaptureFixture[str]
) -> None:
    """What an interruption leaves of an ensemble: checkpoints of members, and no package."""
    recipe = model_of(
        kind="ensemble",
        hidden_size=8,
        n_steps=3,
        n_origins=2,
        members=[{"n_seeds": 2}, {"kind": "linear"}],
    )
    first = trainer.train("e", demo_panel, recipe, smoke, 1)
    assert "which is complete" not in capfd.readouterr().out
    again = trainer.train("e", demo_panel, recipe, smoke, 1)
    assert capfd.readouterr().out.count("which is complete") == 2
    for name, weight in first.net.state_dict().items():
        assert torch.equal(weight, again.net.state_dict()[name]), name
    one, other = (first.net.members[k].state_dict() for k in (0, 1))  # type: ignore[union-attr, index]
    assert not all(torch.equal(one[k], other[k]) for k in one)  # each has a seed of its own


def test_what_is_shipped_is_the_running_mean_of_the_weights(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    """The decay grows with the steps, (k + 2) / (k + 21), up to the recipe's ``averaging``."""
    steps: list[list[torch.Tensor]] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        steps.append([w.detach().clone() for w in optimizer.param_groups[0]["params"]])

    before = register_optimizer_step_pre_hook(note)
    after = register_optimizer_step_post_hook(note)
    fit = smoke.model_copy(update={"max_epochs": 1, "averaging": 0.15})
    trained = trainer.train("v", demo_panel, TINY, fit, 1)
    before.remove()
    after.remove()
    mean = steps[0]
    for k, weights in enumerate(steps[1::2]):
        decay = min(0.15, (k + 2) / (k + 21))
        mean = [decay * m + (1 - decay) * w for m, w in zip(mean, weights, strict=True)]
    shipped = list(trained.net.parameters())
    assert len(steps) == 2 * fit.steps_per_epoch
    assert all(torch.allclose(m, w, atol=1e-6) for m, w in zip(mean, shipped, strict=True))


def test_dropout_is_drawn_anew_in_every_epoch(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    seeds: list[int] = []

    class Note(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            seeds.append(torch.initial_seed())

    trainer.train(
        "v", demo_panel, TINY, smoke.model_copy(update={"max_epochs": 3}), 1, callbacks=[Note()]
    )
    trainer.discard_checkpoints("v")
    trainer.train(
        "v", demo_panel, TINY, smoke.model_copy(update={"max_epochs": 3}), 2, callbacks=[Note()]
    )
    assert len(seeds) == len(set(seeds)) == 6  # another in every epoch of every seed
