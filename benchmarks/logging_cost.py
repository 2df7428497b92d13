"""Cost of logging: what a variant's run, package, model and registration take over its training, in CPU seconds.

python -m benchmarks.logging_cost --out logging_cost.json
python -m benchmarks.logging_cost --quick --out logging_cost.json

A fresh process of one core trains the LSTM recipe for a few steps. The clock starts after that, children included:

    import      MLflow itself
    open        the store, which is there already
    run         parameters, tags, the panel as input, forty epochs of losses, what the training cost
    package     models/<variant>/
    model       the MLflow model
    register    the version

The first process of a project also makes the tables of MLflow's store: ``tables_s``, once.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import fresh, say, write_panel, write_result

_SERIES, _EPOCHS = 50, 40


def main() -> None:
    """Measure in processes of their own, or be one."""
    parser = argparse.ArgumentParser("python -m benchmarks.logging_cost", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, default=Path("logging_cost.json"), help="JSON result")
    parser.add_argument("--quick", action="store_true", help="one process instead of five")
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.seed is not None:
        print(json.dumps(work(given.seed)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_panel(folder / "panel", _SERIES)
        first, *others = (run(seed, folder) for seed in range(2 if given.quick else 6))
    parts = {k: statistics.median(r["parts"][k] for r in others) for k in first["parts"]}
    whole = sum(parts.values())
    result = {
        "cpu_seconds": round(whole, 3),
        "cpu_seconds_without_import": round(whole - parts["import"], 3),
        "parts": parts,
        "tables_s": round(first["parts"]["open"] - parts["open"], 3),
        "package_kib": first["package_kib"],
        "weights_kib": first["weights_kib"],
        "code_kib": first["code_kib"],
        "processes": len(others),
    }
    say(f"{whole:.2f} CPU seconds over the training, {whole - parts['import']:.2f} without import")
    write_result(given.out, result)


def run(seed: int, folder: Path) -> dict[str, Any]:
    """One variant in a fresh process."""
    result: dict[str, Any] = json.loads(fresh("benchmarks.logging_cost", folder, seed=seed))
    say(f"  {', '.join(f'{name} {seconds:.2f}' for name, seconds in result['parts'].items())}")
    return result


def work(seed: int) -> dict[str, Any]:
    """Train, log, package and register a variant in this process, which should be fresh."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from benchmarks.recipes import model_of
    from gatecast.data.panel import Panel
    from gatecast.training import trainer
    from gatecast.training.config import Fit

    panel, model = Panel.load(Path("panel")), model_of()
    fit = Fit(accelerator="cpu", threads=1, max_epochs=1, steps_per_epoch=5)
    trained = trainer.train("lstm", panel, model, fit, seed)
    gc.freeze()  # as pipelines/train.py does
    meta, folder, parts = panel.meta, Path("models/lstm"), dict[str, float]()
    with _seconds(parts, "import"):
        import mlflow  # noqa: F401

        from gatecast.models.config import flat
        from gatecast.registry import package, promotion
        from gatecast.registry.mlflow import pages, parameters, runs, store
        from gatecast.registry.mlflow.model import log_package
    with _seconds(parts, "open"):
        store.experiment(meta.source)
    params = parameters.settings("lstm", seed, flat(model), meta, fit)
    with _seconds(parts, "run"):
        run = runs.training_run(meta.source, pages.run_name("lstm", meta.horizon, seed), params, {})
        run_id = run.__enter__()
        runs.log_panel(run_id, panel, "training")
        logger = runs.lightning_logger(meta.source, run_id)
        for epoch in range(_EPOCHS):
            logger.log_metrics({"train_loss": 1.0, "val_loss": 1.0, "epoch": epoch}, epoch)
        parameters.log(run_id, parameters.sizes(trained.spec.to_json()))
        runs.log_metrics(run_id, trained.cost)
    with _seconds(parts, "package"):
        package.write(folder, "lstm", model, seed, meta, trained)
    with _seconds(parts, "model"):
        log_package(run_id, folder)
    with _seconds(parts, "run"):
        run.__exit__(None, None, None)
    with _seconds(parts, "register"):
        promotion.register(folder, store.model_name(meta.source))
    code = next(Path("mlartifacts").rglob("MLmodel")).parent / "code"
    return {
        "parts": {name: round(seconds, 3) for name, seconds in parts.items()},
        "package_kib": _kib(folder),
        "weights_kib": round((folder / "weights.safetensors").stat().st_size / 1024, 1),
        "code_kib": _kib(code),
    }


def _cpu() -> float:
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


@contextmanager
def _seconds(parts: dict[str, float], name: str) -> Iterator[None]:
    """Add the CPU seconds of a block, children included, to a part."""
    begin = _cpu()
    yield
    parts[name] = parts.get(name, 0.0) + _cpu() - begin


def _kib(folder: Path) -> float:
    return round(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1024, 1)


if __name__ == "__main__":
    main()
