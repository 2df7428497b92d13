"""Compare published forecasts with the actuals that have arrived since -> reports/actuals.json."""

from gatecast.cli.commands.monitor import main

if __name__ == "__main__":
    main()
