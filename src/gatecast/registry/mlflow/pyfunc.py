"""The MLflow model, as code: MLflow runs this file to load a package (nothing is unpickled).

    mlflow.pyfunc.load_model("models:/gatecast-demo@champion").predict(df, params={"cutoff": "2025-04-01"})

takes the long table a user has (``unique_id``, ``ds``, ``y``, covariates; future rows have no ``y``) and returns the
forecast table. Types are as in pandas: ``ds`` may be text or stamps, with a zone or without; columns may be whole
numbers, booleans or categories. ``cutoff`` is a stamp or text; for a source that declares a time zone, text
(``str(stamp)``).

Each model knows the digest of its package (``model_config`` in ``MLmodel``) and refuses any other.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd


class PackagedForecaster(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """Loads the package beside it and forecasts every series of a frame from its last value."""

    def load_context(self, context: Any) -> None:
        # the copy beside this file, which MLflow puts on the path to load a model, not yet to log one
        from gatecast.registry import frame_predictor

        expected = (context.model_config or {}).get("digest", "")
        self.forecaster = frame_predictor.load(Path(context.artifacts["package"]), expected)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        return self.forecaster.predict(model_input, (params or {}).get("cutoff") or None)


mlflow.models.set_model(PackagedForecaster())
