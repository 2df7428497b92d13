"""Fitting a variant: it learns, it repeats itself, and it survives being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from gatecast.config import Fit, Model
from gatecast.data.panel import Panel
from gatecast.errors import TrainError
from gatecast.models.build import build
from gatecast.training import trainer
from gatecast.training.feed import PanelFeed, batches, fit_scaling, input_spec, validation_windows

TINY = Model(cell="gru", units=8, steps=3, forks=2)
LINEAR = Model(kind="linear")

_CHILD = """
import os, signal, sys
from pathlib import Path
from gatecast.config import Fit, Model
from gatecast.data.panel import Panel
from gatecast.training import trainer
from gatecast.training.feed import TrainingWindows

panel = Panel.load(Path("data/panel"))
model, fit = Model(**{model!r}), Fit(**{fit!r})
{body}
"""


def child(panel: Panel, folder: Path, model: Model, fit: Fit, body: str) -> list[str]:
    """Command of a process that trains in ``folder``."""
    panel.save(folder / "data/panel")
    script = folder / "child.py"
    script.write_text(_CHILD.format(model=asdict(model), fit=asdict(fit), body=body))
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
    fit = replace(smoke, max_epochs=4, steps_per_epoch=15)
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
    assert trained.outcome["parameters"] == sum(p.numel() for p in trained.net.parameters())
    assert set(trained.cost) == {"train_seconds", "train_cpu_seconds"}


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
    assert outcome["ridge"] in LINEAR.ridge
    assert 0 < outcome["val_error"] < 1


def test_the_closed_form_leaves_no_checkpoint(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    trainer.train("linear", demo_panel, LINEAR, smoke, seed=1)
    assert list(workplace.iterdir()) == []


def test_a_loss_that_is_not_finite_stops_the_training(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    with pytest.raises(TrainError, match="DIVERGED"):
        trainer.train("v", demo_panel, TINY, replace(smoke, learning_rate=1e30), seed=1)


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
    fit = replace(smoke, max_epochs=30, patience=1, learning_rate=0.5, averaging=0.0)
    first = trainer.train("v", demo_panel, TINY, fit, seed=1)
    assert first.outcome["epochs"] < 30
    second = trainer.train("v", demo_panel, TINY, fit, seed=1)
    assert same(first.net, second.net)
    assert first.outcome == second.outcome


@pytest.mark.parametrize("change", ["recipe", "trainer", "seed", "data"])
def test_nothing_is_resumed_after_a_change(
    change: str,
    workplace: Path,
    demo_panel: Panel,
    smoke: Fit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer.train("v", demo_panel, TINY, replace(smoke, max_epochs=1), seed=1)
    meta = replace(demo_panel.meta, data_hash="other") if change == "data" else demo_panel.meta
    trainer.train(
        "v",
        replace(demo_panel, meta=meta),
        replace(TINY, units=6) if change == "recipe" else TINY,
        replace(smoke, max_epochs=1, batch_size=4 if change == "trainer" else 8),
        seed=2 if change == "seed" else 1,
    )
    assert "resuming" not in capsys.readouterr().out


def test_a_killed_training_goes_on_and_ends_as_if_it_had_never_been_killed(
    workplace: Path,
    demo_panel: Panel,
    smoke: Fit,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGKILL in the middle of the third of four epochs."""
    fit = replace(smoke, max_epochs=4)
    body = """
draw = TrainingWindows.draw
def deadly(self, epoch, step):
    if (epoch, step) == (2, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(self, epoch, step)
TrainingWindows.draw = deadly
trainer.train("v", panel, model, fit, 1)
"""
    command = child(demo_panel, workplace, TINY, fit, body)
    killed = subprocess.run(command, cwd=workplace, env=environment(), capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(workplace.glob("checkpoints/v/*/last.ckpt"))) == 1

    resumed = trainer.train("v", demo_panel, TINY, fit, seed=1)
    printed = capsys.readouterr().out
    assert "resuming from checkpoints/v/" in printed
    assert "epoch 1/4" not in printed
    assert "epoch 4/4" in printed

    (workplace / "undisturbed").mkdir()
    monkeypatch.chdir(workplace / "undisturbed")
    whole = trainer.train("v", demo_panel, TINY, fit, seed=1)
    assert resumed.outcome == whole.outcome
    assert same(resumed.net, whole.net)


def test_sigterm_exits_143_and_keeps_the_checkpoint(
    workplace: Path, demo_panel: Panel, smoke: Fit
) -> None:
    fit = replace(smoke, max_epochs=100_000, patience=100_000)
    command = child(demo_panel, workplace, TINY, fit, 'trainer.train("v", panel, model, fit, 1)')
    process = subprocess.Popen(
        command,
        cwd=workplace,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert any("epoch 2/" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 143
    assert "stopped by SIGTERM" in errors
    assert len(list(workplace.glob("checkpoints/v/*/last.ckpt"))) == 1


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
    trainer.train("v", demo_panel, TINY, replace(smoke, max_epochs=1), 1, logger)
    assert made == ["logger"]


def test_every_epoch_prints_both_losses(
    workplace: Path, demo_panel: Panel, smoke: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.train("v", demo_panel, TINY, smoke, seed=1)
    lines = [x for x in capsys.readouterr().out.splitlines() if x.strip().startswith("epoch ")]
    assert [x.split()[1] for x in lines] == ["1/2", "2/2"]
    assert all("train_loss" in x and "val_loss" in x for x in lines)
