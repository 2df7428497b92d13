"""The gate: a list of checks on scores from the same origins, and a verdict. Pure; it moves nothing."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from gatecast.config import Promote

PROMOTE, KEEP, CURRENT = "promoted", "not_better", "already_champion"
ROLLED_BACK, NOT_COMPARABLE = "rolled_back", "not_comparable"
NOTHING = "nothing_to_promote"


@dataclass(frozen=True)
class Check:
    """One question to the scores. ``value`` must be above (or at) ``bound``."""

    name: str
    value: float
    bound: float
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


def judge(
    challenger: float, seasonal_naive: float, champion: float | None, rules: Promote
) -> Verdict:
    """Decide from scores of the same origins (lower is better).

    Args:
        challenger, seasonal_naive: their scores.
        champion: the sitting champion's score on these origins; None if there is no champion.
        rules: thresholds.

    Returns:
        ``promoted`` if every check passes, else ``not_better``. A score that is not finite never promotes.
    """
    skill = _gain(challenger, seasonal_naive)
    checks = [
        Check(
            "skill",
            skill,
            rules.min_skill,
            math.isfinite(skill) and skill > rules.min_skill,
            f"{rules.metric} {challenger:.4f} against seasonal naive's {seasonal_naive:.4f}:"
            f" skill {skill:.1%}, more than {rules.min_skill:.1%} wanted",
        )
    ]
    if champion is not None:
        gain = _gain(challenger, champion)
        checks.append(
            Check(
                "gain",
                gain,
                rules.margin,
                math.isfinite(gain) and gain > rules.margin,
                f"{rules.metric} {challenger:.4f} against the champion's {champion:.4f}:"
                f" gain {gain:.1%}, more than {rules.margin:.1%} wanted",
            )
        )
    failed = [c for c in checks if not c.passed]
    if failed:
        return Verdict(KEEP, failed[0].says, checks)
    return Verdict(PROMOTE, checks[-1].says, checks)


def _gain(score: float, reference: float) -> float:
    """1 - score / reference; NaN (which passes no check) unless both are finite and the reference is above 0."""
    if not (math.isfinite(score) and math.isfinite(reference) and reference > 0):
        return math.nan
    return 1 - score / reference
