"""Draw the page of a published scoring run again: reports/scoring/<source>-<run key>.html."""

from gatecast.cli.commands.report import main

if __name__ == "__main__":
    main()
