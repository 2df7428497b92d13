"""The model package, MLflow tracking, the promotion gate."""
