"""A scoring run: the feed as it is now, a champion by its version number, one forecast per series, published once.

    feed -> snapshot -> run key -> lease -> shards -> enough of them? -> still the holder? -> publish -> ledger

Whatever dies, sleeps or comes twice between any two of these: a run is published once, whole, or not at all.
A source may have two champions, of quantiles and of an event. Each makes a run of its own, on the same snapshot.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatecast.core import failpoints, terminal
from gatecast.core.errors import IngestError, ScoringError
from gatecast.core.forecast import TASKS, Task, say
from gatecast.core.ledger import Ledger
from gatecast.core.version import __version__
from gatecast.data.config import Feed
from gatecast.data.panel import Panel
from gatecast.data.recorded import as_recorded
from gatecast.evaluation.table import stamps_of
from gatecast.registry import aliases
from gatecast.registry import champion as registry
from gatecast.registry.champion import Champion
from gatecast.scoring import engines, freshness, shard_files, sinks, snapshots, store
from gatecast.scoring.config import Score, SinkSettings
from gatecast.scoring.run_spec import RunSpec, ShardFile, number_of_shards
from gatecast.scoring.sinks import Sink
from gatecast.scoring.storage import open_storage

# Kinds of ledger rows.
KIND, BEGUN, FAILED = "scoring", "scoring-begun", "scoring-failed"
# Seconds that a scorer waits while another one lives.
_PATIENCE = 86_400.0
# Quarantined series that a manifest names.
_LISTED = 1000


@dataclass(frozen=True)
class Summary:
    """What a scoring run did. ``fresh`` is false if the same run had been published before."""

    manifest: dict[str, Any]
    where: str
    fresh: bool
    seconds: float


def score(
    feed: Feed,
    as_of: str | None = None,
    rules: Score | None = None,
    recipe: SinkSettings | None = None,
    champion: Champion | None = None,
    kind: str = "live",
) -> Summary:
    """Score every series of a feed with one champion.

    Args:
        feed: the source recipe.
        as_of: score as if it were this time.
        rules: when it may be published, and by what it is computed; None: the defaults.
        recipe: where it is published; None: Parquet in ``forecasts/``.
        champion: the version that scores; None: the champion of quantiles of now.
        kind: what the manifest calls the run: live | backfill | hindcast.

    Raises:
        ScoringError: NO-CHAMPION, COLUMNS, DEVICE, TOO-FEW, WRITE, WORKER; IngestError (STALE-FEED among them),
            RegistryError: as they say. Nothing is published then.
    """
    best = champion or registry.champion(feed.name)
    if best is None:
        raise no_champion(feed.name)
    return _Scorer(feed, as_of, rules, recipe, kind).score(best)


def score_all(
    feed: Feed,
    as_of: str | None = None,
    rules: Score | None = None,
    recipe: SinkSettings | None = None,
    champions: Mapping[Task, Champion | None] | None = None,
    kind: str = "live",
) -> tuple[list[Summary], dict[Task, Exception]]:
    """Score every series of a feed with each of its champions, of quantiles and of events, on the same snapshot.

    Args:
        feed, as_of, rules, recipe, kind: as in :func:`score`.
        champions: the versions that score; None: the champions of now.

    Returns:
        The runs, of quantiles first, and the errors of tasks whose run was not published: one that fails does not
        withhold the other.

    Raises:
        ScoringError: NO-CHAMPION if there is none of any task.
    """
    scorer = _Scorer(feed, as_of, rules, recipe, kind)
    done: list[Summary] = []
    errors: dict[Task, Exception] = {}
    for task in TASKS:
        try:
            best = (
                registry.champion(feed.name, task=task)
                if champions is None
                else champions.get(task)
            )
            if best is not None:
                done.append(scorer.score(best))
        except Exception as error:
            errors[task] = error
            # the feed is at fault: the next champion would say the same
            if isinstance(error, IngestError):
                break
    if not done and not errors:
        raise no_champion(feed.name)
    return done, errors


def no_champion(source: str) -> ScoringError:
    """What to say of a source without any champion."""
    return ScoringError(
        "NO-CHAMPION",
        f"no model of source '{source}' has been promoted.",
        "Run `dvc repro`; if that has nothing to do, `gatecast promote`."
        " reports/promotion.md says why nothing was promoted.",
    )


class _Scorer:
    """Runs of one feed at one time, by one champion or two: those that read it alike share a snapshot."""

    def __init__(
        self,
        feed: Feed,
        as_of: str | None,
        rules: Score | None,
        recipe: SinkSettings | None,
        kind: str,
    ) -> None:
        self.feed = feed
        self.rules = rules or Score()
        self.recipe = recipe or SinkSettings()
        self.as_of = as_of
        self.kind = kind
        self.snapshots: dict[str, Path] = {}

    def score(self, best: Champion) -> Summary:
        start = time.perf_counter()
        failpoints.reach("scoring: champion resolved")
        recorded = as_recorded(self.feed, best.package.meta).model_dump()
        snapshot = self._snapshot(best, recorded)
        failpoints.reach("scoring: snapshot written")
        asked = {"feed": recorded, "as_of": self.as_of, "kind": self.kind}
        return publish(snapshot, best, asked, start, self.rules, self.recipe)

    def _snapshot(self, best: Champion, recorded: dict[str, Any]) -> Path:
        """The snapshot that a champion scores; marked as used, for the run before may have taken hours."""
        meta = best.package.meta
        reads = f"{meta.horizon} {meta.season_length} {recorded['covariates']}"
        if reads in self.snapshots:
            snapshots.touch(self.snapshots[reads])
            return self.snapshots[reads]
        snapshot = snapshots.take(self.feed, best, self.as_of)
        if self.kind == "live":
            freshness.check(Panel.load(snapshot / "panel"), self.feed, self.as_of, self.rules)
        self.snapshots[reads] = snapshot
        return snapshot


def publish(
    snapshot: Path,
    best: Champion,
    asked: dict[str, Any],
    start: float,
    rules: Score,
    recipe: SinkSettings,
) -> Summary:
    """Forecast every series of a snapshot's panel and publish the run, unless it is published.

    Args:
        snapshot: its folder.
        best: the version that scores.
        asked: ``feed`` (the recipe with the version's columns), ``as_of`` and ``kind``.
        start: when the run began, by ``time.perf_counter``.
        rules, recipe: as in :func:`score`.
    """
    current = Panel.load(snapshot / "panel")
    source, cutoff = current.meta.source, str(stamps_of(current)[current.last - 1])
    ledger = Ledger()
    key = store.run_key(
        model=best.model,
        version=best.version,
        returns=aliases.returns(ledger, best.model, best.version),
        digest=best.digest,
        cutoff=cutoff,
        data_hash=current.meta.data_hash,
        feed=asked["feed"],
        fallback=rules.fallback,
        precision=rules.precision,
        code=__version__,
    )
    event = best.package.event
    sink = sinks.sink(recipe)

    def summary(manifest: dict[str, Any], fresh: bool) -> Summary:
        where, seconds = sink.where(source, key), time.perf_counter() - start
        return Summary(manifest, where, fresh, seconds)

    if published := sink.find(source, key):
        note(ledger, published)
        return summary(published, False)
    device = engines.device(rules)
    # a package that cannot be rebuilt ends the run here, not in each process that scores
    _ = best.package.predictor
    package = registry.KEPT / best.digest[:16]
    registry.keep(best, package)
    waiting = _waiting(source, snapshot)
    with ledger.lease(f"scoring {source}", patience=_PATIENCE, waiting=waiting) as lease:
        failpoints.reach("scoring: lease taken")
        published = sink.find(source, key)
        if not published:
            sink.forget(source, key)
        before = sink.manifests(source)
        _catch_up(ledger, source, before)
        if published:
            return summary(published, False)
        spec = RunSpec(
            source=source,
            run_key=key,
            package=str(package.absolute()),
            panel=str((snapshot / "panel").absolute()),
            address=_absolute(sink.shard_address(source, key)),
            shards=number_of_shards(current.n_series),
            token=lease.token,
            fallback=rules.fallback,
            device=device,
            precision=rules.precision,
            provenance={
                "model_name": best.model,
                "model_version": best.version,
                "model_digest": best.digest,
                "data_hash": current.meta.data_hash,
                "run_key": key,
                "scored_at": _begun(ledger, source, key),
                **({"event": say(event)} if event else {}),
            },
        )
        failpoints.reach("scoring: begin noted")
        _clean_up(spec, sink, before, rules.snapshots)
        engine = engines.engine(rules, device)
        files = list(_watched(engine(spec, range(spec.shards)), current.n_series))
        failpoints.reach("scoring: parts complete")
        manifest = _manifest(spec, files, current, best, asked, cutoff)
        manifest["revision"] = 1 + sum(
            m["cutoff"] == cutoff and store.task_of(m) == best.package.task for m in before
        )
        manifest["seconds"] = round(time.perf_counter() - start, 1)
        _enough(ledger, manifest, rules.min_success_fraction)
        lease.check()
        failpoints.reach("scoring: lease checked")
        sink.publish(source, key, manifest)
        failpoints.reach("scoring: published")
        published = sink.find(source, key)
        assert published is not None
        note(ledger, published)
        failpoints.reach("scoring: noted")
        shard_files.sweep(open_storage(spec.address), [file["name"] for file in published["parts"]])
    return summary(published, True)


def _waiting(source: str, snapshot: Path) -> Callable[[str], None]:
    """What a scorer does while it waits: it says for whom, once, and keeps its snapshot from being removed."""
    said: list[str] = []

    def look(holder: str) -> None:
        snapshots.touch(snapshot)
        if not said:
            said.append(holder)
            print(f"scoring {source} waits for {holder}", file=sys.stderr)

    return look


def _clean_up(spec: RunSpec, sink: Sink, published: list[dict[str, Any]], most: int) -> None:
    """Remove what earlier runs left, before this run writes: runs that never publish must not fill the disk either."""
    keys = {m["run_key"] for m in published}
    shard_files.discard(open_storage(spec.address), keys, lambda key: sink.find(spec.source, key))
    snapshots.tidy(spec.source, most)


def note(ledger: Ledger, published: dict[str, Any]) -> None:
    """One ledger row per run, even if the process that published it was killed before it could write it."""
    source, key = published["source"], published["run_key"]
    ledger.append(KIND, source, sinks.facts(published), key=f"{source}/{key}")


def _catch_up(ledger: Ledger, source: str, published: list[dict[str, Any]]) -> None:
    """Note the runs whose scorers were killed before they could."""
    noted = {entry.facts["run_key"] for entry in ledger.entries(KIND, source)}
    for manifest in published:
        if manifest["run_key"] not in noted:
            note(ledger, manifest)


def _begun(ledger: Ledger, source: str, key: str) -> str:
    """When the run was begun, by the first process that began it: whichever ends it writes the same bytes."""
    once = f"begun/{source}/{key}"
    now = datetime.now(UTC).isoformat()
    ledger.append(BEGUN, source, {"run_key": key, "scored_at": now}, key=once)
    entry = ledger.find(once)
    assert entry is not None
    return str(entry.facts["scored_at"])


def _absolute(address: str) -> str:
    return address if "://" in address else str(Path(address).absolute())


def _watched(files: Iterator[ShardFile], series: int) -> Iterator[ShardFile]:
    """The shard files, with a bar of series per second and the time left."""
    with terminal.bar(series, "series", "scoring") as bar:
        for file in files:
            bar.update(file.series)
            yield file


def _manifest(
    spec: RunSpec,
    files: Iterable[ShardFile],
    current: Panel,
    best: Champion,
    asked: dict[str, Any],
    cutoff: str,
) -> dict[str, Any]:
    shards = sorted(files, key=lambda file: file.shard)
    event = best.package.event
    quarantined = [pair for file in shards for pair in file.quarantined]
    facts = ("name", "rows", "bytes", "sha256", "series")
    return {
        "run_key": spec.run_key,
        "source": spec.source,
        **({"task": "event", "event": event} if event else {}),  # else: quantiles
        "kind": asked["kind"],
        "model": best.model,
        "version": best.version,
        "variant": best.variant,
        "digest": best.digest,
        "mlflow_run": best.run_id,
        "data_hash": current.meta.data_hash,
        "as_of": asked["as_of"],
        "cutoff": cutoff,
        "horizon": current.meta.horizon,
        "season_length": current.meta.season_length,
        "series": current.n_series,
        "fallbacks": sum(file.fallbacks for file in shards),
        "quarantined": len(quarantined),
        "stale": sum(file.stale for file in shards),
        "short": sum(file.short for file in shards),
        "without_known_covariates": sum(file.without_known_covariates for file in shards),
        "scored_at": spec.provenance["scored_at"],
        "gatecast": __version__,
        "rows": sum(file.rows for file in shards),
        "quarantine": quarantined[:_LISTED],
        "parts": [{name: getattr(file, name) for name in facts} for file in shards],
    }


def _enough(ledger: Ledger, manifest: dict[str, Any], least: float) -> None:
    """Raise TOO-FEW, and note it, unless the model itself has forecast enough of the series."""
    own = manifest["series"] - manifest["fallbacks"] - manifest["quarantined"]
    if own >= least * manifest["series"]:
        return
    source, key = manifest["source"], manifest["run_key"]
    ledger.append(FAILED, source, sinks.facts(manifest))
    raise ScoringError(
        "TOO-FEW",
        f"version {manifest['version']} forecast {own:,} of {manifest['series']:,} series of {source} (run {key});"
        f" score.min_success_fraction is {least:g}. Nothing was published.",
        "Look at the feed and at the model; `gatecast promote mode=rollback"
        f"{' event=true' if store.task_of(manifest) == 'event' else ''}` returns to the one before.",
    )
