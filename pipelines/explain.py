"""Show how far back every variant remembers, and what its gates do: tables and pictures in reports/memory."""

from gatecast.cli.commands.explain import main

if __name__ == "__main__":
    main()
