"""The commands, each in a module of ``cli/commands``; ``pipelines/NAME.py`` and ``gatecast NAME`` run the same one."""

from __future__ import annotations

import sys

from gatecast.cli.catalogue import COMMANDS, command, commands
from gatecast.cli.frame import report_errors
from gatecast.cli.project import project

__all__ = ["COMMANDS", "command", "main"]


def main() -> None:
    """``gatecast NAME key=value …``, in the project folder or any folder below it."""
    with report_errors():
        if len(sys.argv) < 2 or sys.argv[1] in ("--help", "-h"):
            print(overview())
            return
        if sys.argv[1] == "--version":
            from gatecast.core.version import __version__

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
    lines = [f"  {one.name:{width}s}  {one.summary}" for one in commands()]
    usage = (
        "gatecast COMMAND [key=value …]        gatecast COMMAND --help says what a command takes"
    )
    return "\n".join([usage, "", *lines])
