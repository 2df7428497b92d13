"""What scoring runs ingested, and the packages they scored with: ``data/scoring``.

    data/scoring/<data hash>/observations, panel     what a run ingested, for its page and for questions later
    data/scoring/packages/<digest>                   the champion's package, for other processes

A schedule makes one snapshot per slot. The newest of a source are kept; a run that needs an older one makes it again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from gatecast.core import atomic
from gatecast.core.errors import IngestError, PanelError, ScoringError
from gatecast.data import ingest, panel
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Feed
from gatecast.data.recorded import as_recorded
from gatecast.registry.champion import Champion
from gatecast.scoring import shards

SNAPSHOTS = Path("data/scoring")
_GONE = ".gone-"  # how the name of a snapshot begins that is being removed
# Seconds since its last use within which no snapshot is removed: a run may be waiting with it.
_YOUNG = 3600.0
# Seconds after which unfinished folders are removed.
_DAY = 86_400.0


def take(feed: Feed, best: Champion, as_of: str | None) -> Path:
    """Ingest a feed into ``data/scoring/<data hash>``, unless it is there, and return the folder.

    Args:
        feed: the source recipe.
        best: the version that will score: its columns, horizon and season are those of the panel.
        as_of: ingest as if it were this time.

    Raises:
        ScoringError: COLUMNS if the feed has lost columns of the version; IngestError, PanelError: as ingest and panel
            say.
    """
    task = best.package.meta
    recorded = as_recorded(feed, task)
    try:
        checked = ingest.check_feed(recorded, as_of)
    except IngestError as error:
        left = sorted(set(recorded.covariates.roles) - set(feed.covariates.roles))
        if error.code != "COLUMN-MISSING" or not left:
            raise
        raise ScoringError(
            "COLUMNS",
            f"version {best.version} of {best.model} was trained with {', '.join(left)}, which the recipe of"
            f" {feed.name} no longer names: {error.what}",
            "Deliver the columns again, roll back to a version without them, or promote one: `dvc repro` with"
            " `promote.replace_incomparable: true`.",
        ) from None
    current = build_panel(
        checked.observations,
        checked.static,
        recorded,
        task.horizon,
        task.season_length,
        feasible=False,
    )
    snapshot = SNAPSHOTS / current.meta.data_hash[:16]
    touch(snapshot)
    if _whole(snapshot):
        return snapshot
    with atomic.folder(snapshot, replace=snapshot.exists()) as out:
        ingest.write(checked, out / "observations")
        shards.by_shard(current).save(out / "panel")
    return snapshot


def touch(snapshot: Path) -> None:
    """Mark a snapshot as used, so that it stays for the next hour."""
    with suppress(FileNotFoundError):
        os.utime(snapshot)


def _whole(snapshot: Path) -> bool:
    try:
        panel.Panel.load(snapshot / "panel")
    except PanelError:
        return False
    return True


def tidy(source: str, most: int) -> None:
    """Remove the snapshots of a source except its newest, and those that were used within the hour.

    A snapshot is renamed before it is removed: a process that is killed leaves a whole one, or none. What killed
    processes have left is removed, too.
    """
    for left in SNAPSHOTS.glob(".*-*"):
        with suppress(OSError):
            if left.name.startswith(_GONE) or time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left)
    used: dict[Path, float] = {}
    for path in SNAPSHOTS.glob("[!.]*/panel/panel.json"):
        with suppress(OSError, ValueError):  # gone meanwhile, or not one of ours
            if json.loads(path.read_text(encoding="utf-8")).get("source") == source:
                used[path.parents[1]] = path.parents[1].stat().st_mtime
    for snapshot in sorted(used, key=lambda path: used[path])[:-most]:
        gone = SNAPSHOTS / f"{_GONE}{snapshot.name}-{os.getpid()}"
        with suppress(OSError):
            if time.time() - snapshot.stat().st_mtime > _YOUNG:  # not used meanwhile
                snapshot.rename(gone)
                shutil.rmtree(gone)
