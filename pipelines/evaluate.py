"""Backtest every variant and the naive baselines on the same rolling origins; write and log the leaderboard."""

from gatecast.cli.commands.evaluate import main

if __name__ == "__main__":
    main()
