"""The gate as a pure function of scores."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecast.config import Promote
from gatecast.registry import gate

NAN, INF = math.nan, math.inf
SCORES = st.floats(1e-6, 1e6)
EASY = Promote()


@pytest.mark.parametrize(
    ("challenger", "naive", "champion", "expected"),
    [
        (0.8, 1.0, None, gate.PROMOTE),  # better than seasonal naive, nobody sits
        (1.0, 1.0, None, gate.KEEP),  # a tie with seasonal naive is no skill
        (1.2, 1.0, None, gate.KEEP),
        (0.8, 1.0, 0.9, gate.PROMOTE),
        (0.9, 1.0, 0.9, gate.KEEP),  # a tie with the champion is no gain
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
    assert gate.judge(challenger, naive, champion, EASY).verdict == expected


@pytest.mark.parametrize(("score", "expected"), [(0.89, gate.PROMOTE), (0.91, gate.KEEP)])
def test_a_least_skill_is_asked_for(score: float, expected: str) -> None:
    assert gate.judge(score, 1.0, None, Promote(min_skill=0.1)).verdict == expected


@pytest.mark.parametrize(("score", "expected"), [(0.74, gate.PROMOTE), (0.77, gate.KEEP)])
def test_a_margin_over_the_champion_is_asked_for(score: float, expected: str) -> None:
    assert gate.judge(score, 1.0, 0.8, Promote(margin=0.05)).verdict == expected


def test_a_negative_least_skill_lets_a_worse_one_than_seasonal_naive_begin() -> None:
    assert gate.judge(1.1, 1.0, None, Promote(min_skill=-0.5)).verdict == gate.PROMOTE


def test_every_check_is_reported_with_value_and_bound() -> None:
    verdict = gate.judge(0.6, 1.0, 0.8, Promote(min_skill=0.1, margin=0.05))
    found = [(c.name, c.bound, c.passed) for c in verdict.checks]
    assert found == [("skill", 0.1, True), ("gain", 0.05, True)]
    assert [c.value for c in verdict.checks] == pytest.approx([0.4, 0.25])


def test_the_reason_is_the_first_check_that_failed() -> None:
    verdict = gate.judge(1.2, 1.0, 0.8, Promote(metric="wql"))
    assert verdict.reason == verdict.checks[0].says
    assert "wql 1.2000 against seasonal naive's 1.0000: skill -20.0%" in verdict.reason


def test_without_a_champion_there_is_no_gain_to_ask_for() -> None:
    assert [c.name for c in gate.judge(0.5, 1.0, None, EASY).checks] == ["skill"]


def test_a_verdict_becomes_json() -> None:
    content = gate.judge(0.5, 1.0, 0.8, EASY).to_json()
    assert json.loads(json.dumps(content))["checks"][1]["name"] == "gain"


@settings(max_examples=50, deadline=None)
@given(SCORES, SCORES, st.one_of(st.none(), SCORES), st.floats(0, 0.9), st.floats(0, 0.9))
def test_who_is_promoted_is_better_than_both_by_what_was_asked(
    challenger: float, naive: float, champion: float | None, skill: float, margin: float
) -> None:
    verdict = gate.judge(challenger, naive, champion, Promote(min_skill=skill, margin=margin))
    if verdict.verdict == gate.PROMOTE:
        assert challenger < naive * (1 - skill) * (1 + 1e-9)
        assert champion is None or challenger < champion * (1 - margin) * (1 + 1e-9)
    else:
        assert challenger >= naive * (1 - skill) * (1 - 1e-9) or (
            champion is not None and challenger >= champion * (1 - margin) * (1 - 1e-9)
        )


@settings(max_examples=50, deadline=None)
@given(SCORES, SCORES, SCORES, st.floats(0.01, 0.99))
def test_a_lower_score_never_loses_where_a_higher_one_won(
    challenger: float, naive: float, champion: float, part: float
) -> None:
    if gate.judge(challenger, naive, champion, EASY).verdict == gate.PROMOTE:
        assert gate.judge(challenger * part, naive, champion, EASY).verdict == gate.PROMOTE
