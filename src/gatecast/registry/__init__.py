"""The model package, the MLflow store, the promotion gate, the champion."""
