"""A scoring run that is killed, doubled, put to sleep or starved publishes each key once, whole, or not at all.

The faults are those of benchmarks/faults.py, which prints them as a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults import FAULTS, Fault, NotHere, attempt
from benchmarks.victims import stage


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    with stage(tmp_path_factory.mktemp("scoring") / "stage", empty_store) as folder:
        yield folder


@pytest.mark.parametrize(
    "fault",
    [pytest.param(f, id=f.name, marks=() if f.quick else (pytest.mark.slow,)) for f in FAULTS],
)
def test_a_run_survives(fault: Fault, staged: Path, tmp_path: Path) -> None:
    try:
        attempt(fault, staged, tmp_path / "project")
    except NotHere as error:
        pytest.skip(str(error))
