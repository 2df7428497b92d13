"""Forecast every series of the feed as it is now with its champions, and publish each run once."""

from gatecast.cli.commands.score import main

if __name__ == "__main__":
    main()
