"""What people and programs read of a promotion."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from gatecast.registry import gate
from gatecast.reports import promotion as report


def facts(**other: Any) -> dict[str, Any]:
    checks = [
        {"name": "skill", "value": math.nan, "bound": 0.01, "passed": False, "says": "no | skill"},
        {"name": "coverage_95", "value": 0.9, "bound": [0.8, 1], "passed": True, "says": "covers"},
    ]
    base = {
        "model": "gatecast-tiny",
        "challenger": "gru",
        "digest": "d" * 64,
        "data_hash": "a" * 64,
        "metric": "mase",
        "scores": {"challenger": 0.5, "seasonal_naive": math.inf},
        "champion_before": 1,
        "champion": 1,
        "verdict": "not_better",
        "reason": "no skill",
        "checks": checks,
    }
    return base | other


def test_a_number_that_is_none_becomes_null_that_every_parser_reads(tmp_path: Path) -> None:
    report.write(tmp_path / "promotion.json", facts())
    content = json.loads((tmp_path / "promotion.json").read_text(), parse_constant=pytest.fail)
    assert content["checks"][0]["value"] is None
    assert content["scores"]["seasonal_naive"] is None


def test_a_reader_finds_verdict_reason_every_check_and_what_to_do(tmp_path: Path) -> None:
    report.write(tmp_path / "promotion.json", facts())
    page = (tmp_path / "promotion.md").read_text()
    assert page.startswith("# gatecast-tiny: gru: not_better\n\nno skill.")
    assert "| skill | - | ≥ 0.01 | **failed** | no \\| skill |" in page
    assert "| coverage_95 | 0.9 | 0.8 to 1 | passed | covers |" in page
    assert "Champion before: version 1. Champion now: version 1." in page
    assert "`promote:` in `params.yaml`" in page


@pytest.mark.parametrize(
    "verdict",
    [
        gate.PROMOTE,
        gate.KEEP,
        gate.CURRENT,
        gate.ROLLED_BACK,
        gate.NOT_COMPARABLE,
        gate.NOTHING,
        gate.EXPERIMENT,
        gate.FAILED,
    ],
)
def test_no_verdict_leaves_the_reader_without_a_next_step(verdict: str) -> None:
    page = report.markdown(
        facts(verdict=verdict, challenger=None, digest=None, checks=[], scores={}, champion=None)
    )
    assert ("Champion now: none." in page) == (verdict != gate.FAILED)  # then nobody knows
    assert len(page.split("**Next.** ")[1]) > 20
