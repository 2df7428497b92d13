"""Print where forecasts come from, and what a model version has forecast."""

from gatecast.cli.commands.lineage import main

if __name__ == "__main__":
    main()
