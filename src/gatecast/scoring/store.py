"""Where forecasts lie: a folder a run, visible only when it is whole.

    forecasts/<source>/<run key>/forecasts.parquet    unique_id, cutoff, ds, step, quantiles, provenance
    forecasts/<source>/<run key>/manifest.json        what it is, its row count and sha256

The run key is a hash of everything that decides the numbers, so the same run twice is one folder.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from gatecast import atomic
from gatecast.errors import ScoringError

FORECASTS = Path("forecasts")
TABLE, MANIFEST = "forecasts.parquet", "manifest.json"


def run_key(**facts: Any) -> str:
    """Hash of the facts that decide a run's numbers."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def manifest(source: str, key: str) -> dict[str, Any] | None:
    """Manifest of a published run, or None."""
    path = FORECASTS / source / key / MANIFEST
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def publish(source: str, key: str, table: pd.DataFrame, facts: dict[str, Any]) -> Path:
    """Write a run and make it visible in one rename. A run that is already there is left as it is.

    Returns:
        The run's folder.
    """
    folder = FORECASTS / source / key
    if (folder / MANIFEST).is_file():
        return folder
    try:
        with atomic.folder(folder, replace=False) as out:
            table.to_parquet(out / TABLE, index=False)
            with open(out / TABLE, "rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            atomic.write_json(out / MANIFEST, facts | {"rows": len(table), "sha256": digest})
    except OSError as error:
        raise ScoringError(
            "WRITE",
            f"the forecasts cannot be written to {folder}: {error}. Nothing was published.",
            "Free the disk, or give this user the right to write there; then score again.",
        ) from None
    return folder


def runs(source: str | None = None) -> list[dict[str, Any]]:
    """Manifests of all published runs, oldest first; of one source if it is named."""
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in FORECASTS.glob(f"{source or '*'}/*/{MANIFEST}")
        if not path.parent.name.startswith(
            "."
        )  # being written, or left by a writer that was killed
    ]
    return sorted(found, key=lambda m: (m["scored_at"], m["run_key"]))


def read_forecasts(source: str | None = None, run_key: str | None = None) -> pd.DataFrame:
    """Read published forecasts.

    Args:
        source: name of the source; None if there is only one.
        run_key: of a run (see :func:`runs`); None: the one with the latest cutoff, and of those the newest.

    Returns:
        The forecast table: ``unique_id, cutoff, ds, step``, ``gatecast``, ``gatecast-lo-95`` …, provenance.

    Raises:
        ScoringError: NO-FORECASTS, SOURCE (several, name one), CORRUPT.
    """
    published = [m for m in runs(source) if run_key in (None, m["run_key"])]
    if not published:
        raise ScoringError(
            "NO-FORECASTS",
            f"there are no published forecasts{f' of {source}' if source else ''} in {FORECASTS.absolute()}.",
            "Run `python pipelines/score.py`.",
        )
    sources = {m["source"] for m in published}
    if len(sources) > 1:
        raise ScoringError(
            "SOURCE",
            f"there are forecasts of several sources: {', '.join(sorted(sources))}.",
            "Name one: read_forecasts('demo').",
        )
    chosen = max(published, key=lambda m: (m.get("cutoff", ""), m["scored_at"]))
    path = FORECASTS / chosen["source"] / chosen["run_key"] / TABLE
    with open(path, "rb") as handle:
        if hashlib.file_digest(handle, "sha256").hexdigest() != chosen["sha256"]:
            raise ScoringError(
                "CORRUPT",
                f"{path} is not what was published: its sha256 differs.",
                "Delete the run's folder and score again.",
            )
    return pd.read_parquet(path)
