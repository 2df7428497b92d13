"""The gate as a pure function of what was measured."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.evaluation.segments import Segment
from gatecast.registry import gate
from gatecast.registry.config import Promote
from gatecast.registry.gate import Evidence, PairedComparison, Verdict

NAN, INF = math.nan, math.inf
SCORES = st.floats(1e-6, 1e6)
EASY = Promote(min_skill=0.0, margin=0.0)


def judge(
    challenger: float,
    naive: float,
    champion: float | None,
    rules: Promote = EASY,
    spread: float = 0,
) -> Verdict:
    """Judge scores whose resamples lie evenly within ``spread`` on both sides of the gain."""
    paired = None
    if champion is not None:
        seen = 1 - challenger / champion if champion else NAN
        paired = PairedComparison(champion, seen + np.linspace(-spread, spread, 1001))
    return gate.judge(evidence(challenger, naive, paired=paired, rules=rules), rules)


def evidence(
    challenger: float,
    naive: float,
    coverage: float = 0.95,
    origins: float = 100.0,
    paired: PairedComparison | None = None,
    rules: Promote = EASY,
) -> Evidence:
    """What a forecast of quantiles shows."""
    own = gate.coverage(coverage, rules)
    return Evidence(rules.metric, "seasonal naive", challenger, naive, own, origins, paired)


@pytest.mark.parametrize(
    ("challenger", "naive", "champion", "expected"),
    [
        (0.8, 1.0, None, gate.PROMOTE),  # better than seasonal naive, nobody sits
        (1.2, 1.0, None, gate.KEEP),
        (0.8, 1.0, 0.9, gate.PROMOTE),
        (0.9, 1.0, 0.8, gate.KEEP),
        (1.1, 1.0, 1.5, gate.KEEP),  # better than the champion, worse than seasonal naive
        (0.0, 1.0, 0.5, gate.PROMOTE),  # without any error
        (0.0, 1.0, 0.0, gate.KEEP),
        (0.5, 0.0, None, gate.KEEP),  # seasonal naive without any error: no skill can be had
        (0.0, 0.0, None, gate.KEEP),
        (0.5, 1.0, 0.0, gate.KEEP),
        (NAN, 1.0, None, gate.KEEP),
        (NAN, 1.0, 0.5, gate.KEEP),
        (INF, 1.0, 0.5, gate.KEEP),
        (0.5, NAN, None, gate.KEEP),
        (0.5, 1.0, NAN, gate.KEEP),
        (NAN, NAN, NAN, gate.KEEP),
    ],
)
def test_verdicts(challenger: float, naive: float, champion: float | None, expected: str) -> None:
    assert judge(challenger, naive, champion).verdict == expected


def test_a_tie_is_neither_skill_nor_gain_by_the_default_rules() -> None:
    assert judge(1.0, 1.0, None, Promote()).verdict == gate.KEEP
    assert judge(0.9, 1.0, 0.9, Promote()).verdict == gate.KEEP


@pytest.mark.parametrize(("score", "expected"), [(0.89, gate.PROMOTE), (0.91, gate.KEEP)])
def test_a_least_skill_is_asked_for(score: float, expected: str) -> None:
    assert judge(score, 1.0, None, Promote(min_skill=0.1)).verdict == expected


@pytest.mark.parametrize(("score", "expected"), [(0.74, gate.PROMOTE), (0.77, gate.KEEP)])
def test_a_margin_over_the_champion_is_asked_for(score: float, expected: str) -> None:
    assert judge(score, 1.0, 0.8, Promote(margin=0.05)).verdict == expected


@pytest.mark.parametrize(
    ("spread", "expected"), [(0.04, gate.PROMOTE), (0.06, gate.KEEP), (0.5, gate.KEEP)]
)
def test_a_gain_that_may_be_luck_does_not_promote(spread: float, expected: str) -> None:
    """A gain of 5 %, evenly spread: its lower end at 95 % is 5 % - 0.9 spread."""
    rules = Promote(margin=0.0, confidence=0.95)
    verdict = judge(0.76, 1.0, 0.8, rules, spread)
    assert verdict.verdict == expected
    assert verdict.checks[-1].value == pytest.approx(0.05 - 0.9 * spread, abs=0.002)


def test_more_confidence_asks_for_more() -> None:
    found = [
        judge(0.76, 1.0, 0.8, Promote(margin=0.0, confidence=c), 0.08).verdict
        for c in (0.6, 0.75, 0.9, 0.99)
    ]
    assert found == [gate.PROMOTE, gate.PROMOTE, gate.KEEP, gate.KEEP]


def test_a_gain_of_which_there_is_no_resample_does_not_promote() -> None:
    nothing = evidence(0.5, 1.0, paired=PairedComparison(0.9, np.empty(0)))
    assert gate.judge(nothing, EASY).verdict == gate.KEEP


@pytest.mark.parametrize("coverage", [0.7, 1.0, NAN])
def test_intervals_that_hold_too_little_or_everything_do_not_promote(coverage: float) -> None:
    verdict = gate.judge(evidence(0.5, 1.0, coverage), EASY)
    assert verdict.verdict == gate.KEEP
    assert verdict.reason.startswith("the 95 % interval holds")


@pytest.mark.parametrize(
    ("auroc", "persistence", "expected"),
    [
        (0.8, 0.7, gate.PROMOTE),
        (0.7, 0.7, gate.PROMOTE),
        (0.69, 0.7, gate.KEEP),
        (NAN, 0.7, gate.KEEP),
        (0.8, NAN, gate.KEEP),
        (NAN, NAN, gate.KEEP),  # it never happened
    ],
)
def test_an_event_is_ranked_no_worse_than_by_persistence(
    auroc: float, persistence: float, expected: str
) -> None:
    own = gate.ranks(auroc, persistence)
    found = Evidence("brier", "persistence", 0.1, 0.2, own, 100)
    verdict = gate.judge(found, EASY)
    assert verdict.verdict == expected
    assert [c.name for c in verdict.checks] == ["origins", "skill", "auroc"]
    assert expected == gate.PROMOTE or verdict.reason.startswith("auroc ")


def test_too_few_origins_do_not_promote() -> None:
    verdict = gate.judge(evidence(0.5, 1.0, origins=9), Promote(min_origins=10))
    assert verdict.verdict == gate.KEEP
    assert "9 matured origins" in verdict.reason
    assert (
        gate.judge(evidence(0.5, 1.0, origins=10), Promote(min_origins=10)).verdict == gate.PROMOTE
    )


@pytest.mark.parametrize(
    ("score", "expected"), [(0.83, gate.PROMOTE), (0.9, gate.KEEP), (INF, gate.KEEP)]
)
def test_a_gain_on_the_whole_does_not_pay_for_a_loss_in_one_segment(
    score: float, expected: str
) -> None:
    segments = [Segment("kind shop", 20, 0.5, 0.8), Segment("kind office", 20, score, 0.8)]
    paired = PairedComparison(0.8, np.full(100, 0.2), segments)
    verdict = gate.judge(evidence(0.6, 1.0, paired=paired), Promote(max_segment_loss=0.05))
    assert verdict.verdict == expected
    assert [c.name for c in verdict.checks[-2:]] == ["segment kind shop", "segment kind office"]
    assert expected == gate.PROMOTE or "kind office (20 series)" in verdict.reason


def test_a_negative_least_skill_lets_a_worse_one_than_seasonal_naive_begin() -> None:
    assert judge(1.1, 1.0, None, Promote(min_skill=-0.5)).verdict == gate.PROMOTE


def test_every_check_is_reported_with_value_and_bound() -> None:
    verdict = judge(0.6, 1.0, 0.8, Promote(min_skill=0.1, margin=0.05))
    found = [(c.name, c.bound, c.passed) for c in verdict.checks]
    assert found == [
        ("origins", 10, True),
        ("skill", 0.1, True),
        ("coverage_95", [0.85, 0.995], True),
        ("gain", 0.05, True),
    ]
    assert [c.value for c in verdict.checks] == pytest.approx([100, 0.4, 0.95, 0.25])


def test_the_reason_is_the_first_check_that_failed() -> None:
    verdict = judge(1.2, 1.0, 0.8, Promote(metric="wql"))
    assert verdict.reason == verdict.checks[1].says
    assert "wql 1.2000 against seasonal naive's 1.0000: skill -20.0%" in verdict.reason


def test_without_a_champion_there_is_no_gain_to_ask_for() -> None:
    assert [c.name for c in judge(0.5, 1.0, None).checks] == ["origins", "skill", "coverage_95"]


def test_a_verdict_becomes_json() -> None:
    content = judge(0.5, 1.0, 0.8).to_json()
    assert json.loads(json.dumps(content))["checks"][-1]["name"] == "gain"


@settings(max_examples=50, deadline=None)
@given(SCORES, SCORES, st.one_of(st.none(), SCORES), st.floats(0, 0.9), st.floats(0, 0.9))
def test_who_is_promoted_is_better_than_both_by_what_was_asked(
    challenger: float, naive: float, champion: float | None, skill: float, margin: float
) -> None:
    verdict = judge(challenger, naive, champion, Promote(min_skill=skill, margin=margin))
    if verdict.verdict == gate.PROMOTE:
        assert challenger <= naive * (1 - skill) * (1 + 1e-9)
        assert champion is None or challenger <= champion * (1 - margin) * (1 + 1e-9)
    else:
        assert challenger >= naive * (1 - skill) * (1 - 1e-9) or (
            champion is not None and challenger >= champion * (1 - margin) * (1 - 1e-9)
        )


@settings(max_examples=50, deadline=None)
@given(SCORES, SCORES, SCORES, st.floats(0.01, 0.99))
def test_a_lower_score_never_loses_where_a_higher_one_won(
    challenger: float, naive: float, champion: float, part: float
) -> None:
    if judge(challenger, naive, champion).verdict == gate.PROMOTE:
        assert judge(challenger * part, naive, champion).verdict == gate.PROMOTE
