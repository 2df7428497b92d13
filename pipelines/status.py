"""Print what there is: raw files, panel, leaderboard, champion, forecasts, store, free disk, schedule."""

from gatecast.cli.commands.status import main

if __name__ == "__main__":
    main()
