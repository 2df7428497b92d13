"""Serve MLflow's pages on this machine, and name the page that compares the runs of the source, best first."""

from gatecast.cli.commands.ui import main

if __name__ == "__main__":
    main()
