"""The panels of tests/training."""

from tests.training.conftest import demo_panel, make_panel  # noqa: F401
