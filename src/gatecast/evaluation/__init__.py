"""Scores on rolling origins: metrics, baselines, backtest, leaderboard, plots."""
