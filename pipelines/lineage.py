"""Print where forecasts come from, and what a model version has forecast.

python pipelines/lineage.py run_key=ec12447d840f3218
python pipelines/lineage.py run_key=forecasts/demo/ec12447d840f3218
python pipelines/lineage.py version=3
python pipelines/lineage.py version=3 event=true
python pipelines/lineage.py digest=2330117a2c25 format=json
"""

import json

from gatecast.cli import entry
from gatecast.config import Config


@entry(groups=("source", "sink"))
def main(config: Config) -> None:
    from gatecast.core.errors import ConfigError
    from gatecast.core.forecast import Task
    from gatecast.reports import lineage
    from gatecast.scoring import sinks

    asked = {key: getattr(config, key) for key in ("run_key", "version", "digest")}
    if sum(value is not None for value in asked.values()) != 1:
        raise ConfigError(
            "LINEAGE", "lineage of what?", "Give one of run_key=…, version=… and digest=…."
        )
    assert config.storage is not None
    sink = sinks.sink(config.storage)
    task: Task = "event" if config.event else "quantile"
    if config.run_key is not None:
        facts = lineage.of_forecast(None, config.run_key, sink)
    elif config.version is not None:
        facts = lineage.of_version(config.source, config.version, sink, task)
    else:
        facts = lineage.of_digest(config.source, str(config.digest), sink, task)
    print(json.dumps(facts, indent=2) if config.format == "json" else lineage.render(facts))


if __name__ == "__main__":
    main()
