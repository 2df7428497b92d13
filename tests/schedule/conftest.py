"""The worlds of tests/scoring, for what runs on a schedule."""

from tests.scoring.conftest import (  # noqa: F401
    berlin,
    daily_feed,
    ended,
    forked,
    hourly,
    project,
    promote,
    publish,
    retrain,
)
