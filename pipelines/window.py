"""Observations to panel: one memory-mapped buffer, the time axis, the split points, the resolved task."""

from gatecast.cli.commands.window import main

if __name__ == "__main__":
    main()
