"""The best of a study as a recipe in conf/model/, and as one in conf/trainer/ where its settings were searched too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gatecast.core import atomic
from gatecast.core.errors import TuneError
from gatecast.models.config import all_fields, flat
from gatecast.models.renamed import renamed
from gatecast.training.config import Fit
from gatecast.training.trainer import OF_THE_MACHINE
from gatecast.tuning.space import settings_of_trainer
from gatecast.tuning.study import SearchResult

CONF = Path("conf")
_MARK = "# Tuned from "


def target(group: str, variant: str) -> Path:
    """Where a tuned recipe is written.

    Raises:
        TuneError: EXISTS if a recipe of that name is there that tuning did not write.
    """
    path = CONF / group / f"{variant}_tuned.yaml"
    if path.is_file() and _MARK not in path.read_text(encoding="utf-8"):
        what = f"{path} is there already, and was not written by tuning."
        raise TuneError("EXISTS", what, "Give it another name.")
    return path


def write(source: str, variant: str, trainer: str, result: SearchResult) -> list[Path]:
    """Write what a search found.

    Args:
        source: of the panel.
        variant, trainer: names of the recipes that were tuned.
        result: the best values, and how they were found. What belongs to the machine stays the base recipe's: a trial
            trains on one device.

    Returns:
        The model recipe, and the trainer recipe if one of its settings was searched.
    """
    n = result.counts
    own = "its own trial failed" if result.base is None else f"the recipe itself {result.base:.4f}"
    head = (
        f"{_MARK}{{base}} on {source}: the best of {sum(n.values())} trials"
        f" ({n['pruned']} pruned, {n['failed']} failed), {result.finished}.\n"
        f"# {result.metric} of the validation span {result.best:.4f}, {own}. Study {result.study} in tune.db.\n"
        f"# Trained by conf/trainer/{trainer}.yaml; searched: {', '.join(result.values)}.\n"
    )
    paths = [target("model", variant)]
    base = CONF / "model" / f"{variant}.yaml"
    named = renamed(yaml.safe_load(base.read_text(encoding="utf-8")) or {})
    usual = {key: f.get_default(call_default_factory=True) for key, f in all_fields().items()}
    _write(paths[0], head.format(base=base), named, usual, flat(result.model), result)
    if settings_of_trainer(result.values):
        paths.append(target("trainer", variant))
        base = CONF / "trainer" / f"{trainer}.yaml"
        named = yaml.safe_load(base.read_text(encoding="utf-8")) or {}
        usual = Fit().model_dump()
        of_machine = {key: named.get(key, usual[key]) for key in OF_THE_MACHINE}
        best = result.fit.model_dump() | of_machine
        _write(paths[1], "# @package fit\n" + head.format(base=base), named, usual, best, result)
    return paths


def _write(
    path: Path,
    head: str,
    named: dict[str, Any],
    usual: dict[str, Any],
    best: dict[str, Any],
    result: SearchResult,
) -> None:
    """The settings that the base recipe names, those that were searched, and what the command line has changed."""
    others = [key for key in best if key in result.values or best[key] != usual[key]]
    keys = [key for key in dict.fromkeys([*named, *others]) if key in best]
    atomic.write_text(path, head + "".join(_line(key, best[key]) for key in keys))


def _line(key: str, value: Any) -> str:
    flow = None if isinstance(value, list | dict) else False  # collections in one line
    return yaml.safe_dump({key: value}, default_flow_style=flow, sort_keys=False, width=1000)


def summary(source: str, variant: str, result: SearchResult) -> dict[str, Any]:
    """What ``reports/tune/<variant>.json`` holds."""
    return {
        "source": source,
        "variant": variant,
        "study": result.study,
        "metric": result.metric,
        "best": result.best,
        "base": result.base,
        "trials": result.counts,
        "values": result.values,
        "importances": result.importances,
    }
