"""Write a source recipe from a file's first rows: conf/source/<name>.yaml, each guess with its reason.

gatecast new sales --from sales.csv
gatecast new sales --from sales.csv id=store target=units future=[promo]
gatecast new sales --from 's3://bucket/sales-*.parquet'

The file is looked up as a recipe's are: in $GATECAST_DATA_DIR, data/raw and the project folder. What you say on the
command line is not guessed. Nothing is overwritten; `gatecast ingest source=sales check=true` tries the recipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from gatecast.cli.frame import command
from gatecast.config import Config
from gatecast.core.errors import ConfigError
from gatecast.core.schema import Schema, Text, refuse


class Options(Schema):
    """What the recipe is called and drafted from, and what the user knows of the file."""

    name: Text
    """Of the recipe: `gatecast new sales` is `gatecast new name=sales`."""

    path: Text = Field(alias="from")
    """The file, as a recipe names it: `--from sales.csv` is `from=sales.csv`."""

    layout: Literal["long", "wide"] | None = None
    """One row per series and time, or one column per series."""

    id: Text | None = None
    """Column of the series id; id=null: the file is one series."""

    time: list[Text] | None = None
    """Column(s) of the time stamp."""

    time_format: str | None = None
    """Of the stamps, in Python's codes."""

    target: Text | None = None
    """Column of the values to forecast."""

    static: list[Text] | None = None
    """Columns with one value per series."""

    past: list[Text] | None = None
    """Columns known up to now."""

    future: list[Text] | None = None
    """Columns known ahead."""

    frequency: str | None = None
    """A pandas frequency alias: 15min, h, D, W-MON, MS, …"""

    timezone: str | None = None
    """Zone of local stamps, e.g. Europe/Berlin."""

    horizon: int | None = Field(default=None, ge=1)
    """Steps to forecast."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_file(cls, content: Any) -> Any:
        if "name" not in content or "from" not in content:
            what = "a new recipe takes a name and a file"
            raise refuse("FILE", what, "Write: gatecast new sales --from sales.csv")
        return content


@command(options=Options, argument="name")
def main(_: Config, options: Options) -> None:
    from gatecast.core import atomic
    from gatecast.drafting.recipe import draft

    recipe = Path("conf/source", f"{options.name}.yaml")
    taken = ConfigError(
        "EXISTS",
        f"there is a recipe {recipe} already; it stays as it is.",
        "Choose another name, or delete it first.",
    )
    if recipe.exists():
        raise taken
    said = options.model_dump(exclude={"name", "path"}, exclude_unset=True)
    drafted = draft(options.name, options.path, said)
    if not atomic.create(recipe, drafted.text.encode()):
        raise taken
    print(f"new: {recipe}, from the first {drafted.rows:,} rows of {options.path}")
    print("\n".join(f"  {line}" for line in drafted.remarks))
    print(f"Look it over, then: gatecast ingest source={options.name} check=true")
