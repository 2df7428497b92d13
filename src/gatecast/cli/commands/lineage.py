"""Print where forecasts come from, and what a model version has forecast.

gatecast lineage run_key=ec12447d840f3218
gatecast lineage run_key=forecasts/demo/ec12447d840f3218
gatecast lineage version=3
gatecast lineage version=3 event=true
gatecast lineage digest=2330117a2c25 format=json
"""

from __future__ import annotations

import json
from typing import Literal, Self

from pydantic import Field, model_validator

from gatecast.cli.frame import command
from gatecast.config import Config
from gatecast.core.schema import Schema, Text, refuse


class Options(Schema):
    """Whose lineage, and how it is printed."""

    run_key: Text | None = None
    """Run key or folder."""

    version: int | None = Field(default=None, ge=1)
    """Registered version."""

    digest: Text | None = None
    """Digest of a package, or a prefix of it."""

    event: bool = False
    """The version, or package, forecasts an event."""

    format: Literal["text", "json"] = "text"
    """How it is printed."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        asked = (self.run_key, self.version, self.digest)
        if sum(value is not None for value in asked) != 1:
            fix = "Give one of run_key=…, version=… and digest=…."
            raise refuse("LINEAGE", "say whose lineage is meant", fix)
        return self


@command(groups=("source", "sink"), reads=("source",), options=Options, sweeps=None)
def main(config: Config, options: Options) -> None:
    from gatecast.core.forecast import Task
    from gatecast.reports import lineage
    from gatecast.scoring import sinks

    source, sink = config.settings.source, sinks.sink(config.storage)
    task: Task = "event" if options.event else "quantile"
    if options.run_key is not None:
        facts = lineage.of_forecast(None, options.run_key, sink)
    elif options.version is not None:
        facts = lineage.of_version(source, options.version, sink, task)
    else:
        facts = lineage.of_digest(source, str(options.digest), sink, task)
    print(json.dumps(facts, indent=2) if options.format == "json" else lineage.render(facts))
