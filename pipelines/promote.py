"""Promote the best variant in the registry if it passes the gate; else say why not."""

from gatecast.cli.commands.promote import main

if __name__ == "__main__":
    main()
