"""The commands, each in a module of ``cli/commands``; ``pipelines/NAME.py`` and ``gatecast NAME`` run the same one."""

from __future__ import annotations

import sys

from gatecast.cli.catalogue import COMMANDS, command, commands
from gatecast.cli.frame import report_errors
from gatecast.cli.project import project

__all__ = ["COMMANDS", "command", "main"]


def main() -> None:
    """``gatecast NAME key=value …`` (or ``python -m gatecast``), in the project folder or any folder below it."""
    with report_errors():
        if len(sys.argv) < 2 or sys.argv[1] in ("--help", "-h"):
            print(overview())
            return
        if sys.argv[1] == "--version":
            from gatecast.core.version import __version__

            print(f"gatecast {__version__}")
            return
        if sys.argv[1] in ("--completion", "--complete"):
            from gatecast.cli import completion

            asked = sys.argv[1] == "--complete"
            lines = completion.candidates(" ".join(sys.argv[2:])) if asked else [completion.SCRIPT]
            print("\n".join(lines))
            return
        chosen = command(sys.argv[1])
        # By this name ranks of a training and ticks of a server are started.
        script = project() / "pipelines" / f"{sys.argv[1]}.py"
        sys.argv = [str(script), *sys.argv[2:]]
        sys.modules["__main__"].__spec__ = None
    chosen()


def overview() -> str:
    """What ``gatecast --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {one.name:{width}s}  {one.summary}" for one in commands()]
    usage = (
        "gatecast COMMAND [key=value …]        gatecast COMMAND --help says what a command takes"
    )
    completion = "In bash, `source <(gatecast --completion)` completes commands, options, recipes and settings."
    return "\n".join([usage, "", *lines, "", completion])
