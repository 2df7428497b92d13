"""gatecast: a production forecasting pipeline for recurrent global models.

The belt, one floor to a package (each imports only what lies below it)::

    pipelines/ -> scoring -> registry -> evaluation -> training -> data, models
                  cellar: forecast, ledger, config, errors
"""

__version__ = "0.1.0"
