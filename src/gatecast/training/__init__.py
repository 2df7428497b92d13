"""Fitting a variant: the feed of batches, the Lightning module, the trainer."""
