"""Search settings of one recipe on data/panel; write the best as conf/model/<model>_tuned.yaml."""

from gatecast.cli.commands.tune import main

if __name__ == "__main__":
    main()
