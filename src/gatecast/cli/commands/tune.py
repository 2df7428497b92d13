"""Search settings of one recipe on data/panel; write the best as conf/model/<model>_tuned.yaml.

gatecast tune model=lstm
gatecast tune model=lstm search.trials=50 search.minutes=60
gatecast tune model=gru '+search.space.n_layers={low: 1, high: 3}' '~search.space.context_multiple'

Trials are compared by `promote.metric` on the validation span, the recipe's own values first. Run it again to resume.
What is searched: conf/tune/default.yaml.
"""

from __future__ import annotations

import time
from pathlib import Path

from gatecast.cli.frame import NoOptions, command
from gatecast.config import Config

PANEL, REPORTS = Path("data/panel"), Path("reports/tune")


@command(groups=("trainer", "model", "tune"), reads=("seed", "promote.metric"), sweeps=("model",))
def main(config: Config, _: NoOptions) -> None:
    from gatecast.training import distributed
    from gatecast.tuning.space import Space

    start = time.perf_counter()
    model, search, variant = config.model, config.search, config.variant
    settings = config.settings
    # One device: small nets gain more from trials side by side.
    fit = config.fit.model_copy(update={"devices": 1})
    distributed.ranks(fit)
    space = Space.of(search, variant, model, fit, f"conf/tune/{settings.tune}.yaml")

    # What follows takes seconds to import: a wrong setting is told before.
    from gatecast.core import atomic
    from gatecast.core.ledger import display
    from gatecast.data.panel import Panel
    from gatecast.evaluation import plots
    from gatecast.models.config import flat
    from gatecast.registry.mlflow import runs, store
    from gatecast.tuning import recipe, study

    for group in ("model", "trainer"):
        recipe.target(group, variant)
    panel = Panel.load(PANEL)
    meta = panel.meta
    objective = study.Objective(
        variant, panel, space, search, settings.promote.metric, settings.seed
    )
    runs.close_dead_runs(meta.source)
    params = {
        "variant": variant,
        "seed": settings.seed,
        "source": meta.source,
        "metric": objective.metric,
        "search": search.model_dump(),
        "model": flat(model),
        "fit": fit.model_dump(),
    }
    tags = {
        "mlflow.source.name": "pipelines/tune.py",
        "gatecast.variant": variant,
        "gatecast.data_hash": meta.data_hash,
        "gatecast.study": objective.name,
    }
    with runs.training_run(meta.source, f"{variant} tuning", params, tags) as run_id:
        print(
            f"tune: {variant} on {meta.source}, study {objective.name}, MLflow run {run_id} in {display(store.uri())}"
        )
        for key, value in space.kept.items():
            print(
                f"tune: `{key}` stays {value}: it is not a single number; give `choices` to search it"
            )
        result = study.tune(objective, run_id)
        paths = recipe.write(meta.source, variant, settings.trainer, result)
        picture = REPORTS / f"{variant}.png"
        plots.search(
            result.scores, result.importances, result.base, f"{result.metric} of {variant}", picture
        )
        atomic.write_json(REPORTS / f"{variant}.json", recipe.summary(meta.source, variant, result))
        runs.log_metrics(run_id, {f"validation_{result.metric}": result.best})
        for path in (*paths, picture):
            store.client().log_artifact(run_id, str(path), "tune")
    own = (
        f"the recipe itself has {result.base:.4f}"
        if result.base is not None
        else "its own trial failed"
    )
    print(
        f"tune: {result.metric} {result.best:.4f} ({own}) -> {', '.join(map(str, paths))}, {picture}"
        f" in {time.perf_counter() - start:.1f} s"
    )
    if len(paths) > 1:
        print(
            f"tune: `trainer: {variant}_tuned` in params.yaml trains all variants with the new trainer recipe"
        )
    print(
        f"tune: add `{variant}_tuned` to `variants` in params.yaml, then dvc repro"
        if result.improved
        else f"tune: nothing better than {variant} was found: {paths[0]} repeats it"
    )
