"""The gate: a list of checks on forecasts of the same origins, and a verdict. Pure; it moves nothing."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from gatecast.evaluation.bootstrap import gain
from gatecast.evaluation.segments import Segment
from gatecast.registry.config import Promote

PROMOTE, KEEP, CURRENT = "promoted", "not_better", "already_champion"
ROLLED_BACK, NOT_COMPARABLE = "rolled_back", "not_comparable"
NOTHING, EXPERIMENT, FAILED = "nothing_to_promote", "experiment", "failed"
ROLLBACK, BY_HAND = "rollback", "moved_by_hand"  # how else the alias moves


@dataclass(frozen=True)
class PairedComparison:
    """Challenger and champion on the same origins.

    Attributes:
        champion: its score.
        gains: ascending gains of the challenger in paired resamples.
        segments: both scores by segment.
    """

    champion: float
    gains: np.ndarray
    segments: list[Segment] = field(default_factory=list)


@dataclass(frozen=True)
class Evidence:
    """What was measured now, on the same origins; lower scores are better.

    Attributes:
        metric: what the scores are.
        against: the baseline that every challenger must beat, seasonal naive or persistence.
        challenger, baseline: scores.
        quality: the check that only this task has, :func:`coverage` or :func:`ranks`.
        origins: matured origins that do not overlap.
        paired: against the champion; None without one.
    """

    metric: str
    against: str
    challenger: float
    baseline: float
    quality: Check
    origins: float
    paired: PairedComparison | None = None


@dataclass(frozen=True)
class Check:
    """One question to the scores. ``value`` must be at or above ``bound``, or lie between two."""

    name: str
    value: float
    bound: float | list[float]
    passed: bool
    says: str


@dataclass(frozen=True)
class Verdict:
    """What the gate decided and why."""

    verdict: str
    reason: str
    checks: list[Check] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(evidence: Evidence, rules: Promote) -> Verdict:
    """``promoted`` if every check passes, else ``not_better``. What is not a finite number passes no check."""
    checks = [_origins(evidence, rules), _skill(evidence, rules), evidence.quality]
    if evidence.paired:
        checks += [_gain(evidence, evidence.paired, rules)]
        checks += [_segment(evidence.metric, each, rules) for each in evidence.paired.segments]
    failed = [c for c in checks if not c.passed]
    if failed:
        return Verdict(KEEP, failed[0].says, checks)
    decisive = "gain" if evidence.paired else "skill"
    return Verdict(PROMOTE, next(c.says for c in checks if c.name == decisive), checks)


def _at_least(name: str, value: float, bound: float, says: str) -> Check:
    return Check(name, value, bound, math.isfinite(value) and value >= bound, says)


def _origins(evidence: Evidence, rules: Promote) -> Check:
    says = f"{evidence.origins:,.0f} matured origins that do not overlap, {rules.min_origins:,} required"
    return _at_least("origins", evidence.origins, rules.min_origins, says)


def _skill(evidence: Evidence, rules: Promote) -> Check:
    skill = _relative(evidence.challenger, evidence.baseline)
    says = (
        f"{evidence.metric} {evidence.challenger:.4f} against {evidence.against}'s {evidence.baseline:.4f}:"
        f" skill {skill:.1%}, at least {rules.min_skill:.1%} required"
    )
    return _at_least("skill", skill, rules.min_skill, says)


def coverage(share: float, rules: Promote) -> Check:
    """Of quantiles: the share of values inside the challenger's 95 % interval."""
    low, high = rules.coverage_95
    says = f"the 95 % interval holds {share:.1%} of the values, {low:.1%} to {high:.1%} required"
    return Check("coverage_95", share, [low, high], low <= share <= high, says)  # NaN: false


def ranks(auroc: float, persistence: float) -> Check:
    """Of events: the challenger ranks them no worse than persistence does."""
    says = f"auroc {auroc:.4f} against persistence's {persistence:.4f}, at least as much required"
    return _at_least("auroc", auroc, persistence, says)


def _gain(evidence: Evidence, paired: PairedComparison, rules: Promote) -> Check:
    """The lower end of a one-sided interval: the gain that all but a few resamples reach."""
    drawn = paired.gains
    sure = float(drawn[int((1 - rules.confidence) * len(drawn))]) if len(drawn) else math.nan
    seen = _relative(evidence.challenger, paired.champion)
    sure = sure if math.isfinite(seen) else math.nan
    says = (
        f"{evidence.metric} {evidence.challenger:.4f} against the champion's {paired.champion:.4f}: gain {seen:.1%};"
        f" in {rules.confidence:.0%} of {len(drawn):,} resamples at least {sure:.1%},"
        f" {rules.margin:.1%} required"
    )
    return _at_least("gain", sure, rules.margin, says)


def _segment(metric: str, segment: Segment, rules: Promote) -> Check:
    change = float(gain(segment.challenger, segment.champion))
    says = (
        f"{segment.name} ({segment.series:,} series): {metric} {segment.challenger:.4f} against the"
        f" champion's {segment.champion:.4f}: {change:+.1%}, no less than {-rules.max_segment_loss:+.1%} required"
    )
    return _at_least(f"segment {segment.name}", change, -rules.max_segment_loss, says)


def _relative(score: float, reference: float) -> float:
    """1 - score / reference; NaN (which passes no check) unless both are finite and the reference is above 0."""
    if not (math.isfinite(score) and math.isfinite(reference) and reference > 0):
        return math.nan
    return 1 - score / reference
