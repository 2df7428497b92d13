"""Errors are one paragraph with a stable code."""

from __future__ import annotations

import pickle

import pytest

from gatecast.core import errors
from gatecast.core.errors import ConfigError, GatecastError, IngestError, did_you_mean


def test_an_error_prints_its_code_what_happened_and_the_way_out() -> None:
    error = IngestError("DUP-TIME", "hour.csv line 4: two values.", "Choose `duplicates:`.")
    assert str(error) == (
        "IngestError[DUP-TIME]: hour.csv line 4: two values.\n  Choose `duplicates:`."
    )


def test_the_full_text_of_a_fault_in_the_program_is_its_traceback() -> None:
    with pytest.raises(KeyError) as caught:
        {}["task"]
    assert errors.full_text(caught.value).startswith("Traceback (most recent call last):")
    assert errors.full_text(ConfigError("RANGE", "too small.")) == "ConfigError[RANGE]: too small."


def test_an_error_without_a_way_out_is_one_line() -> None:
    assert str(ConfigError("RANGE", "too small.")) == "ConfigError[RANGE]: too small."


@pytest.mark.parametrize(
    "floor", ["Config", "Ingest", "Panel", "Train", "Evaluation", "Registry", "Scoring"]
)
def test_every_floor_has_an_error_that_one_except_catches(floor: str) -> None:
    kind = getattr(errors, f"{floor}Error")
    with pytest.raises(GatecastError) as caught:
        raise kind("CODE", "what", "fix")
    assert (caught.value.code, caught.value.what, caught.value.fix) == ("CODE", "what", "fix")


def test_an_error_survives_the_way_to_another_process() -> None:
    error = IngestError("DUP-TIME", "what", "fix")
    back = pickle.loads(pickle.dumps(error))
    assert isinstance(back, IngestError)
    assert str(back) == str(error)


def test_the_nearest_known_word_is_suggested() -> None:
    assert did_you_mean("horizen", ["season", "horizon", "stride"]) == " Did you mean 'horizon'?"


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert did_you_mean("xyz", ["horizon", "stride"]) == ""
    assert did_you_mean("horizon", []) == ""
