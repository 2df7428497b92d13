from __future__ import annotations

import json
import math

from gatecast.core.numbers import finite


def test_what_is_not_finite_becomes_null_at_any_depth() -> None:
    facts = {"a": math.nan, "b": [1.5, math.inf], "c": {"d": (-math.inf, "x", None, True)}, "n": 3}
    clean = finite(facts)
    assert clean == {"a": None, "b": [1.5, None], "c": {"d": [None, "x", None, True]}, "n": 3}
    json.dumps(clean, allow_nan=False)


def test_floats_are_rounded_where_asked() -> None:
    assert finite({"a": [1.23456789], "n": 12345678}, digits=3) == {"a": [1.235], "n": 12345678}
