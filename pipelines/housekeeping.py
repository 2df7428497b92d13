"""List what can go: versions beyond `registry.keep`, and runs that died. With apply=true it goes."""

from gatecast.cli.commands.housekeeping import main

if __name__ == "__main__":
    main()
