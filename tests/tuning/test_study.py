"""A study: what its trials leave in Optuna's store and in MLflow, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from gatecast.core.errors import TuneError
from gatecast.data.panel import Panel
from gatecast.registry.mlflow import store
from gatecast.training import trainer
from gatecast.training.config import Fit
from gatecast.tuning import recipe, study
from gatecast.tuning.config import Range
from tests.recipes import model_of

Search = Callable[..., study.SearchResult]
FIT = Fit(accelerator="cpu", max_epochs=2, steps_per_epoch=3, batch_size=8, threads=1)
COMPLETE, PRUNED, FAIL = (optuna.trial.TrialState[s] for s in ("COMPLETE", "PRUNED", "FAIL"))


def trials_of(result: study.SearchResult) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=result.study, storage="sqlite:///tune.db").trials


def test_the_recipe_itself_is_tried_first_and_the_best_is_no_worse(
    search: Search, trial_runs: Callable[[], list[Any]]
) -> None:
    result = search(3)
    first, *_ = trials = trials_of(result)
    assert [t.state for t in trials] == [COMPLETE] * 3
    assert first.params == {"hidden_size": 4, "dropout": 0.1}
    assert first.value == result.base
    assert result.best == min(t.value for t in trials)  # type: ignore[type-var]
    runs = trial_runs()
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 1
    for run, trial in zip(runs, trials, strict=True):
        assert run.info.status == "FINISHED"
        assert run.data.params == {"trial": str(trial.number)} | {
            k: str(v) for k, v in trial.params.items()
        }
        assert run.data.metrics["validation_mase"] == trial.value
        by_epoch = store.client().get_metric_history(run.info.run_id, "validation_mase_by_epoch")
        assert [m.value for m in by_epoch] == list(trial.intermediate_values.values())
    assert list(Path("checkpoints").rglob("*.ckpt")) == []


def test_a_study_goes_on_where_it_was_and_never_draws_the_same_again(search: Search) -> None:
    search(2)
    result = search(4)
    trials = trials_of(result)
    assert [t.state for t in trials] == [COMPLETE] * 4
    assert len({str(t.params) for t in trials}) == 4
    assert search(4) == result


def test_a_hopeless_trial_is_pruned_and_marked(
    search: Search, trial_runs: Callable[[], list[Any]]
) -> None:
    rates = {"learning_rate": Range(low=0.001, high=1.0, log=True)}
    result = search(10, rates, FIT.model_copy(update={"max_epochs": 4}))
    pruned = [t for t in trials_of(result) if t.state == PRUNED]
    assert result.counts["pruned"] == len(pruned) > 0
    runs = {run.data.params["trial"]: run for run in trial_runs()}
    for trial in pruned:
        assert 1 <= trial.last_step < 3  # type: ignore[operator]
        assert trial.value > result.best  # type: ignore[operator]
        run = runs[str(trial.number)]
        assert run.data.tags["gatecast.trial"] == "pruned"
        assert run.info.status == "FINISHED"
    assert set(result.importances) == {"learning_rate"}


def test_values_that_were_tried_are_not_trained_again(
    search: Search, trial_runs: Callable[[], list[Any]]
) -> None:
    result = search(5, {"hidden_size": Range(choices=[4, 6])})
    trials = trials_of(result)
    assert len(trials) == 5
    assert len({(t.params["hidden_size"], t.value) for t in trials}) == len(trial_runs()) == 2


def test_a_diverged_trial_is_failed_and_the_search_goes_on(
    search: Search, trial_runs: Callable[[], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    result = search(4, {"learning_rate": Range(choices=[0.003, 1e30])})
    failed = [t for t in trials_of(result) if t.state == FAIL]
    assert result.counts["failed"] == len(failed) > 0
    assert result.values == {"learning_rate": 0.003}
    assert {trial_runs()[t.number].info.status for t in failed} == {"FAILED"}
    assert "failed: TrainError[DIVERGED]" in capsys.readouterr().out


def test_where_no_trial_ends_there_is_no_recipe(search: Search) -> None:
    with pytest.raises(TuneError, match=r"\[NO-TRIAL\]: none of 1 trials .*DIVERGED"):
        search(1, fit=FIT.model_copy(update={"learning_rate": 1e30}))


def test_other_data_another_space_or_another_recipe_is_another_study(
    make_panel: Callable[..., Panel], make_objective: Callable[..., study.Objective]
) -> None:
    data = make_panel()
    objectives = [
        make_objective(data),
        make_objective(make_panel(4)),
        make_objective(data, space={"hidden_size": Range(low=2, high=8)}),
        make_objective(data, fit=FIT.model_copy(update={"max_epochs": 3})),
    ]
    assert len({objective.name for objective in objectives}) == len(objectives)
    assert (
        make_objective(data, trials=9, fit=FIT.model_copy(update={"threads": 2})).name
        == objectives[0].name
    )


def test_a_store_that_is_no_database_is_said_to_be_one(search: Search) -> None:
    Path("tune.db").write_text("not a database " * 100)
    with pytest.raises(TuneError, match=r"\[STUDY\]"):
        search(1)


def test_the_best_is_written_as_recipes_that_train_to_its_score(
    search: Search,
    project: Path,
    make_panel: Callable[..., Panel],
    make_objective: Callable[..., study.Objective],
) -> None:
    on_four = "max_epochs: 2\naccelerator: cpu\ndevices: 4\n"  # a trial trains on one
    for group, text in (("model", "cell: gru\nhidden_size: 4\n"), ("trainer", on_four)):
        (project / "conf" / group).mkdir(parents=True)
        (project / f"conf/{group}/{'gru' if group == 'model' else 'quick'}.yaml").write_text(text)
    result = search(
        2,
        {
            "hidden_size": Range(low=2, high=8),
            "learning_rate": Range(low=0.001, high=0.01, log=True),
        },
    )
    model, fit = recipe.write("tiny", "gru", "quick", result)
    assert (model, fit) == (Path("conf/model/gru_tuned.yaml"), Path("conf/trainer/gru_tuned.yaml"))
    assert model_of(**yaml.safe_load(model.read_text())) == result.model
    written = Fit(**yaml.safe_load(fit.read_text()))
    assert written == result.fit.model_copy(update={"devices": 4, "threads": None})
    assert model.read_text().startswith(
        "# Tuned from conf/model/gru.yaml on tiny: the best of 2 trials"
    )
    assert fit.read_text().startswith("# @package fit\n# Tuned from conf/trainer/quick.yaml")
    ships = trainer.train("gru_tuned", make_panel(), result.model, result.fit, 1)
    assert make_objective(make_panel()).score(ships.spec, ships.net) == result.best
    again = model.read_text()
    recipe.write("tiny", "gru", "quick", result)
    assert model.read_text() == again


def test_a_recipe_that_somebody_wrote_is_not_overwritten(project: Path) -> None:
    mine = project / "conf/model/gru_tuned.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("cell: gru\n")
    with pytest.raises(TuneError, match="EXISTS"):
        recipe.target("model", "gru")
