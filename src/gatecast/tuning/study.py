"""The search itself: an Optuna study in ``tune.db``, a training a trial, pruned by the median of the others.

A study belongs to a source, a recipe, the data, the space and all else that its scores depend on; with any of them
changed it is another. Trials that end by themselves count. One whose process was killed or stopped is failed and
tried again, from its checkpoint; several commands may work on one study side by side.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from torch import nn

from gatecast.core import process
from gatecast.core.errors import GatecastError, TuneError
from gatecast.core.version import __version__
from gatecast.data.panel import Panel
from gatecast.evaluation import metrics
from gatecast.evaluation.backtest import Backtest
from gatecast.evaluation.predictor import NetPredictor
from gatecast.feed.sampling import validation_windows
from gatecast.feed.scaling import Scaling, fit_scaling
from gatecast.feed.spec import input_spec
from gatecast.models.config import Model, flat
from gatecast.models.inputs import InputSpec
from gatecast.registry.mlflow import runs, store
from gatecast.training import trainer
from gatecast.training.config import Fit
from gatecast.tuning.config import Search
from gatecast.tuning.space import Space
from gatecast.tuning.watch import Watch

STORE, LOCK = Path("tune.db"), Path(".tune.lock")
_STARTUP = 5  # trials that run to their end before any is pruned
_DEATHS = 2  # of its process, then a trial is given up
_SPARED = 5  # the first 1/5 of the epochs prunes nothing: the weight average has yet to settle
_OF_THE_TRIAL = (
    "DIVERGED",
    "NO-WINDOW",
    "COUNTS",
    "SHAPE",
    "NAN-FORECAST",
    "RANGE",
    "CHOICE",
    "COMBINATION",
)


@dataclass(frozen=True)
class Objective:
    """What is tuned, on what, and by which score of the validation span."""

    variant: str
    panel: Panel
    space: Space
    search: Search
    metric: str
    seed: int

    @cached_property
    def name(self) -> str:
        """Of the study: another whenever its scores would not be comparable."""
        fit = {
            k: v for k, v in self.space.fit.model_dump().items() if k not in trainer.OF_THE_MACHINE
        }
        facts = {
            "data": self.panel.meta.data_hash,
            "model": flat(self.space.model),
            "fit": fit,
            "space": {k: r.model_dump() for k, r in self.search.space.items()},
            "metric": self.metric,
            "seed": self.seed,
            "code": __version__,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return f"{self.panel.meta.source}/{self.variant}/{digest[:12]}"

    @cached_property
    def backtest(self) -> Backtest:
        """The validation windows that early stopping sees too; the test span stays unseen."""
        windows = validation_windows(self.panel, self.space.fit.max_validation_windows)
        return Backtest(self.panel, windows, metrics.scales(self.panel))

    @cached_property
    def scaling(self) -> Scaling:
        return fit_scaling(self.panel)

    def score(self, spec: InputSpec, net: nn.Module) -> float:
        """The score of a net on the validation span.

        Raises:
            EvaluationError: NAN-FORECAST.
        """
        predictor = NetPredictor(self.variant, net, spec, self.scaling, self.panel.meta)
        return self.backtest.run(predictor).pooled[self.metric]


@dataclass(frozen=True)
class SearchResult:
    """What a study has found so far. ``values``: the best; ``scores``: (trial, score, state) in order."""

    study: str
    metric: str
    model: Model
    fit: Fit
    values: dict[str, Any]
    best: float
    base: float | None  # the score of the recipe as it is; None if its trial failed
    finished: str  # when the best trial ended
    counts: dict[str, int]
    scores: list[tuple[int, float, str]]
    importances: dict[str, float] = field(default_factory=dict)

    @property
    def improved(self) -> bool:
        return self.base is None or self.best < self.base


def tune(objective: Objective, parent: str) -> SearchResult:
    """Run the trials that the study still lacks.

    Args:
        objective: what is tuned.
        parent: MLflow run under which the trials' runs are nested.

    Raises:
        TuneError: STUDY if ``tune.db`` cannot be used; NO-TRIAL if no trial ended with a score.
        GatecastError: what stops a training for other reasons than its settings (a full disk).
        SystemExit: 143 after SIGTERM, 130 after Ctrl-C; the trial is tried again by the next command.
    """
    try:
        return _tune(objective, parent)
    except optuna.exceptions.StorageInternalError as error:
        raise _unusable(objective, error) from None


def _tune(objective: Objective, parent: str) -> SearchResult:
    study = _open(objective)
    end = time.monotonic() + 60 * (objective.search.minutes or math.inf)
    while (todo := objective.search.trials - len(_counted(study))) > 0:
        if len(_under_way(study)) >= todo:
            print("tune: what is left is under way in other processes")
            break
        if time.monotonic() > end:
            print(
                f"tune: {objective.search.minutes:g} minutes are over; run again for what is left"
            )
            break
        _trial(objective, study, parent)
    if not _under_way(study):
        trainer.discard_checkpoints(f"tune/{objective.name}")
    return _result(objective, study)


def _open(objective: Objective) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with _alone():
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{STORE.absolute()}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
            study = optuna.create_study(
                storage=storage,
                study_name=objective.name,
                direction="minimize",
                load_if_exists=True,
            )
            before = len(study.trials)
            # another seed after every resume: the same would draw the same trials again
            study.sampler = optuna.samplers.TPESampler(seed=objective.seed + before)
            spared = max(1, objective.space.fit.max_epochs // _SPARED)
            study.pruner = optuna.pruners.MedianPruner(_STARTUP, spared)
            if not before:
                study.enqueue_trial(objective.space.base, user_attrs={"base": True})
            for trial in filter(_lost, _under_way(study)):
                _again(objective, study, trial, died=True)
    except (OSError, RuntimeError, SQLAlchemyError) as error:  # of another Optuna, or no database
        raise _unusable(objective, error) from None
    if before:
        print(f"tune: going on with {len(_counted(study))} finished trials of {STORE}")
    return study


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time makes tables and takes over what the dead have left."""
    with open(LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unusable(objective: Objective, error: Exception) -> TuneError:
    what = f"the study {objective.name} in {STORE} cannot be used: {' '.join(str(error).split())}"
    return TuneError(
        "STUDY", what, f"See that the disk is not full, or move {STORE} away to begin anew."
    )


def _under_way(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that some process is, or was, at work on."""
    running = study.get_trials(states=[TrialState.RUNNING])
    return [t for t in running if "process" in t.user_attrs]


def _lost(trial: FrozenTrial) -> bool:
    tags = trial.user_attrs["process"]
    return tags["gatecast.host"] == socket.gethostname() and process.gone(tags)


def _again(
    objective: Objective, study: optuna.Study, trial: FrozenTrial | optuna.Trial, died: bool = False
) -> None:
    """Fail a trial that did not end by itself; its values are tried again from its checkpoint, unless they kill."""
    study.tell(trial.number, state=TrialState.FAIL)
    attrs = trial.user_attrs
    deaths = attrs.get("deaths", 0) + died
    if deaths >= _DEATHS:
        print(f"tune: trial {trial.number} is left out: its process died {deaths} times")
        return
    base = {"base": True} if "base" in attrs else {}
    first = {"again": attrs.get("again", trial.number), "deaths": deaths}
    study.enqueue_trial(objective.space.base if base else trial.params, user_attrs=base | first)


def _counted(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that ended by themselves: not those whose process did."""
    return [t for t in study.trials if t.state.is_finished() and "seconds" in t.user_attrs]


def _trial(objective: Objective, study: optuna.Study, parent: str) -> None:
    """Run one trial, whatever becomes of it, and say so in a line."""
    trial = study.ask(objective.space.distributions)
    trial.set_user_attr("process", process.this_process())
    start = time.perf_counter()
    value, state = None, TrialState.FAIL
    try:
        value, state, said = _known(objective, study, trial) or _run(objective, trial, parent)
    except (GatecastError, torch.OutOfMemoryError) as error:
        if isinstance(error, GatecastError) and error.code not in _OF_THE_TRIAL:
            _again(objective, study, trial)
            raise
        said = f"failed: {str(error).splitlines()[0]}"
    except BaseException:  # the process is stopped, or there is a bug
        _again(objective, study, trial)
        raise
    seconds = time.perf_counter() - start
    trial.set_user_attr("seconds", round(seconds, 1))
    trial.set_user_attr("said", said)
    study.tell(trial, value, state)
    trainer.discard_checkpoints(_place(objective, trial))
    ended = [t for t in study.trials if t.state == TrialState.COMPLETE]
    best = min(ended, key=lambda t: t.value or 0.0, default=None)
    so_far = f"best {best.value:.4f} (trial {best.number})" if best else "none has ended yet"
    own = " (the recipe itself)" if "base" in trial.user_attrs else ""
    print(
        f"tune: trial {trial.number}{own}, {len(_counted(study))} of {objective.search.trials}: {said}; {so_far};"
        f" {_listed(trial.params)}; {seconds:.0f} s",
        flush=True,
    )


def _place(objective: Objective, trial: optuna.Trial) -> str:
    """Of the checkpoints: those of the trial that is tried again."""
    return f"tune/{objective.name}/{trial.user_attrs.get('again', trial.number)}"


_Ended = tuple[float | None, TrialState, str]


def _known(objective: Objective, study: optuna.Study, trial: optuna.Trial) -> _Ended | None:
    """How a trial with the same values ended: another training would end the same."""
    for twin in study.get_trials(states=[TrialState.COMPLETE]):
        if twin.params == trial.params:
            said = f"{objective.metric} {twin.value:.4f}, as trial {twin.number}"
            return twin.value, TrialState.COMPLETE, said
    return None


def _run(objective: Objective, trial: optuna.Trial, parent: str) -> _Ended:
    """Train with the trial's values, in an MLflow run of its own."""
    source, metric = objective.panel.meta.source, f"validation_{objective.metric}"
    tags = {
        "mlflow.parentRunId": parent,
        "mlflow.source.name": "pipelines/tune.py",
        "gatecast.variant": objective.variant,
        "gatecast.data_hash": objective.panel.meta.data_hash,
        "gatecast.study": objective.name,
    }
    params = {"trial": trial.number} | trial.params
    with runs.training_run(
        source, f"{objective.variant} trial {trial.number}", params, tags
    ) as run_id:
        model, fit = objective.space.recipe(trial.params)
        spec = input_spec(objective.panel, model)
        watch = Watch(trial, partial(objective.score, spec), metric)
        try:
            trained = trainer.train(
                _place(objective, trial),
                objective.panel,
                model,
                fit,
                objective.seed,
                lambda: runs.lightning_logger(source, run_id),
                [watch],
                label=f"trial {trial.number}: ",
            )
        except optuna.TrialPruned:
            store.client().set_tag(run_id, "gatecast.trial", "pruned")
            runs.log_metrics(run_id, {metric: watch.last})
            epoch = f"pruned after epoch {watch.epoch + 1}"
            return None, TrialState.PRUNED, f"{epoch} at {objective.metric} {watch.last:.4f}"
        score = objective.score(spec, trained.net)
        if not math.isfinite(score):
            what = f"the {objective.metric} of the validation span is {score}."
            raise TuneError("NAN-FORECAST", what, "Choose another `promote.metric` in params.yaml.")
        outcome = {f"train_{k}": float(v) for k, v in trained.outcome.items()}
        runs.log_metrics(run_id, {metric: score} | outcome | trained.cost)
        store.client().set_tag(run_id, "gatecast.trial", "complete")
    return score, TrialState.COMPLETE, f"{objective.metric} {score:.4f}"


def _result(objective: Objective, study: optuna.Study) -> SearchResult:
    trials = _counted(study)
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    if not complete:
        said = [t.user_attrs["said"] for t in trials]
        raise TuneError(
            "NO-TRIAL",
            f"none of {len(trials)} trials ended with a score{f'; the last {said[-1]}' if said else ''}.",
            f"See that the recipe itself trains: gatecast train model={objective.variant}",
        )
    best = min(complete, key=lambda t: t.value or 0.0)
    model, fit = objective.space.recipe(best.params)
    own = [t.value for t in complete if "base" in t.user_attrs]
    words = {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
    }
    states = [words[t.state] for t in trials]
    return SearchResult(
        study=objective.name,
        metric=objective.metric,
        model=model,
        fit=fit,
        values=objective.space.values(best.params),
        best=float(best.value or 0.0),
        base=own[0] if own else None,
        finished=f"{best.datetime_complete:%Y-%m-%d}",
        counts={word: states.count(word) for word in words.values()},
        scores=[
            (t.number, t.value, state)
            for t, state in zip(trials, states, strict=True)
            if t.value is not None
        ],
        importances=_importances(study, complete),
    )


def _importances(study: optuna.Study, complete: list[FrozenTrial]) -> dict[str, float]:
    """Share of each setting in the differences between good and other trials; empty while too few have ended."""
    if len(complete) < _STARTUP or len({t.value for t in complete}) < 2:
        return {}
    return {k: round(v, 4) for k, v in optuna.importance.get_param_importances(study).items()}


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
    )
