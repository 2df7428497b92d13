"""The worlds of tests/scoring, for what is said about them."""

from tests.scoring.conftest import (  # noqa: F401
    berlin,
    daily_feed,
    ended,
    forked,
    hourly,
    project,
    promote,
    publish,
    recipe,
    retrain,
    sink,
)
