"""What a command works with: ``params.yaml`` and the recipes that were chosen, each a schema of its room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from gatecast.core.schema import Schema, Text, read, require
from gatecast.data.config import SourceRecipe
from gatecast.evaluation.config import BASELINES, PERSISTENCE, BacktestSettings
from gatecast.models.renamed import with_new_names
from gatecast.registry.config import Promote, Registry, Tracking
from gatecast.schedule.config import Schedule
from gatecast.scoring.config import Score, SinkSettings
from gatecast.training.config import Fit
from gatecast.tuning.config import Search

if TYPE_CHECKING:
    from gatecast.models.config import Model


class Settings(Schema):
    """``params.yaml``: what the user decides and several stages share."""

    source: str = ""
    """A recipe in conf/source/."""

    seed: int = Field(default=1, ge=0)
    """Random seed for training."""

    watch: list[str] = Field(default_factory=list)
    """Sources whose files lie outside data/raw: every ``dvc repro`` looks at them."""

    as_of: Text | None = None
    """Use the feed as of this time, e.g. 2025-04-05T23:00; null: as it is now."""

    horizon: int | None = Field(default=None, ge=1)
    """Steps to forecast; null: the source recipe's own."""

    season_length: int | None = Field(default=None, ge=1)
    """Steps in a season; null: the source recipe's own."""

    trainer: str = "auto"
    """A recipe in conf/trainer/."""

    tune: str = "default"
    """A recipe in conf/tune/."""

    variants: list[str] = Field(min_length=1)
    """Recipes in conf/model/, trained and compared."""

    backtest: BacktestSettings = BacktestSettings()
    """Rolling origins of the comparison."""

    promote: Promote = Promote()
    """The gate."""

    tracking: Tracking = Tracking()
    """What MLflow keeps of a training."""

    registry: Registry = Registry()
    """What housekeeping keeps."""

    sink: str = "parquet"
    """A recipe in conf/sink/."""

    score: Score = Score()
    """A scoring run."""

    schedule: Schedule = Schedule()
    """When ``mode=due`` scores."""

    @field_validator("variants")
    @classmethod
    def _named(cls, variants: list[str]) -> list[str]:
        taken = sorted(set(variants) & {*BASELINES, PERSISTENCE})
        require(not taken, "", taken, "without the names of the baselines")
        require(len(set(variants)) == len(variants), "", variants, "without repeats")
        return variants


@dataclass(frozen=True)
class Group:
    """A Hydra group.

    Attributes:
        package: the key that its recipes have in the composed configuration.
        schema: gives the schema whose settings ``--help`` lists.
        read: reads a recipe.
    """

    package: str
    schema: Callable[[], type[Schema]]
    read: Callable[..., Any]


def _schema(schema: type[Schema]) -> Callable[..., Any]:
    return lambda content, where, **names: read(schema, content, where, **names)


def _feed(content: Mapping[str, Any], where: str, **names: Any) -> SourceRecipe:
    # pandas stays out of commands that read no feed
    from gatecast.data.sources import read_feed

    return read_feed(content, where, **names)


def _model(
    content: Mapping[str, Any],
    where: str,
    overridden: Mapping[str, str] | None = None,
    package: str = "",
) -> Model:
    # torch stays out of commands that read no model recipe
    from gatecast.models.recipe import read_model

    return read_model(content, where, _below(package, overridden or {}))


def _search(
    content: Mapping[str, Any],
    where: str,
    overridden: Mapping[str, str] | None = None,
    package: str = "",
) -> Search:
    space = content.get("space")
    if isinstance(space, dict):
        set_there = _below(f"{package}space.", overridden or {})
        content = {**content, "space": with_new_names(space, where, set_there)}
    return read(Search, content, where, overridden=overridden, package=package)


def _below(package: str, overridden: Mapping[str, str]) -> dict[str, str]:
    """The settings in a package that are overridden, in whole or in part."""
    own = {k.removeprefix(package): w for k, w in overridden.items() if k.startswith(package)}
    return {key.split(".")[0]: where for key, where in own.items()}


def _recurrent() -> type[Schema]:
    from gatecast.models.config import Recurrent

    return Recurrent


GROUPS = {
    "source": Group("feed", lambda: SourceRecipe, _feed),
    "model": Group("model", _recurrent, _model),
    "trainer": Group("fit", lambda: Fit, _schema(Fit)),
    "tune": Group("search", lambda: Search, _search),
    "sink": Group("storage", lambda: SinkSettings, _schema(SinkSettings)),
}


@dataclass(frozen=True)
class Job:
    """One of the jobs of a Hydra multirun.

    Attributes:
        folder: its own, below multirun/.
        swept: keys that have several values.
    """

    folder: Path
    swept: frozenset[str]


@dataclass(frozen=True)
class Config:
    """One call of a command.

    Attributes:
        settings: ``params.yaml`` with what the command line changes.
        recipes: the chosen recipe of each group that the command takes.
        names: their names.
        overrides: the command line, as Hydra has it.
        job: which job of a multirun this is; None: the only one.
    """

    settings: Settings
    recipes: Mapping[str, Any]
    names: Mapping[str, str]
    overrides: Sequence[str] = ()
    job: Job | None = None

    def folder(self, usual: Path, named_by: str) -> Path:
        """A folder whose files have the name of a recipe: the job's own if another job could write the same file.

        Args:
            usual: the folder where there is one job, or every job has a recipe of its own.
            named_by: group of the recipe.
        """
        alone = self.job is None or self.job.swept <= {named_by}
        return usual if alone or self.job is None else self.job.folder / usual

    @property
    def feed(self) -> SourceRecipe:
        recipe: SourceRecipe = self.recipes["source"]
        return recipe

    @property
    def model(self) -> Model:
        recipe: Model = self.recipes["model"]
        return recipe

    @property
    def variant(self) -> str:
        """Name of the model recipe."""
        return self.names["model"]

    @property
    def fit(self) -> Fit:
        recipe: Fit = self.recipes["trainer"]
        return recipe

    @property
    def search(self) -> Search:
        recipe: Search = self.recipes["tune"]
        return recipe

    @property
    def storage(self) -> SinkSettings:
        recipe: SinkSettings = self.recipes["sink"]
        return recipe
