"""What people find on MLflow's pages of a source: a saved view of the comparison, its address, a note, the champion.

    http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=gatecast

The view shows the runs on the newest data, best first by the main metric, with the other metrics beside it.
"""

from __future__ import annotations

import colorsys
import json
import os
import sys
import time
import zlib
from collections.abc import Sequence

from gatecast.registry.mlflow import store

# The tag that MLflow shows as the description of a run, and as the note on each page of an experiment.
NOTE = "mlflow.note.content"
# The tag by which the run of a champion is found: "v3 gatecast-demo".
CHAMPION = "champion"
_VIEW = "gatecast"
_VIEW_TAG = f"mlflow.sharedViewState.{_VIEW}"
# of the numbers tried, the one that sets the hues of the default variants furthest apart
_SALT = 12166
_GREY = {"naive": "#7f7f7f", "seasonal_naive": "#b0b0b0"}


def run_name(variant: str, horizon: int, seed: int | None = None) -> str:
    """``lstm h24 seed 1 (exp brave-newt)``: variant, horizon, seed, experiment of DVC; a baseline has no seed."""
    experiment = os.environ.get("DVC_EXP_NAME")
    name = f"{variant} h{horizon}" + ("" if seed is None else f" seed {seed}")
    return f"{name} (exp {experiment})" if experiment else name


def colour(variant: str) -> str:
    """The colour of a variant's runs, the same in every project; baselines are grey."""
    if variant in _GREY:
        return _GREY[variant]
    hue = zlib.crc32(variant.encode(), _SALT) % 360 / 360
    return "#" + "".join(f"{round(255 * x):02x}" for x in colorsys.hls_to_rgb(hue, 0.45, 0.65))


def address(base: str, source: str) -> str:
    """Of the saved view of a source, on a server; of all its runs before anything was evaluated."""
    experiment = store.client().get_experiment(store.experiment(source))
    saved = f"&viewStateShareKey={_VIEW}" if _VIEW_TAG in experiment.tags else ""
    runs = f"{base.rstrip('/')}/#/experiments/{experiment.experiment_id}/runs"
    return f"{runs}?workflowType=machine_learning{saved}"


def save_view(source: str, data_hash: str, columns: Sequence[str]) -> None:
    """Save the view of the runs on one panel.

    Args:
        source: whose experiment.
        data_hash: of the panel.
        columns: what stands beside the name of a run, such as ``metrics.test_mase``; the first one orders the runs.
    """
    quoted = [f"{column.partition('.')[0]}.`{column.partition('.')[2]}`" for column in columns]
    state = {
        "searchFilter": f"tags.`gatecast.data_hash` = '{data_hash}'",
        "orderByKey": quoted[0],
        "orderByAsc": True,
        "selectedColumns": [f"tags.`{CHAMPION}`", *quoted],
    }
    now = int(time.time() * 1000)
    view = {"name": "gatecast: best first", "createdAt": now, "updatedAt": now}
    content = json.dumps(view | {"state": json.dumps(state)})
    _tag_experiment(source, _VIEW_TAG, content)


def describe(source: str, text: str) -> None:
    """Write the note on the pages of a source's experiment, in Markdown."""
    _tag_experiment(source, NOTE, text)


def _tag_experiment(source: str, key: str, value: str) -> None:
    store.client().set_experiment_tag(store.experiment(source), key, value)


def mark_champion(model: str, version: int) -> None:
    """Tag the run of a champion, and take the tag from the run that had it. A run that was deleted is left alone."""
    from mlflow.exceptions import MlflowException

    client = store.client()
    run_id = client.get_model_version(model, str(version)).run_id
    try:
        experiment = client.get_run(run_id).info.experiment_id
        for run in client.search_runs([experiment], f"tags.{CHAMPION} LIKE 'v% {model}'"):
            if run.info.run_id != run_id:
                client.delete_tag(run.info.run_id, CHAMPION)
        client.set_tag(run_id, CHAMPION, f"v{version} {model}")
    # the alias has moved, and that is what counts
    except MlflowException as error:
        print(f"MLflow run {run_id} is not tagged as champion: {error}", file=sys.stderr)
