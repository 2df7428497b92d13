"""The commands, each in a module of ``cli/commands``; ``pipelines/NAME.py`` and ``gatecast NAME`` run the same one."""

from __future__ import annotations

import importlib
import sys

from gatecast.cli.frame import Command, project, report_errors
from gatecast.core.errors import ConfigError, did_you_mean

COMMANDS = (
    *("ingest", "window", "train", "evaluate", "explain", "promote"),
    *("score", "serve", "monitor", "report"),
    *("status", "lineage", "housekeeping", "tune"),
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


def main() -> None:
    """``gatecast NAME key=value …``, in the project folder or any folder below it."""
    with report_errors():
        if len(sys.argv) < 2 or sys.argv[1] in ("--help", "-h"):
            print(overview())
            return
        if sys.argv[1] == "--version":
            from gatecast import __version__

            print(f"gatecast {__version__}")
            return
        chosen = command(sys.argv[1])
        # By this name ranks of a training and ticks of a server are started.
        script = project() / "pipelines" / f"{sys.argv[1]}.py"
        sys.argv = [str(script), *sys.argv[2:]]
    chosen()


def overview() -> str:
    """What ``gatecast --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}s}  {command(name).summary}" for name in COMMANDS]
    usage = (
        "gatecast COMMAND [key=value …]        gatecast COMMAND --help says what a command takes"
    )
    return "\n".join([usage, "", *lines])
