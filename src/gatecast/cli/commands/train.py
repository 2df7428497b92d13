"""Train one variant on data/panel: a Hydra recipe, Lightning, an MLflow run, a package in models/<variant>.

gatecast train model=lstm
gatecast train model=gru trainer=smoke model.hidden_size=32
gatecast train model=lstm trainer=ddp
gatecast train -m model=linear,rnn           one after the other
gatecast train -m model=lstm seed=1,2,3      packages in multirun/, where no job overwrites another's
"""

from __future__ import annotations

import gc
import time
from pathlib import Path

from gatecast.cli.frame import NoOptions, command
from gatecast.config import Config

PANEL = Path("data/panel")


@command(
    groups=("trainer", "model"), reads=("seed", "variants", "tracking.system_metrics"), sweeps=None
)
def main(config: Config, _: NoOptions) -> None:
    from gatecast.core.ledger import display
    from gatecast.data.panel import Panel
    from gatecast.models.config import flat
    from gatecast.registry import compared, package
    from gatecast.registry.mlflow import pages, parameters, runs, store
    from gatecast.registry.mlflow.model import log_package
    from gatecast.training import distributed, trainer

    model, fit, variant = config.model, config.fit, config.variant
    seed = config.settings.seed
    start = time.perf_counter()
    models = config.folder(package.MODELS, "model")
    panel = Panel.load(PANEL)
    if distributed.ranks(fit).rank > 0:
        return trainer.assist(variant, panel, model, fit, seed)
    meta = panel.meta
    runs.close_dead_runs(meta.source)
    steps = None if trainer.in_closed_form(model) else fit
    params = parameters.settings(variant, seed, flat(model), meta, steps)
    tags = {"gatecast.variant": variant, "gatecast.data_hash": meta.data_hash}
    name = pages.run_name(variant, meta.horizon, seed)
    watched = config.settings.tracking.system_metrics
    with runs.training_run(meta.source, name, params, tags, watched) as run_id:
        runs.log_panel(run_id, panel, "training")
        runs.log_settings(run_id, {"seed": seed, "model": flat(model), "fit": fit.model_dump()})
        where = f"MLflow run {run_id} in {display(store.uri())}"
        print(f"train: {variant} on {meta.source} ({panel.n_series:,} series), {where}")
        trained = trainer.train(
            variant,
            panel,
            model,
            fit,
            seed,
            lambda: runs.lightning_logger(meta.source, run_id),
        )
        gc.freeze()  # logging is short: what training has imported is not searched for garbage again
        folder = models / variant
        parameters.log(run_id, parameters.sizes(trained.spec.to_json()))
        digest = package.write(folder, variant, model, seed, meta, trained)
        if variant in config.settings.variants and models == package.MODELS:
            compared.note(variant, digest)
        numbers = {f"train_{k}": float(v) for k, v in trained.outcome.items()} | trained.cost
        runs.log_metrics(run_id, numbers)
        log_package(run_id, folder)
    trainer.discard_checkpoints(variant)
    facts = ", ".join(
        f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v:,}" for k, v in trained.outcome.items()
    )
    print(
        f"train: {variant}: {facts} -> {folder} ({digest[:12]}) in {time.perf_counter() - start:.1f} s"
    )
