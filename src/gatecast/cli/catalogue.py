"""The commands by their names. Each is a module of ``cli/commands`` with a ``main``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from gatecast.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from gatecast.cli.frame import Command

COMMANDS = (
    "new",
    "ingest",
    "window",
    "train",
    "evaluate",
    "explain",
    "promote",
    "score",
    "serve",
    "monitor",
    "report",
    "status",
    "ui",
    "lineage",
    "housekeeping",
    "tune",
)


def command(name: str) -> Command:
    """A command by its name.

    Raises:
        ConfigError: COMMAND if there is none.
    """
    if name not in COMMANDS:
        raise ConfigError(
            "COMMAND",
            f"there is no command `{name}`.{did_you_mean(name, COMMANDS)}",
            f"Known: {', '.join(COMMANDS)}.",
        )
    found: Command = importlib.import_module(f"gatecast.cli.commands.{name}").main
    return found


def commands() -> list[Command]:
    """All commands, in the order of their help."""
    return [command(name) for name in COMMANDS]
