"""Raw feed to observations: read the source, check every row, write data/observations."""

from gatecast.cli.commands.ingest import main

if __name__ == "__main__":
    main()
