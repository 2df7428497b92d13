"""A stage of DVC depends on the modules that it imports and that can change its outs, and on no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines.imports import path_of, reached

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"

JUDGES = (
    "composes, judges, complains: what it lets through are params and recipes, which DVC tracks"
)
REPORTS = "writes to MLflow or the ledger, not into an out"
MACHINE = "asks the machine, or draws on the terminal"
DOOR = "for people who load a package, or ask for the version: a release alone re-runs nothing"
CANNOT_CHANGE_OUTS = {
    "gatecast": DOOR,
    "gatecast.core.version": DOOR,
    "gatecast.cli": JUDGES,
    "gatecast.cli.frame": JUDGES,
    "gatecast.config": JUDGES,
    "gatecast.core.errors": JUDGES,
    "gatecast.core.schema": JUDGES,
    "gatecast.core.span": JUDGES,
    "gatecast.core.threshold": JUDGES,
    "gatecast.core.failpoints": REPORTS,
    "gatecast.core.ledger": REPORTS,
    "gatecast.registry.mlflow.model": REPORTS,
    "gatecast.registry.mlflow.pages": REPORTS,
    "gatecast.registry.mlflow.parameters": REPORTS,
    "gatecast.registry.mlflow.runs": REPORTS,
    "gatecast.registry.mlflow.store": REPORTS,
    "gatecast.reports.overview": REPORTS,
    "gatecast.core.process": MACHINE,
    "gatecast.core.terminal": MACHINE,
}

Stages = dict[str, Any]


STAGES: Stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
# `watch` always runs; a decision stands until what it compared has changed.
FOLLOWS_CODE = [name for name in STAGES if name not in ("watch", "promote")]


def needed(stage: str) -> set[str]:
    """Files of the modules that a stage imports and that can change its outs; those of packages aside."""
    script = Path(STAGES[stage]["cmd"].split()[1]).stem
    modules = reached(SRC, f"gatecast.cli.commands.{script}", but=CANNOT_CHANGE_OUTS)
    paths = (path_of(SRC, module) for module in modules)
    return {str(p.relative_to(ROOT)) for p in paths if p and p.name != "__init__.py"}


def listed(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]


def covered(path: str, dep: str) -> bool:
    return path == dep or path.startswith(f"{dep}/")


def rerun_by(path: str) -> set[str]:
    """Stages that run again when a file changes, and those that follow from them by their outs."""
    begun = {s for s in FOLLOWS_CODE if any(covered(path, dep) for dep in listed(s))}
    while True:
        outs = [out for s in begun for out in _outs(s)]
        more = {
            name
            for name, stage in STAGES.items()
            if any(covered(o, d) or covered(d, o) for o in outs for d in stage.get("deps", []))
        }
        if more <= begun:
            return begun
        begun |= more


def _outs(stage: str) -> list[str]:
    listed = [*STAGES[stage].get("outs", []), *STAGES[stage].get("metrics", [])]
    names = [out if isinstance(out, str) else next(iter(out)) for out in listed]
    return [name.split("/${")[0] for name in names]


@pytest.mark.parametrize("stage", FOLLOWS_CODE)
def test_a_stage_depends_on_all_that_it_imports(stage: str) -> None:
    missing = [p for p in needed(stage) if not any(covered(p, dep) for dep in listed(stage))]
    assert sorted(missing) == []


@pytest.mark.parametrize("stage", FOLLOWS_CODE)
def test_a_stage_depends_on_nothing_that_it_does_not_import(stage: str) -> None:
    """A file must be imported; a room may be listed by its name where the stage imports most of it."""
    files = needed(stage)
    for dep in listed(stage):
        inside = [dep] if dep.endswith(".py") else modules_in(dep)
        assert len(set(inside) & files) > len(inside) / 2, dep


def modules_in(folder: str) -> list[str]:
    found = (str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob("*.py"))
    return [path for path in found if not path.endswith("__init__.py")]


def test_the_exceptions_are_imported_by_a_stage() -> None:
    scripts = {Path(s["cmd"].split()[1]).stem for s in STAGES.values()}
    every = set().union(*(reached(SRC, f"gatecast.cli.commands.{s}") for s in scripts))
    assert set(CANNOT_CHANGE_OUTS) <= every


@pytest.mark.parametrize(
    "path",
    [
        "src/gatecast/scoring/config.py",
        "src/gatecast/scoring/run.py",
        "src/gatecast/schedule/config.py",
        "src/gatecast/schedule/clock.py",
        "src/gatecast/reports/page.py",
        "src/gatecast/reports/status.py",
        "src/gatecast/config.py",
        "src/gatecast/cli/frame.py",
        "src/gatecast/core/errors.py",
    ],
)
def test_what_no_stage_depends_on_re_runs_nothing(path: str) -> None:
    assert (ROOT / path).is_file()
    assert rerun_by(path) == set()


def test_a_new_module_of_models_trains_anew_and_what_follows_from_it() -> None:
    assert rerun_by("src/gatecast/models/new.py") >= {"train", "evaluate", "explain", "promote"}
    assert not rerun_by("src/gatecast/models/new.py") & {"ingest", "window"}


def test_a_model_card_evaluates_anew_but_trains_nothing() -> None:
    assert rerun_by("src/gatecast/reports/card.py") >= {"evaluate"}
    assert not rerun_by("src/gatecast/reports/card.py") & {"ingest", "window", "train"}


def test_how_a_file_is_read_is_nothing_that_a_training_depends_on() -> None:
    assert not any(covered("src/gatecast/data/sources/files.py", dep) for dep in listed("train"))


def test_another_horizon_ingests_nothing_anew() -> None:
    assert "horizon" not in STAGES["ingest"]["params"]
    assert "horizon" in STAGES["window"]["params"]
