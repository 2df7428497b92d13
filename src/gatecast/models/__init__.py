"""Forecasting nets and closed forms: pure torch, no pandas, no MLflow, no Hydra."""
