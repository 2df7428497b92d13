"""Train one variant on data/panel: a Hydra recipe, Lightning, an MLflow run, a package in models/<variant>.

python pipelines/train.py model=lstm
python pipelines/train.py model=gru trainer=smoke model.units=32
python pipelines/train.py model=lstm trainer=ddp
"""

import gc
import time
from dataclasses import asdict
from pathlib import Path

from gatecast.cli import entry
from gatecast.config import Config

PANEL = Path("data/panel")


@entry(groups=("trainer", "model"))
def main(config: Config) -> None:
    from gatecast.core.ledger import shown
    from gatecast.data.panel import Panel
    from gatecast.registry import package
    from gatecast.registry.mlflow import tracking
    from gatecast.training import distributed, trainer

    model, fit, variant = config.model, config.fit, config.variant
    assert model is not None
    assert fit is not None
    start = time.perf_counter()
    panel = Panel.load(PANEL)
    if distributed.ranks(fit).rank > 0:
        return trainer.assist(variant, panel, model, fit, config.seed)
    meta = panel.meta
    tracking.close_dead_runs(meta.source)
    params = tracking.settings(variant, config.seed, asdict(model), meta, fit=asdict(fit))
    tags = {"gatecast.variant": variant, "gatecast.data_hash": meta.data_hash}
    name = tracking.run_name(variant, config.seed)
    with tracking.training_run(meta.source, name, params, tags) as run_id:
        tracking.log_panel(run_id, panel, "training")
        where = f"MLflow run {run_id} in {shown(tracking.uri())}"
        print(f"train: {variant} on {meta.source} ({panel.n_series:,} series), {where}")
        trained = trainer.train(
            variant,
            panel,
            model,
            fit,
            config.seed,
            lambda: tracking.lightning_logger(meta.source, run_id),
        )
        gc.freeze()  # logging is short: what training has imported is not searched for garbage again
        folder = package.MODELS / variant
        tracking.log_params(run_id, {"spec": trained.spec.to_json()})
        digest = package.write(folder, variant, model, config.seed, meta, trained)
        numbers = {f"train_{k}": float(v) for k, v in trained.outcome.items()} | trained.cost
        tracking.log_metrics(run_id, numbers)
        tracking.log_package(run_id, folder)
    trainer.discard_checkpoints(variant)
    facts = ", ".join(
        f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v:,}" for k, v in trained.outcome.items()
    )
    print(
        f"train: {variant}: {facts} -> {folder} ({digest[:12]}) in {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
