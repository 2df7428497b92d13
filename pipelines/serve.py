"""Stay, and score every slot of the schedule when it comes; for people without a scheduler."""

from gatecast.cli.commands.serve import main

if __name__ == "__main__":
    main()
