"""Tuning: a search over the settings of a recipe, whose best is a recipe again."""
