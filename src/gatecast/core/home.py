"""The folder of what outlives a checkout: MLflow's store and the ledger."""

from __future__ import annotations

from pathlib import Path

# Where DVC checks out an experiment of the queue, or one with `--temp`; it deletes the checkout afterwards.
_EXPERIMENTS = (".dvc", "tmp", "exps")


def home() -> Path:
    """The current folder; inside a checkout that DVC made for an experiment, the project that the experiment is of."""
    here = Path.cwd()
    for folder in here.parents:
        if folder.parts[-3:] == _EXPERIMENTS:
            return folder.parents[2]
    return here
