"""Train one variant on data/panel: a Hydra recipe, Lightning, an MLflow run, a package in models/<variant>."""

from gatecast.cli.commands.train import main

if __name__ == "__main__":
    main()
